//! An S3 server in memory: the protocol and the signatures by `s3s`, objects with whatever keys and fields.

mod access;
mod objects;
mod server;

pub use access::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN};
pub use objects::MemoryObjects;
pub use server::S3Server;
