//! The effective configuration: validated, with every default filled in.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use yatagarasu_cache::CacheConfig;
use yatagarasu_core::caching::compression::Compression;
use yatagarasu_core::http::cors::Cors;
use yatagarasu_core::http::response_fields::ResponseFields;
use yatagarasu_core::source::failover::FailoverCause;
use yatagarasu_core::source::healing::RetryPolicy;
use yatagarasu_core::{CachePolicy, ClientControl, Clock, ForwardedFields, SystemClock};
use yatagarasu_s3::{QueueConfig, SourceConfig};

use crate::config::ForwardedQuery;
use crate::config::render::caching;
use crate::listener::socket::ListenAddress;
use crate::service::client_address::ClientAddress;
use crate::service::own::OwnAnswers;
use crate::service::router::{HostPattern, KeyPrefix, Rewrite};
use crate::service::site::Site;
use crate::telemetry::access_log::format::Format;
use crate::telemetry::log::output::Destination;
use crate::tls::certificate::{Certificate, CertificateFiles};
use crate::tls::setup::TlsConfig;

/// A validated configuration, with every default filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener.
    pub server: ServerConfig,
    /// The admin API.
    pub admin: AdminConfig,
    /// The notifications of changed objects.
    pub events: EventConfig,
    /// The log and the access log.
    pub log: LogConfig,
    /// The traces of requests.
    pub tracing: TracingConfig,
    /// The buckets to serve, in the order of the file.
    pub buckets: Vec<BucketConfig>,
}

/// The public listener and the resources that all buckets share.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The listeners for clients, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Number of worker threads, at least one.
    pub threads: usize,
    /// Budget for objects that are being fetched into a cache, in bytes, over all buckets.
    pub fill_memory: u64,
    /// Budget for objects that responses hold and no cache does any more, in bytes.
    pub response_memory: u64,
    /// Bytes the kernel accepts for a client before it has sent them (`TCP_NOTSENT_LOWAT`). `None` leaves the limit
    /// to the operating system.
    pub notsent_lowat: Option<u32>,
    /// Budget for enlarged socket buffers of fast streams, in bytes, over all buckets.
    pub socket_memory: u64,
    /// Maximum number of open client connections. `None` derives it from the limit of file descriptors.
    pub connections_max: Option<usize>,
    /// Maximum number of open connections of one client.
    pub connections_per_client: Option<u32>,
    /// Maximum number of requests of one connection.
    pub requests_per_connection: Option<u32>,
    /// Maximum length of a request head in bytes.
    pub header_size: usize,
    /// Maximum number of streams that one HTTP/2 connection may begin in a second.
    pub http2_streams_per_second: Option<u32>,
    /// Maximum number of streams of one HTTP/2 connection that its client may reset before their responses have ended.
    pub http2_resets_max: Option<u32>,
    /// Where the address of a client comes from.
    pub client_address: ClientAddress,
    /// The paths that the gateway answers itself.
    pub own: OwnAnswers,
    /// Timeout for a client's complete request head. It also applies to idle connections.
    pub header_timeout: Duration,
    /// Time after which a response ends if its client takes nothing of it. `None` means no limit.
    pub send_timeout: Option<Duration>,
    /// Minimum rate at which a client takes its responses, in bytes per second.
    pub send_rate_min: u64,
    /// Time for which a server goes on serving after it is told to stop, without being ready.
    pub drain: Duration,
    /// Time that running responses have to finish after that.
    pub shutdown_grace: Duration,
    /// What the caches begin with after a restart.
    pub warm_restart: WarmRestart,
}

/// The key of the listener that has no section of its own.
pub(crate) const SHORT_FORM: &str = "server.address";

/// A listener for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The key of its setting, which is also its name for another process.
    pub key: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// TLS, unless it has none.
    pub tls: Option<TlsConfig>,
    /// The port of `https://` that every request is redirected to.
    pub https_redirect: Option<u16>,
}

/// The listener for health, statistics and purges.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The address to listen on for operators.
    pub address: SocketAddr,
    /// The Unix socket for operators of this machine, who need no token.
    pub socket: Option<ListenAddress>,
    /// The bearer token for the admin API (RFC 6750). `None` is allowed only if the address is loopback.
    pub token: Option<Secret>,
    /// What S3 costs.
    pub prices: Prices,
}

/// The traces of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct TracingConfig {
    /// The URL of the collector. `None` if nothing is traced.
    pub endpoint: Option<String>,
    /// The share of requests that are traced, from 0 to 1.
    pub ratio: f64,
    /// Whether the `traceparent` of a client counts.
    pub parent: ClientControl,
    /// The name of the gateway.
    pub service: String,
}

/// What the caches begin with after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmRestart {
    /// Number of objects that are fetched in a second. 0 fetches none.
    pub rate: u32,
    /// A file for their keys.
    pub file: Option<PathBuf>,
    /// Maximum number of objects.
    pub objects_max: u32,
}

/// The notifications of changed objects.
#[derive(Debug, Clone)]
pub struct EventConfig {
    /// The token of those who send them. `None` takes no notifications.
    pub token: Option<Secret>,
    /// The queue that they are read from.
    pub sqs: Option<QueueConfig>,
}

/// What S3 costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// The price of a million requests.
    pub million_requests: f64,
    /// The price of a gigabyte that S3 sends.
    pub gigabyte: f64,
    /// The currency by its code (ISO 4217).
    pub currency: String,
}

