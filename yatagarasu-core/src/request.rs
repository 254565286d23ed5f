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

/// Fields that change no answer: nothing decides by them but the `Vary` of an object that has variants, which are stored
/// under keys of their own.
const IMMATERIAL: [&str; 24] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cdn-loop",
    "cookie",
    "dnt",
    "forwarded",
    "from",
    "host",
    "keep-alive",
    "pragma",
    "priority",
    "purpose",
    "referer",
    "save-data",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-amzn-trace-id",
    "x-real-ip",
    "x-requested-with",
    "x-correlation-id",
];

/// Whether a request field of this name, in any case of letters, changes no answer: a request for an object that has no
/// variants is then the same with or without it.
pub fn is_immaterial(name: &str) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    IMMATERIAL.iter().any(|known| name.eq_ignore_ascii_case(known))
        || begins("sec-")
        || begins("x-forwarded-")
}
