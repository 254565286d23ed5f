//! Computes the freshness lifetime and the age of a response (RFC 9111 4.2).

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap};

use crate::caching::cache_control::{CacheControl, DELTA_MAX};
use crate::caching::policy::{CachePolicy, ObjectControl};
use crate::clock::Moment;
use crate::http::validator::{date, only_date};
use crate::object::meta::ObjectMeta;

/// Divisor of the heuristic lifetime: an object stays fresh for a tenth of the time since its last modification
/// (RFC 9111 4.2.2).
const HEURISTIC_SHARE: u32 = 10;

/// Longest heuristic lifetime: one day.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether a stored object may be served without contacting its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Fresh for this much longer.
    Fresh(Duration),
    /// Stale for this long.
    Stale(Duration),
}

/// One request to a source and its response head: their place in the order of requests, and their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Number of the request. A later request of the same bucket has a greater number.
    pub number: u64,
    /// Moment at which the request was sent.
    pub asked: Moment,
    /// Moment at which the response head had arrived.
    pub received: Moment,
    /// Date at which the response head had arrived.
    pub dated: SystemTime,
}

impl Exchange {
    /// Returns an exchange at this date and the first moment. It took no time and comes before all others.
    pub fn at(dated: SystemTime) -> Self {
        let now = Moment::START;
        Self { number: 0, asked: now, received: now, dated }
    }
}

/// How long a stored response may be used, as its own fields and the bucket's policy decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreshnessTerms {
    /// Freshness lifetime, counted from the time the response was generated.
    pub lifetime: Duration,
    /// Time after `lifetime` in which it is served stale while it is revalidated (RFC 5861 3).
    pub stale_while_revalidate: Duration,
    /// Time after `lifetime` in which it is served stale if the source fails (RFC 5861 4).
    pub stale_if_error: Duration,
    /// Whether it may be served stale (RFC 9111 4.2.4).
    pub stale: StaleUse,
}

/// Whether a response may be served stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleUse {
    /// Within the two windows of [`FreshnessTerms`], or if the client accepts it.
    Allowed,
    /// Never.
    Forbidden,
}

impl FreshnessTerms {
    /// Returns terms with this lifetime and no stale windows.
    pub fn fresh_for(lifetime: Duration) -> Self {
        Self {
            lifetime,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale: StaleUse::Allowed,
        }
    }

    /// Computes the terms of a response that was received at the date `dated`.
    pub fn of(headers: &HeaderMap, dated: SystemTime, policy: &CachePolicy) -> Self {
        let control = effective(headers, policy);
        let stale = if control.forbids_stale() { StaleUse::Forbidden } else { StaleUse::Allowed };
        Self {
            lifetime: lifetime(headers, &control, dated, policy),
            stale_while_revalidate: control.stale_while_revalidate.unwrap_or(policy.stale_while_revalidate),
            stale_if_error: control.stale_if_error.unwrap_or(policy.stale_if_error),
            stale,
        }
    }
}

/// Returns the `Cache-Control` directives of a response, as far as the bucket's policy lets them count.
pub fn effective(headers: &HeaderMap, policy: &CachePolicy) -> CacheControl {
    counted(CacheControl::of(headers), policy)
}

/// Applies the bucket's policy to `control`.
///
/// [`ObjectControl::Respect`] returns it unchanged. Under the other two, `max-age` is the bucket's `ttl`:
/// [`ObjectControl::Ignore`] drops all directives, [`ObjectControl::Override`] only `s-maxage`.
pub fn counted(control: CacheControl, policy: &CachePolicy) -> CacheControl {
    match policy.cache_control {
        ObjectControl::Respect => control,
        ObjectControl::Ignore => CacheControl { max_age: Some(policy.ttl), ..CacheControl::default() },
        ObjectControl::Override => CacheControl { max_age: Some(policy.ttl), s_maxage: None, ..control },
    }
}

