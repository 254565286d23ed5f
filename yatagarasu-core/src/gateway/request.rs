//! What a client asks, once routed to a bucket.

use http::HeaderMap;

use crate::cache::CacheKey;
use crate::http::method::Method;

/// One client's request for one object.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do with the object.
    pub method: Method,
    /// Which object, and the query parameters that make it another one.
    pub key: CacheKey,
    /// The end-to-end header fields the client sent ([`drop_hops`](crate::http::fields::drop_hops) leaves these). What of them
    /// reaches a source is [`forward`](crate::gateway::forward)'s.
    pub headers: HeaderMap,
}
