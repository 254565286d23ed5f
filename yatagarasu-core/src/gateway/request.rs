//! What a client asks, once routed to a bucket.

use http::HeaderMap;

use crate::cache::CacheKey;
use crate::http::method::Method;

/// One client's request for one object.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request method.
    pub method: Method,
    /// The object's key, and the forwarded query parameters that are part of its identity.
    pub key: CacheKey,
    /// The end-to-end header fields the client sent ([`drop_hops`](crate::http::fields::drop_hops) leaves these). What
    /// of them reaches a source is [`forward`](crate::gateway::forward)'s.
    pub headers: HeaderMap,
}
