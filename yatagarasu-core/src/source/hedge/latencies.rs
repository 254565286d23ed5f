//! The times that requests took in the last minutes.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Buckets for each doubling of the time.
const STEPS: u32 = 4;

/// Number of buckets: up to 2^26 microseconds, about a minute.
const BUCKETS: usize = 26 * STEPS as usize;

/// The time that a window covers. The last whole one and the current one count.
const WINDOW: Duration = Duration::from_secs(60);

/// Number of requests below which nothing is known.
const KNOWN: u32 = 100;

/// The times of the last one to two minutes, each within a fifth.
#[derive(Debug, Default)]
pub(super) struct Latencies(Mutex<Windows>);

#[derive(Debug)]
struct Windows {
    since: Option<Instant>,
    before: [u32; BUCKETS],
    now: [u32; BUCKETS],
}

impl Default for Windows {
    fn default() -> Self {
        Self { since: None, before: [0; BUCKETS], now: [0; BUCKETS] }
    }
}

impl Latencies {
    /// Records the time that a request took.
    pub(super) fn record(&self, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now[bucket(time)] += 1;
    }

    /// Returns the time that 95 of 100 requests did not need. Returns `None` if there were too few.
    pub(super) fn unusual(&self, now: Instant) -> Option<Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *windows.since.get_or_insert(now);
        if now.duration_since(since) >= WINDOW {
            windows.since = Some(now);
            windows.before = mem::replace(&mut windows.now, [0; BUCKETS]);
        }
        let counts = windows.before.iter().zip(&windows.now).map(|(before, now)| before + now);
        let total: u32 = counts.clone().sum();
        if total < KNOWN {
            return None;
        }
        let mut left = total / 20;
        let slowest = counts.enumerate().rev().find(|(_, count)| {
            let enough = *count > left;
            left = left.saturating_sub(*count);
            enough
        });
        slowest.map(|(index, _)| end_of(index))
    }
}

fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    // The next two bits below the highest one.
    let step = ((micros << 2) >> octave) & 3;
    let index = u64::from(octave * STEPS) + step;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// Returns the end of a bucket.
fn end_of(index: usize) -> Duration {
    let (octave, step) = (index as u64 / u64::from(STEPS), index as u64 % u64::from(STEPS));
    Duration::from_micros(((5 + step) << octave) >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_bucket_is_at_most_a_quarter_above_its_times() {
        for micros in [1, 2, 3, 5, 7, 100, 999, 1_000, 65_537, 30_000_000] {
            let (time, end) = (Duration::from_micros(micros), end_of(bucket(Duration::from_micros(micros))));
            assert!(end >= time && end <= time * 2, "{time:?} {end:?}");
            assert!(micros < 100 || end <= time + time / 4 + Duration::from_micros(1), "{time:?} {end:?}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn one_in_twenty_is_unusual_and_old_times_are_forgotten() {
        let (latencies, start) = (Latencies::default(), Instant::now());
        let fill = |millis, count| (0..count).for_each(|_| latencies.record(Duration::from_millis(millis)));
        fill(10, 90);
        assert_eq!(latencies.unusual(start), None, "too few");
        fill(10, 100);
        fill(500, 9);
        let unusual = latencies.unusual(start).unwrap();
        assert!(unusual >= Duration::from_millis(10) && unusual < Duration::from_millis(13), "{unusual:?}");
        fill(500, 20);
        assert!(latencies.unusual(start).unwrap() >= Duration::from_millis(500));
        latencies.unusual(start + WINDOW);
        fill(10, 1000);
        assert!(latencies.unusual(start + 2 * WINDOW).unwrap() < Duration::from_millis(13));
    }
}
