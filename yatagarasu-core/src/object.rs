//! What S3 holds: a key, the header fields that describe an object, and its bytes.

mod body;
mod key;
mod meta;

pub use body::{BoxedStream, ObjectBody, Spliced};
pub use key::{KeyError, ObjectKey};
pub use meta::ObjectMeta;
pub(crate) use meta::content_length;

/// An object, or the part of one that was asked for, as a source opens it.
#[derive(Debug)]
pub struct Object {
    /// The header fields that describe it.
    pub meta: ObjectMeta,
    /// Its bytes, not yet read.
    pub body: ObjectBody,
}
