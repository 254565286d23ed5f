//! The settings of a bucket that its gateway acts on: caching rules and forwarded fields.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;

use crate::caching::compression::Compression;
use crate::http::cors::Cors;
use crate::http::response_fields::ResponseFields;

/// The policy of one bucket.
#[derive(Debug, Clone, Default)]
pub struct BucketPolicy {
    /// Caching rules. `None` turns caching off.
    pub cache: Option<CachePolicy>,
    /// Request fields forwarded to the source besides ranges, conditions and CORS fields.
    pub forward_headers: ForwardedFields,
    /// The CORS mode: the source, the gateway or nobody answers pages of other origins.
    pub cors: Cors,
    /// The changes to the fields of responses.
    pub response_fields: Arc<ResponseFields>,
    /// The content codings of stored objects. `None` turns them off.
    pub compression: Option<Arc<Compression>>,
}

/// The client's request fields that are forwarded to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedFields {
    /// These fields.
    Named(Vec<HeaderName>),
    /// All end-to-end fields except those that are never forwarded
    /// ([`may_forward`](crate::http::fields::may_forward)).
    All,
}

impl Default for ForwardedFields {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// The caching rules of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// Size of the largest object stored, in bytes.
    pub max_item_size: u64,
    /// Lifetime of an object that gives no lifetime itself.
    pub ttl: Duration,
    /// How to treat an object's `Cache-Control` and `Expires`.
    pub cache_control: ObjectControl,
    /// How to treat a client's `Cache-Control`.
    pub client_cache_control: ClientControl,
    /// Whether to derive the lifetime from `Last-Modified` if the object gives none (RFC 9111 4.2.2).
    pub heuristic_freshness: bool,
    /// How long a stale object is served while it is revalidated (RFC 5861 3), if the object does not say.
    pub stale_while_revalidate: Duration,
    /// How long a stale object is served if its source fails (RFC 5861 4), if the object does not say.
    pub stale_if_error: Duration,
    /// How long a request waits for the source if a stale object may be served instead of an error. `None` waits as long
    /// as the source takes.
    pub stale_wait: Option<Duration>,
    /// Whether a range request for an object that is not stored fetches the whole object.
    pub range_fill: bool,
    /// The refusals that are remembered.
    pub negative: Negative,
}

impl CachePolicy {
    /// Stores objects of up to `max_item_size` bytes, for `ttl` if they give no lifetime. The `Cache-Control` of
    /// the object and of the client is respected; everything else is off.
    pub fn new(max_item_size: u64, ttl: Duration) -> Self {
        Self {
            max_item_size,
            ttl,
            cache_control: ObjectControl::default(),
            client_cache_control: ClientControl::default(),
            heuristic_freshness: false,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_wait: None,
            range_fill: false,
            negative: Negative::default(),
        }
    }
}

/// How to treat an object's `Cache-Control` and `Expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectControl {
    /// Obeys them.
    #[default]
    Respect,
    /// Ignores them: every object lives for the bucket's `ttl`.
    Ignore,
    /// Uses the bucket's `ttl` as the lifetime. Directives that forbid storing or reuse still apply.
    Override,
}

/// How to treat a client's `Cache-Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientControl {
    /// Obeys it.
    #[default]
    Respect,
    /// Ignores it: no client can make the gateway contact its source.
    Ignore,
}

/// The source's refusals that are remembered as negative entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Negative {
    /// Lifetime of a negative entry. Zero turns negative caching off.
    pub ttl: Duration,
    /// Whether a 404 is remembered.
    pub missing: bool,
    /// Whether a 403 is remembered.
    pub denied: bool,
}
