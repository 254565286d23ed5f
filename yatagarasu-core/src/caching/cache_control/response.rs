//! The `Cache-Control` directives of a response.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};

use crate::caching::cache_control::directives::{Directive, directives, is_cut};

/// The response directives that a shared cache obeys (RFC 9111 5.2.2, RFC 5861).
///
/// If a directive is repeated, the shortest time counts. A malformed time counts as zero, and so does every lifetime if
/// a quoted string has no end. Invalid freshness information thus makes the response stale (RFC 9111 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "directives without an argument are there or are not")]
pub struct CacheControl {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `max-age`
    pub max_age: Option<Duration>,
    /// `s-maxage`
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 3)
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 4)
    pub stale_if_error: Option<Duration>,
}

impl CacheControl {
    /// Parses all `Cache-Control` fields of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        directives(headers).for_each(|directive| control.add(&directive));
        if is_cut(headers) { control.doubted() } else { control }
    }

    /// Returns the directives of a field whose end nobody knows: stale at once, never served stale, and with no permission
    /// that what follows the cut seems to give.
    fn doubted(self) -> Self {
        Self {
            max_age: Some(Duration::ZERO),
            proxy_revalidate: true,
            s_maxage: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            public: false,
            must_revalidate: false,
            must_understand: false,
            ..self
        }
    }

    fn add(&mut self, directive: &Directive<'_>) {
        match &*directive.name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= named(directive).is_empty(),
            b"private" => self.private |= named(directive).is_empty(),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"max-age" => shorten(&mut self.max_age, directive),
            b"s-maxage" => shorten(&mut self.s_maxage, directive),
            b"stale-while-revalidate" => shorten(&mut self.stale_while_revalidate, directive),
            b"stale-if-error" => shorten(&mut self.stale_if_error, directive),
            _ => {}
        }
    }

    /// Returns `true` if a shared cache must not store the response (RFC 9111 5.2.2.5, 5.2.2.7).
    ///
    /// `must-understand` lifts `no-store`, because the gateway understands every status it stores (5.2.2.3).
    pub fn forbids_storing(&self) -> bool {
        self.private || (self.no_store && !self.must_understand)
    }

    /// Returns `true` if the response must not be served stale (RFC 9111 4.2.4).
    ///
    /// `s-maxage` implies `proxy-revalidate` (5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    /// Returns `true` if the response to a request with `Authorization` may serve other requests (RFC 9111 3.5).
    pub fn shares_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }
}

/// Returns the fields that `private` and `no-cache` name. They are not stored with the other fields (RFC 9111
/// 5.2.2.4, 5.2.2.7).
pub fn withheld(headers: &HeaderMap) -> Vec<HeaderName> {
    directives(headers)
        .filter(|directive| matches!(&*directive.name, b"private" | b"no-cache"))
        .flat_map(|directive| named(&directive))
        .collect()
}

/// Returns the field names in the argument.
///
/// Returns an empty list if any name is malformed. The directive then applies to the whole response, as if it had no
/// argument.
fn named(directive: &Directive<'_>) -> Vec<HeaderName> {
    let argument = directive.argument.as_deref().unwrap_or_default();
    let names: Result<_, _> = argument
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(HeaderName::from_bytes)
        .collect();
    names.unwrap_or_default()
}

fn shorten(known: &mut Option<Duration>, directive: &Directive<'_>) {
    let new = directive.seconds().unwrap_or_default();
    *known = Some(known.map_or(new, |known| known.min(new)));
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (header::CACHE_CONTROL, field.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check(fields: &[&str], expected: CacheControl) {
        assert_eq!(CacheControl::of(&headers(fields)), expected, "{fields:?}");
    }

    fn max_age(seconds: u64) -> CacheControl {
        CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() }
    }

    #[test]
    fn directives_are_found_in_any_dress() {
        check(&[], CacheControl::default());
        check(&["x-new, MAX-AGE=60"], max_age(60));
        check(&["max-age=\"60\""], max_age(60));
        check(&["max-age=\"\\6\\0\""], max_age(60));
        check(&["x=\"no-store, private\\\", no-cache\", max-age=5"], max_age(5));
        check(
            &["no-store", "private"],
            CacheControl { no_store: true, private: true, ..CacheControl::default() },
        );
        check(&["no-cache"], CacheControl { no_cache: true, ..CacheControl::default() });
        check(
            &["s-maxage=1, max-age=2"],
            CacheControl { s_maxage: Some(Duration::from_secs(1)), ..max_age(2) },
        );
        check(
            &["public, must-revalidate , Proxy-Revalidate, must-understand"],
            CacheControl {
                public: true,
                must_revalidate: true,
                proxy_revalidate: true,
                must_understand: true,
                ..CacheControl::default()
            },
        );
        let windows = CacheControl {
            stale_while_revalidate: Some(Duration::from_secs(3)),
            stale_if_error: Some(Duration::from_secs(4)),
            ..CacheControl::default()
        };
        check(&["stale-while-revalidate=3, stale-if-error=\"4\""], windows);
    }

    #[test]
    fn a_doubt_makes_it_stale() {
        check(&["max-age"], max_age(0));
        check(&["max-age=-1"], max_age(0));
        check(&["max-age=1.5"], max_age(0));
        check(&["max-age=60, max-age=30"], max_age(30));
        check(&["max-age=60, max-age=x"], max_age(0));
        check(&["max-age=99999999999999999999999"], max_age(1 << 31));
        let doubted = CacheControl { proxy_revalidate: true, ..max_age(0) };
        for cut in
            ["max-age=60, x=\"a", "x=\"a, max-age=60", "x=\"", "x=\"a\\\"", "x=\"a, public, s-maxage=9"]
        {
            check(&[cut], doubted);
            check(&["max-age=60", cut], doubted);
        }
        check(&["x=\"a, private, stale-if-error=9"], CacheControl { private: true, ..doubted });
        check(&["no-store, x=\"a, must-understand"], CacheControl { no_store: true, ..doubted });
    }

    #[test]
    fn fields_may_be_withheld_instead_of_the_whole() {
        let named = headers(&["private=\"A, b\", no-cache=c"]);
        assert_eq!(CacheControl::of(&named), CacheControl::default());
        assert_eq!(withheld(&named), ["a", "b", "c"]);
        let whole = CacheControl { private: true, no_cache: true, ..CacheControl::default() };
        check(&["private=\"\", no-cache=\"a b\""], whole);
        assert!(withheld(&headers(&["private, x=\"a\""])).is_empty());
    }

    #[test]
    fn understanding_lifts_no_store_only() {
        assert!(CacheControl { no_store: true, ..CacheControl::default() }.forbids_storing());
        let understood = CacheControl { no_store: true, must_understand: true, ..CacheControl::default() };
        assert!(!understood.forbids_storing());
        assert!(CacheControl { private: true, ..understood }.forbids_storing());
    }
}
