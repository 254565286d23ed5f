//! S3 backends, each behind a Cargo feature. Which one serves a bucket is configuration.
//!
//! Both backends share everything but the making of a request: addressing, signing, credentials, connections and
//! the reading of answers.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod classify;
mod config;
mod connect;
mod credentials;
mod headers;
#[cfg(feature = "native")]
mod native;
mod preflight;
mod probe;
mod region;
#[cfg(feature = "rusoto")]
mod rusoto;
mod sender;
pub mod sign;
mod transport;

pub use address::AddressError;
pub use config::{Access, Addressing, SourceBackend, SourceConfig, StaticCredentials};
pub use connect::{ConnectError, Connected, connect};
pub use credentials::CredentialsStatus;
pub use transport::TlsError;