/// Returns the freshness lifetime, counted from the time the response was generated.
///
/// The first of these decides: `s-maxage`, `max-age`, `Expires` minus `Date` (RFC 9111 4.2.1), the heuristic if the
/// bucket enables it (4.2.2), the bucket's `ttl`. A malformed `Expires` lies in the past (5.3). With `no-cache` the
/// lifetime is zero, because every use needs a validation (5.2.2.4).
fn lifetime(
    headers: &HeaderMap,
    control: &CacheControl,
    dated: SystemTime,
    policy: &CachePolicy,
) -> Duration {
    if control.no_cache {
        return Duration::ZERO;
    }
    if let Some(named) = control.s_maxage.or(control.max_age) {
        return named;
    }
    let generated = date(headers, &header::DATE).unwrap_or(dated);
    if headers.contains_key(header::EXPIRES) {
        return date(headers, &header::EXPIRES)
            .and_then(|expires| expires.duration_since(generated).ok())
            .unwrap_or_default();
    }
    let guess = || {
        let modified = date(headers, &header::LAST_MODIFIED)?;
        let unchanged = generated.duration_since(modified).ok()?;
        Some((unchanged / HEURISTIC_SHARE).min(HEURISTIC_MAX))
    };
    let guessed = if policy.heuristic_freshness { guess() } else { None };
    guessed.unwrap_or(policy.ttl)
}

/// Returns the age of a response at the time it was received: `corrected_initial_age` of RFC 9111 4.2.3.
///
/// It is the larger of the time since `Date` and of `Age` plus the time that the exchange took.
pub fn initial_age(meta: &ObjectMeta, exchange: Exchange) -> Duration {
    let Exchange { asked, received, dated, .. } = exchange;
    let apparent = only_date(meta.values(header::DATE.as_str()))
        .and_then(|generated| dated.duration_since(generated).ok())
        .unwrap_or_default();
    let delay = received.since(asked);
    apparent.max(age_field(meta).saturating_add(delay))
}

