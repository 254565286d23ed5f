//! The difference between this machine's clock and S3's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::AGE;

use crate::client::sender::sent_at;

/// S3 refuses a signature that is more than 15 minutes off. A smaller difference explains no refusal; `Date` itself is
/// some seconds old when it arrives.
const TOLERATED: Duration = Duration::from_secs(4 * 60);

/// Two differences that are less than this apart are the same: `Date` counts seconds.
const SAME: Duration = Duration::from_secs(60);

/// How many milliseconds S3's clock is ahead of this machine's, as learned from a refusal.
#[derive(Debug, Default)]
pub(crate) struct Skew(AtomicI64);

impl Skew {
    /// Returns S3's time for a time of this machine.
    pub(crate) fn corrected(&self, now: SystemTime) -> SystemTime {
        let ahead = self.0.load(Ordering::Relaxed);
        let distance = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { now - distance } else { now + distance }
    }

    /// Returns `true` if a refusal was sent at a time so far from `signed_at`, S3's time as the request was signed with,
    /// that this may be the reason.
    pub(crate) fn explains(refusal: &HeaderMap, signed_at: SystemTime) -> bool {
        // A cached answer is older than its arrival.
        let Some(theirs) = sent_at(refusal).filter(|_| !refusal.contains_key(AGE)) else { return false };
        millis_between(signed_at, theirs).unsigned_abs() > millis(TOLERATED).unsigned_abs()
    }

    /// Learns S3's time from a refusal. Returns `false` if it names none.
    pub(crate) fn learn(&self, bucket: &str, refusal: &HeaderMap, now: SystemTime) -> bool {
        let Some(theirs) = sent_at(refusal) else { return false };
        let ahead = millis_between(now, theirs);
        let before = self.0.swap(ahead, Ordering::Relaxed);
        // Other requests that were signed with the wrong time learn the same.
        if ahead.abs_diff(before) > millis(SAME).unsigned_abs() {
            let (seconds, direction) =
                (ahead.unsigned_abs() / 1000, if ahead < 0 { "behind" } else { "ahead of" });
            tracing::warn!(
                bucket,
                seconds,
                "S3's clock is this much {direction} this machine's: requests are signed with S3's time; \
                 synchronize the clock of this machine"
            );
        }
        true
    }
}

/// Returns the milliseconds from `one` to `other`; negative if `other` is earlier.
fn millis_between(one: SystemTime, other: SystemTime) -> i64 {
    other.duration_since(one).map_or_else(|earlier| -millis(earlier.duration()), millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(at: SystemTime) -> HeaderMap {
        [(http::header::DATE, httpdate::fmt_http_date(at).parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_large_difference_is_learned_and_used() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for theirs in [now + Duration::from_secs(3600), now - Duration::from_secs(3600)] {
            let skew = Skew::default();
            assert!(Skew::explains(&dated(theirs), now));
            assert!(skew.learn("assets", &dated(theirs), now));
            assert_eq!(skew.corrected(now), theirs);
            assert!(!Skew::explains(&dated(theirs), skew.corrected(now)), "corrected already");
        }
    }

    #[test]
    fn what_explains_nothing_is_not_learned() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(!Skew::explains(&dated(now + Duration::from_secs(200)), now));
        assert!(!Skew::explains(&HeaderMap::new(), now));
        let mut cached = dated(now - Duration::from_secs(7200));
        cached.insert(AGE, "7200".parse().unwrap());
        assert!(!Skew::explains(&cached, now));
        assert!(!Skew::default().learn("assets", &HeaderMap::new(), now));
    }
}
