//! Maps the host, the path and the query of a request to a bucket, a key and the forwarded query.

mod host;
mod keys;
pub(crate) mod rewrite;

use std::borrow::Cow;
use std::collections::HashMap;

use http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use yatagarasu_core::object::key::KeyError;
use yatagarasu_core::{CacheKey, ObjectKey};

use crate::config::ForwardedQuery;
use keys::{Keys, Located};

pub(crate) use host::without_port;
pub use host::{HostPattern, KeyPrefix};
pub(crate) use rewrite::Rewrite;

/// The result of routing a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// An object in the bucket with this index.
    Object(usize, ObjectKey),
    /// The folder of a website, without the slash at its end.
    Folder,
    /// Another reference, with the status that says so.
    Redirect(StatusCode, HeaderValue),
    /// No bucket or no key.
    Nowhere,
    /// No bucket is for the host.
    Misdirected,
    /// The path is malformed, for this reason.
    Malformed(&'static str),
}

/// What leads to a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The hosts that it is for. None stands for all.
    pub(crate) hosts: &'a [HostPattern],
    /// `/`, or for example `/a/b` without a trailing slash.
    pub(crate) path_prefix: &'a str,
    pub(crate) key_prefix: &'a KeyPrefix,
    /// Whether the keys have the path prefix, too.
    pub(crate) keeps_path_prefix: bool,
    pub(crate) rewrites: &'a [Rewrite],
    /// The name of the page of a folder.
    pub(crate) index: Option<&'a str>,
}

/// Path prefixes, longest first, with the indexes of the buckets.
type Paths = Vec<(String, usize)>;

/// The ways to all buckets. The most specific host comes first: a name, a wildcard, any; then the longest prefix.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<String, Paths>,
    /// By the name that the wildcard is below.
    below: HashMap<String, Paths>,
    any: Paths,
    /// The keys of each bucket.
    keys: Vec<Keys>,
    /// Whether the host of a request matters.
    is_by_host: bool,
}

