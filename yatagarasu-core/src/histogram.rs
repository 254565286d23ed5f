//! Histograms that any thread may read while others count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds for the times of requests, in nanoseconds: six in each power of ten from 10 us to 100 s.
pub const REQUEST_TIMES: [u64; 43] = [
    10_000,
    15_000,
    20_000,
    30_000,
    50_000,
    70_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
    700_000,
    1_000_000,
    1_500_000,
    2_000_000,
    3_000_000,
    5_000_000,
    7_000_000,
    10_000_000,
    15_000_000,
    20_000_000,
    30_000_000,
    50_000_000,
    70_000_000,
    100_000_000,
    150_000_000,
    200_000_000,
    300_000_000,
    500_000_000,
    700_000_000,
    1_000_000_000,
    1_500_000_000,
    2_000_000_000,
    3_000_000_000,
    5_000_000_000,
    7_000_000_000,
    10_000_000_000,
    15_000_000_000,
    20_000_000_000,
    30_000_000_000,
    50_000_000_000,
    70_000_000_000,
    100_000_000_000,
];

/// Upper bounds for ages, in nanoseconds: from a second to thirty days.
pub const AGES: [u64; 15] = [
    1_000_000_000,
    5_000_000_000,
    15_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
    10_800_000_000_000,
    21_600_000_000_000,
    43_200_000_000_000,
    86_400_000_000_000,
    172_800_000_000_000,
    604_800_000_000_000,
    1_209_600_000_000_000,
    2_592_000_000_000_000,
];

/// Counts durations by their upper bounds. Both the bounds and the sum are nanoseconds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    /// Durations above the last bound.
    above: AtomicU64,
    sum: AtomicU64,
}

/// A snapshot of a [`Histogram`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds in nanoseconds, ascending. A duration that equals a bound counts below it.
    pub bounds: &'static [u64],
    /// The number of durations up to each bound and above the one before, and at the end those above the last bound.
    pub counts: Vec<u64>,
    /// The sum of all durations in nanoseconds.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// Creates an empty histogram. `bounds` ascend.
    pub const fn new(bounds: &'static [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let (nanos, counter) = self.place(duration);
        counter.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts a duration. Must be called by one thread only, and instead of [`record`](Self::record): a load and a store
    /// take a tenth of an atomic addition.
    pub fn record_alone(&self, duration: Duration) {
        let (nanos, counter) = self.place(duration);
        for (counter, more) in [(counter, 1), (&self.sum, nanos)] {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        }
    }

    fn place(&self, duration: Duration) -> (u64, &AtomicU64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = self.bounds.partition_point(|bound| *bound < nanos);
        (nanos, self.counts.get(index).unwrap_or(&self.above))
    }

    /// Returns what was counted so far.
    pub fn read(&self) -> Distribution {
        let counters = self.counts.iter().chain([&self.above]);
        Distribution {
            bounds: self.bounds,
            counts: counters.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Distribution {
    /// Returns a distribution of nothing.
    pub fn empty<const N: usize>(bounds: &'static [u64; N]) -> Self {
        Self { bounds, counts: vec![0; N + 1], sum: 0 }
    }

    /// Adds what another histogram with the same bounds has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_below_the_first_bound_that_is_no_less() {
        static BOUNDS: [u64; 3] = [10, 20, 30];
        let histogram = Histogram::new(&BOUNDS);
        for nanos in [0, 10, 11, 30, 31, 1000] {
            histogram.record(Duration::from_nanos(nanos));
        }
        histogram.record_alone(Duration::from_nanos(20));
        let read = histogram.read();
        assert_eq!((&*read.counts, read.sum, read.count()), (&[2, 2, 1, 2][..], 1102, 7));
        let mut sum = Distribution::empty(&BOUNDS);
        sum.add(&read);
        sum.add(&read);
        assert_eq!((&*sum.counts, sum.sum), (&[4, 4, 2, 4][..], 2204));
    }

    #[test]
    fn bounds_ascend() {
        assert!(REQUEST_TIMES.is_sorted_by(|one, next| one < next));
        assert!(AGES.is_sorted_by(|one, next| one < next));
    }
}
