//! Decides if a stored response may answer a request (RFC 9111 4, 5.2.1; RFC 5861).

use crate::clock::Moment;

use crate::cache::entry::CacheEntry;
use crate::caching::cache_control::RequestControl;
use crate::caching::cache_status::ForwardReason;
use crate::caching::freshness::{Freshness, StaleUse};

/// How a stored response may be used for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it: it is fresh.
    Fresh,
    /// Serve it: it is stale, and the client accepts that (`max-stale`).
    Accepted,
    /// Serve it stale while it is revalidated for later requests.
    WhileRevalidating,
    /// Serve it only after the source has confirmed it. Holds the forward reason.
    Validated(ForwardReason),
}

/// Returns how the stored response may be used, given its terms and the client's directives.
pub fn reuse(stored: &CacheEntry, now: Moment, client: &RequestControl) -> Reuse {
    let too_old = client.max_age.is_some_and(|limit| stored.age(now) > limit);
    match stored.freshness(now) {
        Freshness::Fresh(rest) => {
            let too_soon_stale = client.min_fresh.is_some_and(|wanted| rest < wanted);
            if client.no_cache || too_old || too_soon_stale {
                Reuse::Validated(ForwardReason::Request)
            } else {
                Reuse::Fresh
            }
        }
        Freshness::Stale(since) => {
            let terms = stored.terms();
            if client.no_cache || too_old || client.min_fresh.is_some() || terms.stale == StaleUse::Forbidden
            {
                Reuse::Validated(ForwardReason::Stale)
            } else if since < terms.stale_while_revalidate {
                Reuse::WhileRevalidating
            } else if client.max_stale.is_some_and(|limit| since <= limit) {
                Reuse::Accepted
            } else {
                Reuse::Validated(ForwardReason::Stale)
            }
        }
    }
}

/// Returns `true` if the stored object may be served because its source failed (RFC 5861 4).
pub fn serves_on_error(stored: &CacheEntry, now: Moment, client: &RequestControl) -> bool {
    let terms = stored.terms();
    let window = terms.stale_if_error.max(client.stale_if_error.unwrap_or_default());
    let allowed = stored.is_object() && terms.stale == StaleUse::Allowed && !client.no_cache;
    match stored.freshness(now) {
        Freshness::Stale(since) => allowed && since < window,
        // The object was forwarded only because the client wanted a fresher one.
        Freshness::Fresh(_) => allowed && !window.is_zero(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::header;

    use super::*;
    use crate::cache::entry::EntryKind;
    use crate::cache::segments::Segments;
    use crate::caching::freshness::{Exchange, FreshnessTerms};
    use crate::caching::policy::CachePolicy;
    use crate::object::meta::ObjectMeta;

    /// Returns an object that was received now with this `Age`.
    fn object(control: &str, age: u64) -> CacheEntry {
        let fields = [(header::CACHE_CONTROL, control.parse().unwrap()), (header::AGE, age.into())];
        let meta = ObjectMeta::new(fields.into_iter().collect());
        let policy = CachePolicy::new(100, Duration::from_secs(7));
        let terms = FreshnessTerms::of(&meta.headers(), SystemTime::UNIX_EPOCH, &policy);
        let exchange = Exchange::at(SystemTime::UNIX_EPOCH);
        CacheEntry::new(meta, EntryKind::Full(Segments::default()), exchange, terms)
    }

    fn client(control: &str) -> RequestControl {
        RequestControl::of(&[(header::CACHE_CONTROL, control.parse().unwrap())].into_iter().collect())
    }

    #[track_caller]
    fn check(control: &str, age: u64, asked: &str, expected: Reuse) {
        let found = reuse(&object(control, age), Moment::START, &client(asked));
        assert_eq!(found, expected, "{control}, age {age}, asked {asked}");
    }

    #[test]
    fn what_is_fresh_answers_unless_the_client_wants_it_fresher() {
        check("max-age=10", 9, "", Reuse::Fresh);
        check("max-age=10", 4, "max-age=4, min-fresh=6", Reuse::Fresh);
        for asked in ["no-cache", "max-age=3", "min-fresh=7"] {
            check("max-age=10", 4, asked, Reuse::Validated(ForwardReason::Request));
        }
    }

    #[test]
    fn what_is_stale_answers_where_both_sides_allow_it() {
        check("max-age=10", 10, "", Reuse::Validated(ForwardReason::Stale));
        check("max-age=10", 15, "max-stale", Reuse::Accepted);
        check("max-age=10", 15, "max-stale=5", Reuse::Accepted);
        check("max-age=10", 15, "max-stale=4", Reuse::Validated(ForwardReason::Stale));
        check("max-age=10", 15, "max-stale, max-age=14", Reuse::Validated(ForwardReason::Stale));
        check("max-age=10, must-revalidate", 15, "max-stale", Reuse::Validated(ForwardReason::Stale));
        check("max-age=10, stale-while-revalidate=6", 15, "", Reuse::WhileRevalidating);
        check("max-age=10, stale-while-revalidate=5", 15, "", Reuse::Validated(ForwardReason::Stale));
        check("max-age=10, stale-while-revalidate=6", 15, "no-cache", Reuse::Validated(ForwardReason::Stale));
        check("s-maxage=10, stale-while-revalidate=6", 15, "", Reuse::Validated(ForwardReason::Stale));
    }

    #[test]
    fn a_mark_makes_it_stale_from_then_on() {
        let stored = object("max-age=100, stale-while-revalidate=5", 0);
        let after = |seconds| Moment::START + Duration::from_secs(seconds);
        stored.expire(after(10));
        stored.expire(after(50));
        assert_eq!(stored.freshness(after(12)), Freshness::Stale(Duration::from_secs(2)));
        assert_eq!(reuse(&stored, after(12), &client("")), Reuse::WhileRevalidating);
        assert_eq!(reuse(&stored, after(15), &client("")), Reuse::Validated(ForwardReason::Stale));
    }

    #[test]
    fn errors_are_bridged_within_the_window() {
        let check = |control: &str, age, asked: &str, expected| {
            let found = serves_on_error(&object(control, age), Moment::START, &client(asked));
            assert_eq!(found, expected, "{control}, age {age}, asked {asked}");
        };
        check("max-age=10, stale-if-error=6", 15, "", true);
        check("max-age=10, stale-if-error=5", 15, "", false);
        check("max-age=10", 15, "stale-if-error=6", true);
        check("max-age=10, stale-if-error=6", 15, "no-cache", false);
        check("max-age=10, stale-if-error=6, must-revalidate", 15, "", false);
        check("max-age=20, stale-if-error=6", 15, "max-age=1", true);
        check("max-age=20", 15, "max-age=1", false);
    }
}
