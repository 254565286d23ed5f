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

/// Fields that change no answer, by the length of their names, so that few names are compared: nothing decides by them
/// but the `Vary` of an object that has variants, which are stored under keys of their own.
fn immaterial(length: usize) -> &'static [&'static str] {
    match length {
        3 => &["dnt", "via"],
        4 => &["from", "host"],
        6 => &["accept", "cookie", "pragma"],
        7 => &["purpose", "referer"],
        8 => &["cdn-loop", "priority"],
        9 => &["forwarded", "save-data", "x-real-ip"],
        10 => &["keep-alive", "tracestate", "user-agent"],
        11 => &["traceparent"],
        15 => &["accept-encoding", "accept-language", "x-amzn-trace-id"],
        16 => &["x-correlation-id", "x-requested-with"],
        25 => &["upgrade-insecure-requests"],
        _ => &[],
    }
}

/// Whether a request field of this name, in any case of letters, changes no answer: a request for an object that has no
/// variants is then the same with or without it.
pub fn is_immaterial(name: &str) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    immaterial(name.len()).iter().any(|known| name.eq_ignore_ascii_case(known))
        || begins("sec-")
        || begins("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_length() {
        let mut count = 0;
        for length in 0..64 {
            for name in immaterial(length) {
                assert!(name.len() == length && is_immaterial(&name.to_uppercase()), "{name}");
                count += 1;
            }
        }
        assert_eq!(count, 24);
        assert!(is_immaterial("Sec-Fetch-Mode") && is_immaterial("x-forwarded-for"));
        assert!(!is_immaterial("") && !is_immaterial("range") && !is_immaterial("x-unknown"));
    }
}
