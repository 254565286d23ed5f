//! The configuration of a source.

use std::fmt;
use std::time::Duration;

/// The configuration of one bucket's source.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The backend that builds the requests.
    pub backend: SourceBackend,
    /// The bucket's name at S3.
    pub bucket: String,
    /// The signing region. `None` takes it from the environment or the profile when connecting, else `us-east-1`.
    pub region: Option<String>,
    /// The `http://` or `https://` URL of an S3-compatible server, with host and optional port. `None` means AWS.
    pub endpoint: Option<String>,
    /// The position of the bucket's name in a request.
    pub addressing: Addressing,
    /// The credentials that requests are signed with.
    pub access: Access,
    /// Timeout for opening a connection.
    pub connect_timeout: Duration,
    /// Size of a connection's receive buffer (`SO_RCVBUF`) in bytes, below 2 GiB. `None` lets the operating system
    /// choose and enlarge it. A stream receives at most this much in one round trip.
    pub receive_buffer: Option<usize>,
}

/// An implementation of [`ObjectSource`](yatagarasu_core::ObjectSource).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceBackend {
    /// The gateway's own requests. Needs the feature `native`.
    #[default]
    Native,
    /// Requests built by `rusoto_s3`. Needs the feature `rusoto`.
    Rusoto,
}

/// The position of the bucket's name in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// The first segment of the path.
    Path,
    /// The first labels of the host name.
    VirtualHost,
}

/// The credentials that requests are signed with.
#[derive(Debug, Clone)]
pub enum Access {
    /// Requests are not signed.
    Anonymous,
    /// Static credentials from the configuration.
    Static(StaticCredentials),
    /// The AWS credential chain: environment, profile, SSO, web identity, ECS and EKS, IMDSv2.
    Chain,
}

/// Credentials that do not change.
#[derive(Clone)]
pub struct StaticCredentials {
    /// The access key ID.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials").field("access_key", &"***").finish_non_exhaustive()
    }
}
