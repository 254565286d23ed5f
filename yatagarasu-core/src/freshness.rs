//! How long a response may be used, and how old it is (RFC 9111 4.2).

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap};

use crate::cache_control::{CacheControl, DELTA_MAX};
use crate::validator::date;

/// Whether a stored object may be served without asking its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// For this long still.
    Fresh(Duration),
    /// No longer.
    Stale,
}

/// Computes how long a response stays fresh after it was generated.
///
/// `s-maxage`, then `max-age`, then `Expires` less `Date` (RFC 9111 4.2.1), then `default` where the response
/// names none. An `Expires` that cannot be read lies in the past (RFC 9111 5.3).
pub fn lifetime(headers: &HeaderMap, received: SystemTime, default: Duration) -> Duration {
    let control = CacheControl::of(headers);
    if let Some(named) = control.s_maxage.or(control.max_age) {
        return named;
    }
    if headers.contains_key(header::EXPIRES) {
        let generated = date(headers, &header::DATE).unwrap_or(received);
        return date(headers, &header::EXPIRES)
            .and_then(|expires| expires.duration_since(generated).ok())
            .unwrap_or_default();
    }
    default
}

/// Computes how old a response was when it arrived: the larger of what `Date` and `Age` say (RFC 9111 4.2.3).
pub fn initial_age(headers: &HeaderMap, received: SystemTime) -> Duration {
    let apparent = date(headers, &header::DATE)
        .and_then(|generated| received.duration_since(generated).ok())
        .unwrap_or_default();
    apparent.max(age_field(headers))
}

/// Reads the first `Age` (RFC 9111 5.1); one that is not a number says nothing.
fn age_field(headers: &HeaderMap) -> Duration {
    let Some(Ok(text)) = headers.get(header::AGE).map(|value| value.to_str()) else { return Duration::ZERO };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_or(DELTA_MAX, Duration::from_secs).min(DELTA_MAX) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn received() -> SystemTime {
        httpdate::parse_http_date(RECEIVED).unwrap()
    }

    fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check_lifetime(list: &[(&'static str, &str)], seconds: u64) {
        let lifetime = lifetime(&fields(list), received(), Duration::from_secs(7));
        assert_eq!(lifetime, Duration::from_secs(seconds), "{list:?}");
    }

    #[test]
    fn the_most_specific_lifetime_counts() {
        let later = "Sun, 06 Nov 1994 08:50:37 GMT";
        check_lifetime(&[], 7);
        check_lifetime(&[("cache-control", "max-age=5"), ("expires", later)], 5);
        check_lifetime(&[("cache-control", "max-age=5, s-maxage=3")], 3);
        check_lifetime(&[("expires", later)], 60);
        check_lifetime(&[("expires", later), ("date", "Sun, 06 Nov 1994 08:50:27 GMT")], 10);
        check_lifetime(&[("expires", "0")], 0);
        check_lifetime(&[("expires", "Sat, 05 Nov 1994 08:49:37 GMT")], 0);
    }

    #[track_caller]
    fn check_age(list: &[(&'static str, &str)], seconds: u64) {
        assert_eq!(initial_age(&fields(list), received()), Duration::from_secs(seconds), "{list:?}");
    }

    #[test]
    fn the_larger_age_counts() {
        check_age(&[], 0);
        check_age(&[("age", "5"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 10);
        check_age(&[("age", "15"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 15);
        check_age(&[("date", "Sun, 06 Nov 1994 09:49:27 GMT")], 0);
        check_age(&[("age", "-3")], 0);
        check_age(&[("age", "99999999999999999999999")], 1 << 31);
    }
}
