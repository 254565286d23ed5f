//! Maps the path and the query of a request to a bucket, a key and the forwarded query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use yatagarasu_core::object::key::KeyError;
use yatagarasu_core::{CacheKey, ObjectKey};

use crate::config::ForwardedQuery;

/// The result of routing a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// An object in the bucket with this index.
    Object(usize, ObjectKey),
    /// No bucket or no key.
    Nowhere,
    /// The path is malformed, for this reason.
    Malformed(&'static str),
}

/// The path prefixes of all buckets, longest first, with the indexes of the buckets.
#[derive(Debug)]
pub(crate) struct Routes(Vec<(String, usize)>);

impl Routes {
    /// Takes the prefixes in the order of the buckets: `/`, or for example `/a/b` without a trailing slash.
    pub(crate) fn new<'a>(prefixes: impl Iterator<Item = &'a str>) -> Self {
        let mut routes: Vec<_> =
            prefixes.map(|prefix| prefix.trim_end_matches('/').to_owned()).zip(0..).collect();
        routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self(routes)
    }

    /// Returns the route of a request's path. Decodes the path once and takes the longest matching prefix.
    pub(crate) fn find(&self, path: &str) -> Route {
        let path = match decode(path) {
            Ok(path) => without_dots(path),
            Err(reason) => return Route::Malformed(reason),
        };
        let found = self.split(&path);
        // A malformed path is reported as such even if no bucket has its prefix.
        let key = found.map_or_else(|| path.trim_start_matches('/'), |(_, key)| key);
        match (ObjectKey::parse(key), found) {
            (Ok(key), Some((index, _))) => Route::Object(index, key),
            (Ok(_) | Err(KeyError::Empty), _) => Route::Nowhere,
            (Err(KeyError::TooLong), _) => Route::Malformed("the key is longer than 1024 bytes"),
            (Err(KeyError::DotSegment), _) => Route::Malformed("the path has a `..` segment"),
            (Err(KeyError::Nul), _) => Route::Malformed("the path has a NUL byte"),
        }
    }

    /// Returns the bucket with the longest prefix of a decoded path, and the rest of the path, which may be an invalid
    /// key.
    pub(crate) fn split<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.0.iter().find_map(|(prefix, index)| {
            let key = path.strip_prefix(prefix.as_str())?.strip_prefix('/')?;
            Some((*index, key))
        })
    }
}

/// Returns `true` if a field value is a host with an optional port (RFC 9110 7.2, RFC 3986 3.2.2). An empty one is valid
/// for a target without an authority.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        None => match value.iter().position(|&byte| byte == b':') {
            Some(colon) => value.split_at(colon),
            None => (value, &b""[..]),
        },
    };
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(byte);
    let port = port.strip_prefix(b":").unwrap_or(port);
    host.iter().all(named) && port.iter().all(u8::is_ascii_digit)
}

/// Percent-decodes a path once.
///
/// # Errors
///
/// Returns the reason if the path is malformed.
pub(crate) fn decode(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("the path does not begin with `/`");
    }
    // Most paths have no escapes and need no allocation.
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let escapes_are_whole = path.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return Err("`%` is not followed by two hexadecimal digits: write `%25` for a percent sign");
    }
    percent_decode_str(path).decode_utf8().map_err(|_| "the path is not UTF-8 once decoded")
}

/// Removes the `.` segments of a decoded path, as browsers and servers of files do (RFC 3986 5.2.4): `apt` asks for
/// `/debian/./Packages.gz`.
fn without_dots(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains("/.") {
        return path;
    }
    // A `.` at the end stands for the folder, which ends in a slash.
    let whole = path.strip_suffix("/.").map_or(path.to_string(), |folder| format!("{folder}/"));
    Cow::Owned(whole.split('/').filter(|segment| *segment != ".").collect::<Vec<_>>().join("/"))
}

/// Returns the query parameters that the bucket forwards, or `None` if there are none. They are sorted by name and
/// escaped in one way, so that each object has one cache key.
pub(crate) fn forwarded_query(
    query: Option<&str>,
    forwarded: &ForwardedQuery,
) -> Option<std::sync::Arc<str>> {
    if matches!(forwarded, ForwardedQuery::Named(names) if names.is_empty()) {
        return None;
    }
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    let mut kept: Vec<(Vec<u8>, Vec<u8>)> = query?
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .filter(|(name, _)| std::str::from_utf8(name).is_ok_and(|name| forwarded.forwards(name)))
        .collect();
    // The sort is stable, because the order of parameters with the same name may matter.
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    let encode = |bytes: &[u8]| percent_encoding::percent_encode(bytes, QUERY).to_string();
    let pairs: Vec<_> =
        kept.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    (!pairs.is_empty()).then(|| pairs.join("&").into())
}

