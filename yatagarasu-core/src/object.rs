//! The name and the description of an object at S3: [`key`] and [`meta`]. Its bytes are a
//! [source's](crate::source::body), or [segments](crate::cache::segments) once they are stored.

pub mod key;
pub mod meta;
mod stored_fields;