impl Routes {
    /// Takes the places in the order of the buckets.
    pub(crate) fn new<'a>(places: impl Iterator<Item = Place<'a>>) -> Self {
        let mut routes = Self::default();
        for (number, place) in places.enumerate() {
            let path = (place.path_prefix.trim_end_matches('/').to_owned(), number);
            for host in place.hosts {
                let paths = match host {
                    HostPattern::Exact(name) => routes.exact.entry(name.clone()),
                    HostPattern::Below(parent) => routes.below.entry(parent.clone()),
                };
                paths.or_default().push(path.clone());
            }
            if place.hosts.is_empty() {
                routes.any.push(path);
            }
            routes.is_by_host |= !place.hosts.is_empty() || place.key_prefix.has_host();
            routes.keys.push(Keys::new(&place));
        }
        let all = routes.exact.values_mut().chain(routes.below.values_mut()).chain([&mut routes.any]);
        for paths in all {
            paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        routes
    }

    /// Returns whether the host of a request matters.
    pub(crate) fn is_by_host(&self) -> bool {
        self.is_by_host
    }

    /// Returns the route of a request's host and path. Decodes the path once and takes the longest matching prefix.
    pub(crate) fn find(&self, host: Option<&str>, path: &str) -> Route {
        let path = match decode(path) {
            Ok(path) => without_dots(path),
            Err(reason) => return Route::Malformed(reason),
        };
        let found = self.locate(host, &path);
        // A malformed path is reported as such even if no bucket has its prefix, or a redirect is for it.
        let key = match &found {
            Some((_, Located::Key(key))) => key,
            _ => path.trim_start_matches('/'),
        };
        let key = match ObjectKey::parse(key) {
            _ if found.is_none() && !self.knows(host) => return Route::Misdirected,
            Ok(key) => Some(key),
            Err(KeyError::Empty) => None,
            Err(KeyError::TooLong) => return Route::Malformed("the key is longer than 1024 bytes"),
            Err(KeyError::DotSegment) => return Route::Malformed("the path has a `..` segment"),
            Err(KeyError::Nul) => return Route::Malformed("the path has a NUL byte"),
        };
        match (found, key) {
            (Some((_, Located::Folder)), _) => Route::Folder,
            (Some((_, Located::Redirect(status, location))), _) => Route::Redirect(status, location),
            (Some((index, Located::Key(_))), Some(key)) => Route::Object(index, key),
            (Some((_, Located::Key(_))) | None, _) => Route::Nowhere,
        }
    }

    /// Returns the bucket with the longest prefix of a decoded path for a host, and the key at S3, which may be invalid.
    pub(crate) fn split<'a>(&self, host: Option<&str>, path: &'a str) -> Option<(usize, Cow<'a, str>)> {
        match self.locate(host, path)? {
            (index, Located::Key(key)) => Some((index, key)),
            (_, Located::Folder | Located::Redirect(..)) => None,
        }
    }

    fn locate<'a>(&self, host: Option<&str>, path: &'a str) -> Option<(usize, Located<'a>)> {
        let host = if self.is_by_host { host.map(without_port) } else { None };
        let host = host.as_deref();
        self.paths(host).find_map(|paths| {
            let (_, index) = paths.iter().find(|(_, index)| self.keys[*index].is_for(path))?;
            Some((*index, self.keys[*index].locate(host, path)?))
        })
    }

    /// Returns whether any bucket is for a host.
    fn knows(&self, host: Option<&str>) -> bool {
        let host = host.map(without_port);
        self.paths(host.as_deref()).next().is_some()
    }

    /// Returns the prefixes that are for a host, the most specific ones first.
    fn paths(&self, host: Option<&str>) -> impl Iterator<Item = &Paths> {
        let host = host.filter(|_| self.is_by_host);
        let exact = host.and_then(|host| self.exact.get(host));
        let below = host.and_then(|host| {
            let (label, parent) = host.split_once('.')?;
            self.below.get(parent).filter(|_| !label.is_empty())
        });
        exact.into_iter().chain(below).chain(Some(&self.any).filter(|any| !any.is_empty()))
    }
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
pub(crate) fn without_dots(path: Cow<'_, str>) -> Cow<'_, str> {
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
        by_path(&["/media", "/static", "/static/img", "/st\u{e9}"])
    }

    fn by_path(prefixes: &[&str]) -> Routes {
        let none = KeyPrefix::default();
        Routes::new(prefixes.iter().map(|path_prefix| place(&[], path_prefix, &none, None)))
    }

    fn place<'a>(
        hosts: &'a [HostPattern],
        path_prefix: &'a str,
        key_prefix: &'a KeyPrefix,
        index: Option<&'a str>,
    ) -> Place<'a> {
        Place { hosts, path_prefix, key_prefix, keeps_path_prefix: false, rewrites: &[], index }
    }

    #[test]
    fn the_most_specific_host_comes_first_and_then_the_longest_prefix() {
        let pattern = |text: &str| HostPattern::parse(text).unwrap();
        let buckets = [
            (vec!["www.example.com"], "/", ""),
            (vec!["www.example.com", "a.example.org"], "/img", "pictures/"),
            (vec!["*.example.org"], "/", "sites/{label}/"),
            (vec!["a.example.org"], "/", "a/"),
            (vec!["*.example.net"], "/img", "{host}/"),
        ];
        let made: Vec<_> = buckets
            .iter()
            .map(|(hosts, path, key)| {
                let hosts: Vec<_> = hosts.iter().map(|host| pattern(host)).collect();
                (hosts, *path, KeyPrefix::parse(key).unwrap())
            })
            .collect();
        let places = made.iter().map(|(hosts, path, key)| place(hosts, path, key, None));
        let closed = Routes::new(places.clone());
        let none = KeyPrefix::default();
        let default = place(&[], "/", &none, None);
        let open = Routes::new(places.chain([default]));
        for (host, path, expected, beyond) in [
            ("www.example.com", "/k", Some((0, "k")), None),
            ("WWW.example.com:8080", "/img/k", Some((1, "pictures/k")), None),
            ("www.example.com.", "/imgs/k", Some((0, "imgs/k")), None),
            ("a.example.org", "/img/k", Some((1, "pictures/k")), None),
            ("a.example.org", "/k", Some((3, "a/k")), None),
            ("b.example.org", "/img/k", Some((2, "sites/b/img/k")), None),
            ("b.c.example.org", "/k", None, Some((5, "k"))),
            ("example.org", "/k", None, Some((5, "k"))),
            (".example.org", "/k", None, Some((5, "k"))),
            ("x.example.net", "/img/k", Some((4, "x.example.net/k")), None),
            ("x.example.net", "/k", None, Some((5, "k"))),
            ("nobody.example", "/k", None, Some((5, "k"))),
        ] {
            let found = |routes: &Routes| match routes.find(Some(host), path) {
                Route::Object(index, key) => Ok((index, key.to_string())),
                Route::Folder => Err("folder"),
                Route::Redirect(..) => Err("redirect"),
                Route::Nowhere => Err("nowhere"),
                Route::Misdirected => Err("misdirected"),
                Route::Malformed(reason) => Err(reason),
            };
            let owned = |(index, key): (usize, &str)| (index, key.to_owned());
            let lost = if host == "x.example.net" { "nowhere" } else { "misdirected" };
            assert_eq!(found(&closed), expected.map(owned).ok_or(lost), "{host}{path}");
            assert_eq!(found(&open), expected.or(beyond).map(owned).ok_or(""), "{host}{path}");
        }
        assert_eq!(closed.find(None, "/k"), Route::Misdirected);
        assert!(matches!(open.find(None, "/k"), Route::Object(5, _)));
    }

    #[track_caller]
    fn check(path: &str, expected: Result<(usize, &str), &str>) {
        let found = match routes().find(Some("any"), path) {
            Route::Object(index, key) => Ok((index, key.to_string())),
            Route::Folder => Err("folder".to_owned()),
            Route::Redirect(..) => Err("redirect".to_owned()),
            Route::Nowhere => Err("nowhere".to_owned()),
            Route::Misdirected => Err("misdirected".to_owned()),
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
    fn folders_of_a_website_have_a_page() {
        let prefix = KeyPrefix::parse("site/").unwrap();
        let place = |path_prefix| place(&[], path_prefix, &prefix, Some("index.html"));
        let routes = Routes::new([place("/"), place("/docs")].into_iter());
        for (path, index, key) in [
            ("/", 0, "site/index.html"),
            ("/a/", 0, "site/a/index.html"),
            ("/a", 0, "site/a"),
            ("/docs/", 1, "site/index.html"),
            ("/docs/a/", 1, "site/a/index.html"),
        ] {
            assert_eq!(
                routes.find(None, path),
                Route::Object(index, ObjectKey::parse(key).unwrap()),
                "{path}"
            );
        }
        let routes = Routes::new([place("/docs")].into_iter());
        assert_eq!(routes.find(None, "/docs"), Route::Folder);
        assert_eq!(routes.find(None, "/doc"), Route::Nowhere);
        let routes = Routes::new([place("/"), place("/docs")].into_iter());
        assert_eq!(routes.find(None, "/docs"), Route::Folder, "before the shorter prefix");
        assert!(matches!(routes.find(None, "/docsx"), Route::Object(0, _)));
    }

    #[test]
    fn rewritten_paths_lead_on_in_their_bucket() {
        let key_prefix = KeyPrefix::parse("site/").unwrap();
        let rule = |from: &str, to: &str, status| {
            let from = rewrite::PathPattern::parse(from).unwrap();
            let to = rewrite::Target::parse(to, &from).unwrap();
            Rewrite { from, to, status }
        };
        let rewrites = [
            rule("/docs/old/{rest}", "/docs/new/{rest}", None),
            rule("/docs/gone/{rest}", "/other/{rest}", Some(StatusCode::FOUND)),
        ];
        let docs = Place { rewrites: &rewrites, ..place(&[], "/docs", &key_prefix, Some("index.html")) };
        let none = KeyPrefix::default();
        let kept = Place { keeps_path_prefix: true, ..place(&[], "/kept/x", &none, None) };
        let routes = Routes::new([docs, kept].into_iter());
        let object = |index, key: &str| Route::Object(index, ObjectKey::parse(key).unwrap());
        assert_eq!(routes.find(None, "/docs/old/a%20b"), object(0, "site/new/a b"));
        assert_eq!(routes.find(None, "/docs/old/"), object(0, "site/new/index.html"));
        assert_eq!(routes.find(None, "/docs/older"), object(0, "site/older"));
        assert_eq!(routes.find(None, "/kept/x/a"), object(1, "kept/x/a"));
        assert_eq!(routes.find(None, "/kept/x/"), Route::Nowhere);
        let elsewhere = Route::Redirect(StatusCode::FOUND, HeaderValue::from_static("/other/a%20b"));
        assert_eq!(routes.find(None, "/docs/gone/a%20b"), elsewhere);
        for path in ["/docs/old/../a", "/docs/gone/../a", "/docs/gone/%00"] {
            assert!(matches!(routes.find(None, path), Route::Malformed(_)), "{path}");
        }
        assert_eq!(routes.split(None, "/docs/gone/a"), None);
        assert_eq!(routes.split(None, "/docs/old/a").unwrap().1, "site/new/a");
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
            let route = by_path(&["/"]).find(None, &format!("/{escaped}"));
            prop_assert_eq!(route, Route::Object(0, ObjectKey::parse(&key).unwrap()));
        }
    }
}
