//! The request fields that reach a source: ranges, conditions, CORS fields, and those a bucket names.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::caching::policy::{BucketPolicy, ForwardedFields};
use crate::gateway::request::Request;
use crate::http::cors::Cors;
use crate::http::fields::{CORS, is_cors, may_forward};
use crate::http::method::Method;
use crate::http::range::requested;
use crate::http::trace_context::{TRACE_PARENT, TRACE_STATE, TraceContext};
use crate::http::validator::{EntityTag, TagList, Validators, date, date_field};
use crate::object::meta::ObjectMeta;
use crate::source::{SourceRequest, Traffic};

/// How much of `tracestate` has to be passed on (W3C Trace Context 3.3.1.5). A longer one stays here.
const TRACE_STATE_BYTES_MAX: usize = 512;

/// Adds the conditions that revalidate the stored object to a request for the whole object (RFC 9111 4.3.1).
///
/// A strong tag goes alone: it says all, and some sources let a date win over it (against RFC 9110 13.1.3).
pub fn validating(mut asked: SourceRequest, stored: &ObjectMeta) -> SourceRequest {
    let headers = stored.headers();
    let validators = Validators::of(&headers);
    if let Some(tag) = validators.etag {
        asked.headers.insert(header::IF_NONE_MATCH, tag.field());
        if !tag.is_weak() {
            return asked;
        }
    }
    // In the form that every source reads, whatever it was written in (RFC 9110 5.6.7).
    if let Some(at) = validators.last_modified {
        asked.headers.insert(header::IF_MODIFIED_SINCE, date_field(at));
    }
    asked
}

/// Returns the source request for a pass, with the client's own range and conditions.
///
/// They are sent in the one form that every source reads. Fields that a hit would ignore are left out on a miss
/// too: the range of a HEAD (RFC 9110 14.2), several ranges, invalid dates (13.1.3), and dates beside tags (13.1.3,
/// 13.1.4). Some sources compare one tag only, and dates before tags. So a condition is sent only if it is the only one
/// and has one strong tag or a date. The gateway evaluates all conditions when the response head arrives.
pub fn pass(request: &Request, policy: &BucketPolicy) -> SourceRequest {
    let mut asked = fill(request, policy);
    if policy.cache.is_some() {
        asked.traffic = Traffic::Alone;
    }
    let tags = [header::IF_MATCH, header::IF_NONE_MATCH];
    let dates = [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];
    if tags.iter().any(|name| request.headers.contains_key(name)) {
        let lists = tags.map(|name| Some((TagList::of(&request.headers, &name)?, name)));
        // `If-Unmodified-Since` counts beside `If-None-Match` (13.2.2).
        let both = !request.headers.contains_key(header::IF_MATCH)
            && date(&request.headers, &header::IF_UNMODIFIED_SINCE).is_some();
        if let [Some((list, name)), None] | [None, Some((list, name))] = &lists
            && let Some(tag) = list.single_strong().filter(|_| !both)
        {
            asked.headers.insert(name, tag.field());
        }
    } else {
        let known = dates.map(|name| Some((date(&request.headers, &name)?, name)));
        if let [Some((at, name)), None] | [None, Some((at, name))] = &known {
            asked.headers.insert(name, date_field(*at));
        }
    }
    let range = requested(&request.headers).and_then(|ranges| ranges.single());
    if let (Method::Get, Some(range)) = (request.method, range) {
        match if_range(&request.headers) {
            IfRange::Unconditional => {}
            IfRange::Validator(validator) => {
                asked.headers.insert(header::IF_RANGE, validator);
            }
            IfRange::Unreadable => return asked,
        }
        asked.headers.insert(header::RANGE, range.field());
    }
    asked
}

/// The effect of `If-Range` on a range (RFC 9110 13.1.5).
enum IfRange {
    /// There is no `If-Range`.
    Unconditional,
    /// The range applies to the version with this validator.
    Validator(HeaderValue),
    /// The field is invalid, so the range never applies.
    Unreadable,
}

fn if_range(headers: &HeaderMap) -> IfRange {
    match headers.get(header::IF_RANGE) {
        None => IfRange::Unconditional,
        Some(value) => match (EntityTag::parse_bare(value.as_bytes()), date(headers, &header::IF_RANGE)) {
            (Some(tag), _) => IfRange::Validator(tag.field()),
            (None, Some(at)) => IfRange::Validator(date_field(at)),
            (None, None) => IfRange::Unreadable,
        },
    }
}

/// Returns the source request for a fill: the whole object, without the client's range and conditions.
pub fn fill(request: &Request, policy: &BucketPolicy) -> SourceRequest {
    let mut asked = forwarded(request, policy);
    if let (Cors::Pass, Some(origin)) = (&policy.cors, request.headers.get(header::ORIGIN)) {
        asked.headers.insert(header::ORIGIN, origin.clone());
    }
    asked
}

