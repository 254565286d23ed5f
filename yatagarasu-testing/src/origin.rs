//! An S3 server in memory for tests. `s3s` implements the protocol and checks signatures; objects have any keys and
//! fields.

mod access;
mod objects;
mod serve;

pub use access::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN};
pub use objects::MemoryObjects;
pub use serve::S3Server;
