use std::fmt;
use std::time::Duration;

/// Where a bucket's objects come from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Who makes the requests.
    pub backend: SourceBackend,
    /// The bucket's name at S3.
    pub bucket: String,
    /// The region requests are signed for; found out when connecting where none is given.
    pub region: Option<String>,
    /// `http://` or `https://`, host and port of an S3-compatible server; AWS where none is given.
    pub endpoint: Option<String>,
    /// How the bucket is named in a request.
    pub addressing: Addressing,
    /// Whom requests are signed for.
    pub access: Access,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Bytes the system may hold of a connection before they are read (`SO_RCVBUF`), below 2 GiB; `None` leaves it
    /// to the system, which lets it grow. A stream gets no more than this in one round trip.
    pub receive_buffer: Option<usize>,
}

/// An implementation of [`ObjectSource`](yatagarasu_core::ObjectSource).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceBackend {
    /// Our own requests; feature `native`.
    #[default]
    Native,
    /// Requests made by `rusoto_s3`; feature `rusoto`.
    Rusoto,
}

/// How a request names its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// First segment of the path.
    Path,
    /// First label of the host name.
    VirtualHost,
}

/// Whom requests are signed for.
#[derive(Debug, Clone)]
pub enum Access {
    /// Nobody: requests are not signed.
    Anonymous,
    /// Whom the configuration names.
    Static(StaticCredentials),
    /// Whom the AWS credential chain finds: environment, profile, SSO, web identity, ECS and EKS, IMDSv2.
    Chain,
}

/// Credentials that do not change.
#[derive(Clone)]
pub struct StaticCredentials {
    /// The access key's id.
    pub access_key: String,
    /// The secret that signs.
    pub secret_key: String,
    /// The token that goes with temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials").field("access_key", &"***").finish_non_exhaustive()
    }
}
