//! What a bucket lets its gateway do.

use std::time::Duration;

use http::header::HeaderName;

/// What one bucket stores and forwards.
#[derive(Debug, Clone, Default)]
pub struct BucketPolicy {
    /// What is stored and for how long; nothing where there is none.
    pub cache: Option<CachePolicy>,
    /// Request fields that reach the source besides ranges, conditions and those of CORS.
    pub forward_headers: ForwardedFields,
}

/// Which of a client's fields reach a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedFields {
    /// These.
    Named(Vec<HeaderName>),
    /// Every end-to-end field but those that never cross.
    All,
}

impl Default for ForwardedFields {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// What a bucket stores, for how long, and whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// Longest object stored, in bytes.
    pub max_item_size: u64,
    /// Lifetime of an object that names none itself.
    pub ttl: Duration,
    /// What an object's `Cache-Control` and `Expires` count.
    pub cache_control: ObjectControl,
    /// What a client's `Cache-Control` counts.
    pub client_cache_control: ClientControl,
    /// Whether the lifetime of an object that names none is guessed from its `Last-Modified` (RFC 9111 4.2.2).
    pub heuristic_freshness: bool,
    /// How long a stale object is served while it is revalidated (RFC 5861 3), where it does not say so itself.
    pub stale_while_revalidate: Duration,
    /// How long a stale object is served where its source fails (RFC 5861 4), where it does not say so itself.
    pub stale_if_error: Duration,
    /// Whether a range of an object that is not stored fetches the whole object.
    pub range_fill: bool,
    /// Which refusals are remembered.
    pub negative: Negative,
}

impl CachePolicy {
    /// Stores objects of up to `max_item_size` bytes, for `ttl` where they name no lifetime; the object's word counts,
    /// and the client's.
    pub fn new(max_item_size: u64, ttl: Duration) -> Self {
        Self {
            max_item_size,
            ttl,
            cache_control: ObjectControl::default(),
            client_cache_control: ClientControl::default(),
            heuristic_freshness: false,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            range_fill: false,
            negative: Negative::default(),
        }
    }
}

/// What an object's `Cache-Control` and `Expires` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectControl {
    /// They decide.
    #[default]
    Respect,
    /// Nothing: every object lives for the bucket's `ttl`.
    Ignore,
    /// The bucket's `ttl` is the lifetime; what they forbid stays forbidden.
    Override,
}

/// What a client's `Cache-Control` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientControl {
    /// It is obeyed.
    #[default]
    Respect,
    /// Nothing: no client can make the gateway ask its source.
    Ignore,
}

/// Which of a source's refusals are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Negative {
    /// For how long; not at all where it is zero.
    pub ttl: Duration,
    /// Whether a 404 is.
    pub missing: bool,
    /// Whether a 403 is.
    pub denied: bool,
}