/// Returns the source request for a CORS preflight.
pub fn preflight(request: &Request, policy: &BucketPolicy) -> SourceRequest {
    let mut asked = forwarded(request, policy);
    for name in CORS {
        for value in request.headers.get_all(&name) {
            asked.headers.append(&name, value.clone());
        }
    }
    asked
}

/// Returns a source request with the fields that the bucket forwards. What a preflight asks has no meaning in another
/// request, and S3 would answer it without the CORS fields.
fn forwarded(request: &Request, policy: &BucketPolicy) -> SourceRequest {
    let mut headers = HeaderMap::new();
    let mut copy = |name: &HeaderName| {
        for value in request.headers.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    };
    match &policy.forward_headers {
        ForwardedFields::Named(names) => names.iter().filter(|name| !is_cors(name)).for_each(&mut copy),
        ForwardedFields::All => {
            let forwarded = request.headers.keys().filter(|name| may_forward(name) && !is_cors(name));
            forwarded.for_each(&mut copy);
        }
    }
    pass_trace(&request.headers, &mut headers);
    SourceRequest { headers, query: request.key.query.clone(), traffic: Traffic::Shared, trace: None }
}

/// Passes the trace of a request on, so that the logs of a source can be found by it (W3C Trace Context 3). What several
/// clients wait for has the trace of the one that began it.
fn pass_trace(from: &HeaderMap, to: &mut HeaderMap) {
    to.remove(TRACE_PARENT);
    to.remove(TRACE_STATE);
    // A source must not refuse, because of what one client sends, a request that others wait for.
    let Some(parent) = from.get(TRACE_PARENT).filter(|_| TraceContext::of(from).is_some()) else { return };
    to.insert(TRACE_PARENT, parent.clone());
    let state = from.get_all(&TRACE_STATE);
    if state.iter().map(HeaderValue::len).sum::<usize>() <= TRACE_STATE_BYTES_MAX {
        for value in state {
            to.append(TRACE_STATE, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheKey;
    use crate::http::fields::drop_hops;
    use crate::object::key::ObjectKey;

    fn request(method: Method, key: &str) -> Request {
        let key = CacheKey::new(ObjectKey::parse(key).expect("a key"), None);
        Request { method, key, headers: HeaderMap::new() }
    }

    #[test]
    fn only_ranges_conditions_and_named_fields_cross() {
        let mut asked = request(Method::Get, "k");
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("cookie", "c"),
            ("accept-language", "de"),
            ("origin", "https://a"),
            ("range", "bytes=0-1"),
            ("if-range", "\"e\""),
            ("if-none-match", "\"e\""),
        ] {
            asked.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let names = |request: &SourceRequest| {
            let mut names: Vec<_> = request.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let forwarding = |forward_headers| BucketPolicy { forward_headers, ..BucketPolicy::default() };
        let none = BucketPolicy::default();
        let language = forwarding(ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE, header::ORIGIN]));
        assert_eq!(names(&pass(&asked, &none)), ["if-none-match", "if-range", "origin", "range"]);
        assert_eq!(names(&fill(&asked, &none)), ["origin"]);
        assert_eq!(names(&fill(&asked, &language)), ["accept-language", "origin"]);
        assert_eq!(fill(&asked, &language).headers.len(), 2, "named twice, sent once");
        asked.headers.insert(header::RANGE, "bytes=0-1,3-4".parse().unwrap());
        assert_eq!(names(&pass(&asked, &none)), ["if-none-match", "origin"]);
        asked.method = Method::Head;
        assert_eq!(names(&pass(&asked, &none)), ["if-none-match", "origin"]);
        asked.headers.insert("connection", "x-hop, close".parse().unwrap());
        asked.headers.insert("x-hop", "1".parse().unwrap());
        asked.headers.insert("x-end", "1".parse().unwrap());
        drop_hops(&mut asked.headers);
        let all = forwarding(ForwardedFields::All);
        assert_eq!(names(&fill(&asked, &all)), ["accept-language", "origin", "x-end"]);
        let silent = BucketPolicy { cors: Cors::Off, ..all };
        assert_eq!(names(&fill(&asked, &silent)), ["accept-language", "x-end"]);
        assert_eq!(names(&pass(&asked, &silent)), ["accept-language", "if-none-match", "x-end"]);
    }

    #[test]
    fn traces_are_passed_on_if_they_are_ones() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let check = |fields: &[(&'static str, &str)], expected: usize| {
            let mut asked = request(Method::Get, "k");
            for (name, value) in fields {
                asked.headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(fill(&asked, &BucketPolicy::default()).headers.len(), expected, "{fields:?}");
        };
        check(&[("traceparent", parent)], 1);
        check(&[("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")], 3);
        check(&[("traceparent", parent), ("tracestate", &"a".repeat(513))], 1);
        check(&[("tracestate", "a=1")], 0);
        check(&[("traceparent", parent), ("traceparent", parent)], 0);
        let (no_trace, no_parent) = (
            parent.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            parent.replace("b7ad6b7169203331", &"0".repeat(16)),
        );
        for other in [
            &no_trace,
            &no_parent,
            &parent[..54],
            &parent.to_uppercase(),
            &parent.replacen("00", "ff", 1),
            "x",
        ] {
            check(&[("traceparent", other)], 0);
        }
    }

    #[test]
    fn what_a_preflight_asks_stays_with_preflights() {
        let mut asked = request(Method::Get, "k");
        for name in CORS {
            asked.headers.insert(name, "x".parse().unwrap());
        }
        let policy = BucketPolicy { forward_headers: ForwardedFields::All, ..BucketPolicy::default() };
        assert_eq!(fill(&asked, &policy).headers.len(), 1);
        assert_eq!(preflight(&asked, &policy).headers.len(), 3);
    }

    #[test]
    fn what_is_stored_is_asked_for_by_its_validators() {
        let fields = [("etag", "W/\"a\""), ("last-modified", "Sun Nov  6 08:49:37 1994"), ("date", "today")];
        let meta = ObjectMeta::new(
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        );
        let asked = validating(SourceRequest::default(), &meta);
        assert_eq!(asked.headers.len(), 2);
        assert_eq!(asked.headers["if-none-match"], "W/\"a\"");
        assert_eq!(asked.headers["if-modified-since"], "Sun, 06 Nov 1994 08:49:37 GMT");
        let odd = [(header::ETAG, "a".parse().unwrap()), (header::LAST_MODIFIED, "5d".parse().unwrap())];
        let odd = ObjectMeta::new(odd.into_iter().collect());
        assert!(validating(SourceRequest::default(), &odd).headers.is_empty());
    }

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: &[(&str, &str)]) {
        let mut asked = request(Method::Get, "k");
        for (name, value) in fields {
            asked.headers.append(*name, value.parse().unwrap());
        }
        let sent = pass(&asked, &BucketPolicy::default()).headers;
        let mut sent: Vec<_> =
            sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, expected, "{fields:?}");
    }

    #[test]
    fn ranges_and_conditions_are_sent_in_one_form() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        check(&[("range", "Bytes = ,0 - 4,")], &[("range", "bytes=0-4")]);
        check(&[("range", "bytes=-99999999999999999999")], &[("range", "bytes=-9223372036854775807")]);
        check(&[("range", "bytes=5-99999999999999999999")], &[("range", "bytes=5-")]);
        check(&[("range", "bytes=5-")], &[("range", "bytes=5-")]);
        check(&[("if-none-match", "a")], &[("if-none-match", "\"a\"")]);
        check(&[("if-match", " \"a\" ")], &[("if-match", "\"a\"")]);
        // Sources read these differently, so the gateway evaluates them.
        for tags in ["\"a\", \"b\"", "W/\"a\"", "*", "no sense"] {
            check(&[("if-none-match", tags)], &[]);
            check(&[("if-match", tags)], &[]);
        }
        check(&[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")], &[]);
        check(&[("if-none-match", "\"a\""), ("if-match", "\"b\"")], &[]);
        check(&[("if-none-match", "\"a\""), ("if-modified-since", date)], &[("if-none-match", "\"a\"")]);
        check(&[("if-match", "\"a\""), ("if-unmodified-since", date)], &[("if-match", "\"a\"")]);
        check(&[("if-none-match", "\"a\""), ("if-unmodified-since", date)], &[]);
        check(&[("if-modified-since", date), ("if-unmodified-since", date)], &[]);
        check(&[("if-modified-since", "garbage"), ("if-unmodified-since", "0")], &[]);
        check(&[("if-modified-since", date), ("if-modified-since", date)], &[]);
        check(&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], &[("if-modified-since", date)]);
        check(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], &[("if-modified-since", date)]);
        check(
            &[("range", "bytes=0-1"), ("if-range", "Sun Nov  6 08:49:37 1994")],
            &[("if-range", date), ("range", "bytes=0-1")],
        );
        check(&[("range", "bytes=0-1"), ("if-range", "no sense")], &[]);
        check(
            &[("range", "bytes=0-1"), ("if-range", "abc"), ("if-match", "d")],
            &[("if-match", "\"d\""), ("if-range", "\"abc\""), ("range", "bytes=0-1")],
        );
    }
}
