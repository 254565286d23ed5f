//! The configuration of a source.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

/// The configuration of one bucket's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The name in log lines.
    pub name: Arc<str>,
    /// The backend that builds the requests.
    pub backend: SourceBackend,
    /// The bucket's name at S3, or the ARN of an access point.
    pub bucket: String,
    /// The signing region. `None` takes it from the environment or the profile when connecting, else `us-east-1`, and
    /// follows S3 if that names another one.
    pub region: Option<String>,
    /// The `http://` or `https://` URL of an S3-compatible server, with host, optional port and optional path. `None`
    /// means AWS.
    pub endpoint: Option<String>,
    /// The variant of AWS's endpoint.
    pub aws: AwsEndpoint,
    /// The position of the bucket's name in a request.
    pub addressing: Addressing,
    /// The credentials that requests are signed with.
    pub access: Access,
    /// Fields that every request has. Those that begin with `x-amz-` are signed.
    pub request_headers: HeaderMap,
    /// What a refusal with `AccessDenied` means.
    pub access_denied: AccessDenied,
    /// How the server's certificate is verified.
    pub tls: TlsConfig,
    /// Maximum number of connections at a time.
    pub connections_max: usize,
    /// Timeout for opening a connection, with its DNS lookup and its TLS handshake.
    pub connect_timeout: Duration,
    /// Size of a connection's receive buffer (`SO_RCVBUF`) in bytes, below 2 GiB. `None` lets the operating system
    /// choose and enlarge it. A stream receives at most this much in one round trip.
    pub receive_buffer: Option<usize>,
}

impl SourceConfig {
    /// Returns the configuration of a public bucket on AWS. The name is not checked.
    pub fn new(bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        Self {
            name: bucket.as_str().into(),
            backend: SourceBackend::default(),
            bucket,
            region: None,
            endpoint: None,
            aws: AwsEndpoint::default(),
            addressing: Addressing::VirtualHost,
            access: Access::Anonymous,
            request_headers: HeaderMap::new(),
            access_denied: AccessDenied::default(),
            tls: TlsConfig::default(),
            connections_max: 8192,
            connect_timeout: Duration::from_secs(5),
            receive_buffer: None,
        }
    }
}

/// The variant of AWS's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AwsEndpoint {
    /// Reachable over IPv4 and IPv6.
    pub dualstack: bool,
    /// With cryptography validated by FIPS 140.
    pub fips: bool,
    /// Transfer acceleration.
    pub accelerate: bool,
}

/// What a refusal with `AccessDenied`, or a 403 to a HEAD, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessDenied {
    /// The object may not be read.
    #[default]
    Forbidden,
    /// There is no such object. Without the permission to list a bucket, S3 says `AccessDenied` for what does not
    /// exist.
    NotFound,
}

/// How the server's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// A file with the certificates of the authorities to trust, in PEM. `None` trusts those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Whether a certificate in `ca_file` is accepted as the server's own, whatever names it has.
    pub pin_self_signed: bool,
    /// Whether any certificate is accepted. Whoever is between the gateway and S3 can then read and change everything.
    pub insecure: bool,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Requests are not signed.
    Anonymous,
    /// Static credentials from the configuration.
    Static(StaticCredentials),
    /// The AWS credential chain: environment, profile, SSO, web identity, ECS and EKS, IMDSv2.
    Chain,
}

/// Credentials that do not change.
#[derive(Clone, PartialEq, Eq)]
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