/// The log and the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Where the log goes.
    pub output: Destination,
    /// Where the access log goes.
    pub access_output: Destination,
    /// The format of the access log. `None` is that of the log.
    pub access_format: Option<Arc<Format>>,
}

/// One bucket and the paths it is served under.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// The name of the bucket in logs, metrics and the admin API.
    pub name: String,
    /// The hosts that it is for. None stands for all.
    pub hosts: Vec<HostPattern>,
    /// What stands before its keys at S3.
    pub key_prefix: KeyPrefix,
    /// Whether its keys are without the path prefix.
    pub strip_prefix: bool,
    /// Whether `?download` has browsers save an object.
    pub download: bool,
    /// The rules that lead its paths to others.
    pub rewrites: Vec<Rewrite>,
    /// What it serves as a website, if it is one.
    pub site: Option<Site>,
    /// The URL path prefix: `/`, or `/one/or/more` segments without a slash at the end.
    pub path_prefix: String,
    /// The source of its objects.
    pub origin: OriginConfig,
    /// Further sources, in the order in which they are asked.
    pub fallbacks: Vec<FallbackConfig>,
    /// Request header fields that are forwarded to the source.
    pub forward_headers: ForwardedFields,
    /// Query parameters that are forwarded to the source and are part of the cache key.
    pub forward_query: ForwardedQuery,
    /// The CORS mode: the source, the gateway or nobody answers pages of other origins.
    pub cors: Cors,
    /// The changes to the fields of responses.
    pub response_fields: Arc<ResponseFields>,
    /// The content codings, or `None` if objects are sent as they are.
    pub compression: Option<Arc<Compression>>,
    /// Whether objects in a content coding beside an object are served in its place.
    pub precompressed: bool,
    /// The cache, or `None` if caching is off.
    pub cache: Option<BucketCache>,
}

/// A source of objects, and the limits of the requests to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginConfig {
    /// The source.
    pub source: SourceConfig,
    /// Timeout for the source's response head.
    pub response_timeout: Duration,
    /// Timeout for each further piece of a body.
    pub idle_timeout: Duration,
    /// How often and how long the source is asked.
    pub retry: RetryPolicy,
    /// Whether a second request is sent if the first one takes unusually long.
    pub hedging: bool,
}

/// A further source of the objects of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackConfig {
    /// When it is asked.
    pub when: Vec<FailoverCause>,
    /// The source.
    pub origin: OriginConfig,
}

impl Config {
    /// Returns what is valid and will surprise, each with its key.
    pub fn warnings(&self) -> Vec<String> {
        let fill_memory = self.server.fill_memory;
        let too_long = |(index, bucket): (usize, &BucketConfig)| {
            let max = bucket.cache.as_ref().map_or(0, |cache| cache.store.max_item_size);
            (max > fill_memory).then(|| {
                format!(
                    "buckets[{index}].cache.max_item_size: objects of more than {fill_memory} bytes are never stored: \
                     they do not fit into `server.fill_memory`"
                )
            })
        };
        // The codings that a client accepts, each time.
        let asks_on = |(index, bucket): (usize, &BucketConfig)| {
            let remembers = bucket.cache.as_ref().is_some_and(|cache| !cache.policy.negative.ttl.is_zero());
            (bucket.precompressed && !remembers).then(|| {
                format!(
                    "buckets[{index}].compression.precompressed: each request asks S3 for what is not beside an object: \
                     set `cache.negative_ttl`"
                )
            })
        };
        let buckets = self.buckets.iter().enumerate();
        let buckets = buckets.clone().filter_map(too_long).chain(buckets.filter_map(asks_on));
        let listeners = self.server.listeners.iter().flat_map(certificate_warnings);
        buckets.chain(listeners).chain(warm_restart_warning(&self.server.warm_restart)).collect()
    }
}

/// Returns why a file of keys will not be written.
fn warm_restart_warning(settings: &WarmRestart) -> Option<String> {
    let file = settings.file.as_ref()?;
    if settings.rate == 0 {
        return Some("server.warm_restart.file: nothing is written or fetched without `rate`".to_owned());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| {
        format!(
            "server.warm_restart.file: there is no folder {}: the keys cannot be written",
            folder.display()
        )
    })
}

/// Returns what clients will say about the certificates of a listener.
fn certificate_warnings(listener: &ListenerConfig) -> Vec<String> {
    let of = |(index, files): (usize, &CertificateFiles)| {
        let warning = Certificate::load(files).ok()?.warning(SystemClock.date())?;
        Some(format!("{}.tls.certificates[{index}].cert: {warning}", listener.key))
    };
    listener.tls.iter().flat_map(|tls| tls.certificates.iter().enumerate().filter_map(of)).collect()
}

impl BucketConfig {
    /// Returns everything that decides what is stored of which objects, and under which keys.
    pub(crate) fn caching(&self) -> serde_json::Value {
        caching(self)
    }
}

/// The cache configuration of one bucket.
#[derive(Debug, Clone)]
pub struct BucketCache {
    /// The storage backend and its size limits.
    pub store: CacheConfig,
    /// The rules for which responses are stored and for how long they stay fresh.
    pub policy: CachePolicy,
    /// Whether clients see the cache key.
    pub status_key: StatusKey,
}

/// Whether `Cache-Status` has the `key` parameter, which shows the cache key (RFC 9211 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusKey {
    /// The parameter is left out.
    #[default]
    Hidden,
    /// The parameter is sent.
    Shown,
}

/// A secret string. Its `Debug` output is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret in plain text. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
