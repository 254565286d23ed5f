//! What a client asks, once routed to a bucket.

use http::HeaderMap;

use crate::CacheKey;

/// The methods a read-only gateway carries out on objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The object (RFC 9110 9.3.1).
    Get,
    /// Its header fields only (RFC 9110 9.3.2).
    Head,
}

/// One client's request for one object.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do with the object.
    pub method: Method,
    /// Which object, and the query parameters that make it another one.
    pub key: CacheKey,
    /// The end-to-end header fields the client sent ([`drop_hops`](crate::forward::drop_hops) leaves these). What of them
    /// reaches a source is [`forward`](crate::forward)'s.
    pub headers: HeaderMap,
}
