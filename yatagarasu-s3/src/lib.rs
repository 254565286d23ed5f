//! S3 backends, each behind a Cargo feature. Which one serves a bucket is configuration.
//!
//! Both backends share everything but the making of a request: addressing, signing, credentials, connections and
//! the reading of answers.
#![forbid(unsafe_code)]

mod build;
pub mod client;
mod config;
mod credentials;
mod http_client;
#[cfg(feature = "native")]
mod native;
#[cfg(feature = "rusoto")]
mod rusoto;

pub use build::{BuildError, BuiltSource, build};
pub use client::address::AddressError;
pub use config::{Access, Addressing, SourceBackend, SourceConfig, StaticCredentials};
pub use credentials::CredentialsStatus;
pub use http_client::connector::TlsError;
