//! S3 sources. Each backend has a Cargo feature, and the configuration selects one for each bucket.
//!
//! The backends differ only in how they build requests. They share addressing, signing, credentials, connections and
//! the parsing of responses.
#![forbid(unsafe_code)]

mod build;
pub mod client;
mod config;
mod credentials;
mod http_client;
pub mod https;
#[cfg(feature = "native")]
mod native;
mod queue;
#[cfg(feature = "rusoto")]
mod rusoto;

pub use build::{BuildError, BuiltSource, build};
pub use client::address::AddressError;
pub use client::arn::ArnError;
pub use config::{
    Access, AccessDenied, Addressing, AwsEndpoint, SourceBackend, SourceConfig, StaticCredentials, TlsConfig,
};
pub use credentials::CredentialsStatus;
#[cfg(any(test, feature = "fuzzing"))]
pub use http_client::fuzzing;
pub use http_client::tls::TlsError;
pub use queue::{Message, NotificationQueue, QueueConfig, QueueError};
