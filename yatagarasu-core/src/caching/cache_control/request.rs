//! The `Cache-Control` directives of a request.

use std::time::Duration;

use http::header::{self, HeaderMap};

use crate::caching::cache_control::DELTA_MAX;
use crate::caching::cache_control::directives::{Directive, directives};

/// The request directives (RFC 9111 5.2.1, RFC 5861 4).
///
/// A malformed argument makes fewer stored responses acceptable, never more. Of a repeated directive the strictest
/// argument counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestControl {
    /// `no-cache`
    pub no_cache: bool,
    /// `no-store`
    pub no_store: bool,
    /// `only-if-cached`
    pub only_if_cached: bool,
    /// `max-age`
    pub max_age: Option<Duration>,
    /// `min-fresh`
    pub min_fresh: Option<Duration>,
    /// `max-stale`; [`DELTA_MAX`] if it has no argument, because any staleness is then acceptable.
    pub max_stale: Option<Duration>,
    /// `stale-if-error`
    pub stale_if_error: Option<Duration>,
}

impl RequestControl {
    /// Parses all `Cache-Control` fields of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if headers.contains_key(header::CACHE_CONTROL) {
            directives(headers).for_each(|directive| control.add(&directive));
        }
        control
    }

    fn add(&mut self, directive: &Directive<'_>) {
        match &*directive.name {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => least(&mut self.max_age, directive.seconds().unwrap_or_default()),
            b"min-fresh" => {
                let wanted = directive.seconds().unwrap_or(DELTA_MAX);
                self.min_fresh = Some(self.min_fresh.map_or(wanted, |known| known.max(wanted)));
            }
            b"max-stale" if directive.argument.is_none() => least(&mut self.max_stale, DELTA_MAX),
            b"max-stale" => least(&mut self.max_stale, directive.seconds().unwrap_or_default()),
            b"stale-if-error" => least(&mut self.stale_if_error, directive.seconds().unwrap_or_default()),
            _ => {}
        }
    }
}

fn least(known: &mut Option<Duration>, new: Duration) {
    *known = Some(known.map_or(new, |known| known.min(new)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, expected: RequestControl) {
        let headers = [(header::CACHE_CONTROL, field.parse().unwrap())].into_iter().collect();
        assert_eq!(RequestControl::of(&headers), expected, "{field}");
    }

    #[test]
    fn what_cannot_be_read_accepts_less() {
        let none = RequestControl::default();
        let seconds = |count| Some(Duration::from_secs(count));
        check(
            "No-Cache, no-store,only-if-cached",
            RequestControl { no_cache: true, no_store: true, only_if_cached: true, ..none },
        );
        check("max-age=5, max-age=9", RequestControl { max_age: seconds(5), ..none });
        check("max-age=x", RequestControl { max_age: seconds(0), ..none });
        check("min-fresh=\"5\"", RequestControl { min_fresh: seconds(5), ..none });
        check("min-fresh", RequestControl { min_fresh: Some(DELTA_MAX), ..none });
        check("max-stale", RequestControl { max_stale: Some(DELTA_MAX), ..none });
        check("max-stale=3", RequestControl { max_stale: seconds(3), ..none });
        check("max-stale=x", RequestControl { max_stale: seconds(0), ..none });
        check("stale-if-error=7, x-other=1", RequestControl { stale_if_error: seconds(7), ..none });
    }
}