/// The characters that are escaped in a signed query: all but the unreserved ones of RFC 3986 2.3.
const QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the cache key: the object and the forwarded query.
pub(crate) fn cache_key(object: ObjectKey, query: Option<&str>, forwarded: &ForwardedQuery) -> CacheKey {
    CacheKey::new(object, forwarded_query(query, forwarded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes() -> Routes {
        Routes::new(["/media", "/static", "/static/img", "/st\u{e9}"].into_iter())
    }

    #[track_caller]
    fn check(path: &str, expected: Result<(usize, &str), &str>) {
        let found = match routes().find(path) {
            Route::Object(index, key) => Ok((index, key.to_string())),
            Route::Nowhere => Err("nowhere".to_owned()),
            Route::Malformed(_) => Err("malformed".to_owned()),
        };
        let found = found.as_ref().map(|(index, key)| (*index, key.as_str())).map_err(String::as_str);
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn the_longest_prefix_wins_and_the_rest_is_the_key() {
        check("/static/css/a%20b.css", Ok((1, "css/a b.css")));
        check("/static/img/a.png", Ok((2, "a.png")));
        check("/static/imgs/a.png", Ok((1, "imgs/a.png")));
        check("/static//a//", Ok((1, "/a//")));
        check("/st%C3%A9/%2Ba+%2520", Ok((3, "+a+%20")));
        check("/static%2Fa", Ok((1, "a")));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in ["/", "/static", "/static/", "/statics/a", "/other/a"] {
            check(path, Err("nowhere"));
        }
    }

    #[test]
    fn bad_paths_are_told_from_missing_ones() {
        for path in [
            "/static/../media/a",
            "/static/%2e%2e/a",
            "/static/a%00b",
            "/static/%zz",
            "/static/%",
            "/static/%ff",
            "*",
            "/other/../static/a",
        ] {
            check(path, Err("malformed"));
        }
        check(&format!("/static/{}", "k".repeat(1025)), Err("malformed"));
    }

    #[test]
    fn a_single_dot_stands_for_the_folder_it_is_in() {
        for path in ["/static/./a", "/./static/a", "/static/%2e/a", "/static/././a"] {
            check(path, Ok((1, "a")));
        }
        check("/static/b/.", Ok((1, "b/")));
        check("/static/.", Err("nowhere"));
        check("/static/.hidden/...", Ok((1, ".hidden/...")));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for host in ["a.example", "a.example:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "a_b", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for other in ["a b", "a/b", "a@b", "a:b", "[::1", "a\\b", "a:80:80", "\u{e9}", "<a>", "[::1]x"] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn only_named_parameters_are_kept_in_one_form() {
        let named = ForwardedQuery::Named(vec!["v".to_owned(), "versionId".to_owned()]);
        let check = |query, expected: Option<&str>| {
            assert_eq!(forwarded_query(query, &named).as_deref(), expected, "{query:?}");
        };
        check(Some("versionId=a+b&acl&v=%31"), Some("v=1&versionId=a%20b"));
        check(Some("acl&uploads"), None);
        check(Some("v"), Some("v="));
        check(Some("v=2&v=1"), Some("v=2&v=1"));
        check(Some("v=%ff"), Some("v=%FF"));
        check(None, None);
        assert_eq!(forwarded_query(Some("v=1"), &ForwardedQuery::Named(Vec::new())), None);
    }

    #[test]
    fn all_parameters_are_kept_but_those_that_s3_would_act_on() {
        let check = |query, expected: Option<&str>| {
            assert_eq!(forwarded_query(Some(query), &ForwardedQuery::All).as_deref(), expected, "{query}");
        };
        check("b=2&a=+&b=1&versionId=%78", Some("a=%20&b=2&b=1&versionId=x"));
        check("acl&%61cl=&Tagging&X-Amz-Signature=0&x-amz-date=1&uploads&=v&k", Some("k="));
        check("acl", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn whatever_is_escaped_is_found(key in "[^\0]{1,40}") {
            prop_assume!(ObjectKey::parse(&key).is_ok());
            let escaped = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
            let route = Routes::new(["/"].into_iter()).find(&format!("/{escaped}"));
            prop_assert_eq!(route, Route::Object(0, ObjectKey::parse(&key).unwrap()));
        }
    }
}