/// Returns the value of `Age`, the first of several fields or list members (RFC 9111 5.1).
///
/// Returns zero if it is missing or not a number.
fn age_field(meta: &ObjectMeta) -> Duration {
    let Some(Ok(text)) = meta.values(header::AGE.as_str()).next().map(std::str::from_utf8) else {
        return Duration::ZERO;
    };
    let first = text.split(',').next().unwrap_or_default().trim();
    let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if digits { first.parse().map_or(DELTA_MAX, Duration::from_secs).min(DELTA_MAX) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn dated() -> SystemTime {
        httpdate::parse_http_date(RECEIVED).unwrap()
    }

    fn exchange() -> Exchange {
        Exchange::at(dated())
    }

    fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn policy() -> CachePolicy {
        CachePolicy::new(100, Duration::from_secs(7))
    }

    #[track_caller]
    fn check_lifetime(policy: &CachePolicy, list: &[(&'static str, &str)], seconds: u64) {
        let terms = FreshnessTerms::of(&fields(list), dated(), policy);
        assert_eq!(terms.lifetime, Duration::from_secs(seconds), "{list:?}");
    }

    #[test]
    fn the_most_specific_lifetime_counts() {
        let (policy, later) = (policy(), "Sun, 06 Nov 1994 08:50:37 GMT");
        let check = |list: &[(&'static str, &str)], seconds| check_lifetime(&policy, list, seconds);
        check(&[], 7);
        check(&[("cache-control", "max-age=5"), ("expires", later)], 5);
        check(&[("cache-control", "max-age=5, s-maxage=3")], 3);
        check(&[("cache-control", "max-age=5, no-cache")], 0);
        check(&[("cache-control", "max-age=5, no-cache=\"a\"")], 5);
        check(&[("expires", later)], 60);
        check(&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], 60);
        check(&[("expires", "Sun Nov  6 08:50:37 1994")], 60);
        check(&[("expires", later), ("date", "Sun, 06 Nov 1994 08:50:27 GMT")], 10);
        check(&[("expires", "0")], 0);
        check(&[("expires", later), ("expires", later)], 0);
        check(&[("expires", "Sat, 05 Nov 1994 08:49:37 GMT")], 0);
        check(&[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], 7);
    }

    #[test]
    fn a_guess_is_a_tenth_and_at_most_a_day() {
        let policy = CachePolicy { heuristic_freshness: true, ..policy() };
        check_lifetime(&policy, &[("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT")], 10);
        check_lifetime(&policy, &[("last-modified", "Sat, 06 Nov 1993 08:47:57 GMT")], 24 * 3600);
        check_lifetime(&policy, &[("last-modified", "Mon, 06 Nov 1995 08:47:57 GMT")], 7);
        check_lifetime(&policy, &[], 7);
        let named = [("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT"), ("cache-control", "max-age=5")];
        check_lifetime(&policy, &named, 5);
    }

    #[test]
    fn the_bucket_says_whose_word_counts() {
        let list = [("cache-control", "s-maxage=90, must-revalidate"), ("expires", "0")];
        let check = |cache_control, expected| {
            let policy = CachePolicy { cache_control, ..policy() };
            let terms = FreshnessTerms::of(&fields(&list), dated(), &policy);
            assert_eq!((terms.lifetime.as_secs(), terms.stale), expected, "{cache_control:?}");
        };
        check(ObjectControl::Respect, (90, StaleUse::Forbidden));
        check(ObjectControl::Override, (7, StaleUse::Forbidden));
        check(ObjectControl::Ignore, (7, StaleUse::Allowed));
        let policy = CachePolicy { cache_control: ObjectControl::Override, ..policy() };
        check_lifetime(&policy, &[("cache-control", "no-cache")], 0);
    }

    #[test]
    fn stale_windows_are_the_objects_then_the_buckets() {
        let policy = CachePolicy {
            stale_while_revalidate: Duration::from_secs(1),
            stale_if_error: Duration::from_secs(2),
            ..policy()
        };
        let windows = |control| {
            let terms = FreshnessTerms::of(&fields(&[("cache-control", control)]), dated(), &policy);
            (terms.stale_while_revalidate.as_secs(), terms.stale_if_error.as_secs(), terms.stale)
        };
        assert_eq!(windows("max-age=1"), (1, 2, StaleUse::Allowed));
        assert_eq!(windows("stale-while-revalidate=5, stale-if-error=0"), (5, 0, StaleUse::Allowed));
        for control in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            assert_eq!(windows(control).2, StaleUse::Forbidden, "{control}");
        }
    }

    #[track_caller]
    fn check_age(list: &[(&'static str, &str)], seconds: u64) {
        assert_eq!(
            initial_age(&ObjectMeta::new(fields(list)), exchange()),
            Duration::from_secs(seconds),
            "{list:?}"
        );
    }

    #[test]
    fn the_time_an_answer_took_counts() {
        let received = Moment::START + Duration::from_secs(3);
        let exchange = Exchange { received, ..exchange() };
        let age =
            |list: &[(&'static str, &str)]| initial_age(&ObjectMeta::new(fields(list)), exchange).as_secs();
        assert_eq!(age(&[]), 3);
        assert_eq!(age(&[("age", "5")]), 8);
        assert_eq!(age(&[("age", "5"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")]), 10);
    }

    #[test]
    fn the_larger_age_counts() {
        check_age(&[], 0);
        check_age(&[("age", "5"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 10);
        check_age(&[("age", "15"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 15);
        check_age(&[("date", "Sun, 06 Nov 1994 09:49:27 GMT")], 0);
        check_age(&[("age", "-3")], 0);
        check_age(&[("age", "4, 9"), ("age", "12")], 4);
        check_age(&[("age", "99999999999999999999999")], 1 << 31);
    }
}
