//! Counts the responses of each bucket, for each thread by itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use yatagarasu_core::CacheStatus;
use yatagarasu_core::caching::cache_status::{Forwarding, Provenance};
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::histogram::{Distribution, Histogram, REQUEST_TIMES};

use crate::telemetry::counters::Tally;

/// How the cache took part in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheOutcome {
    /// Fresh from memory.
    Hit,
    /// Stale from memory.
    Stale,
    /// From memory, after S3 has confirmed the object.
    Revalidated,
    /// From a fill that another request started.
    Joined,
    /// From S3, and stored.
    Miss,
    /// From S3, and not stored.
    Pass,
    /// Made by the gateway. Includes clients that left before their response.
    Own,
}

impl CacheOutcome {
    /// All outcomes, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 7] = [
        (Self::Hit, "hit"),
        (Self::Stale, "stale"),
        (Self::Revalidated, "revalidated"),
        (Self::Joined, "joined"),
        (Self::Miss, "miss"),
        (Self::Pass, "pass"),
        (Self::Own, "own"),
    ];

    /// Returns its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Returns the outcome that a cache status stands for.
    pub(crate) fn of(status: &CacheStatus) -> Self {
        match *status {
            CacheStatus::Hit { freshness: Freshness::Stale(_), .. } => Self::Stale,
            CacheStatus::Hit { .. } => Self::Hit,
            CacheStatus::Forwarded(Forwarding { provenance, collapsed, stored, .. }) => match provenance {
                Provenance::Stale => Self::Stale,
                Provenance::Confirmed => Self::Revalidated,
                Provenance::Source if collapsed => Self::Joined,
                Provenance::Source if stored => Self::Miss,
                Provenance::Source => Self::Pass,
            },
            CacheStatus::Own(_) => Self::Own,
        }
    }

    /// Returns `true` if S3 did not have to send the content for this request: it was in memory, or on its way already.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated | Self::Joined)
    }
}

/// What a response waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// For nothing: the object was in memory.
    Memory,
    /// For S3.
    Source,
    /// For nothing: it is the gateway's own.
    Gateway,
}

impl Origin {
    /// All origins, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 3] =
        [(Self::Memory, "memory"), (Self::Source, "source"), (Self::Gateway, "gateway")];

    /// Returns its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Returns the origin of a response with this cache status.
    pub(crate) fn of(status: &CacheStatus) -> Self {
        match status {
            CacheStatus::Hit { .. } => Self::Memory,
            CacheStatus::Forwarded(_) => Self::Source,
            CacheStatus::Own(_) => Self::Gateway,
        }
    }
}

/// The methods that metrics tell apart.
pub(crate) const METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "other"];

/// Returns the place of a method in [`METHODS`].
pub(crate) fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|one| *one == method.as_str()).unwrap_or(METHODS.len() - 1)
}

/// Number of classes of status: 1xx to 5xx.
pub(crate) const CLASSES: usize = 5;

/// Returns the index of the class of a status.
pub(crate) fn class_index(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1
}

const TIMES: usize = REQUEST_TIMES.len();

/// The responses of one bucket on one thread.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// The name of the bucket. Empty for requests that no bucket is for.
    pub(crate) bucket: Arc<str>,
    /// Made with the first response: many buckets have few.
    counts: OnceLock<Box<Counts>>,
}

#[derive(Debug)]
struct Counts {
    /// Responses by method, class of status and outcome.
    responses: [[[Tally; CacheOutcome::ALL.len()]; CLASSES]; METHODS.len()],
    body_bytes: [Tally; CacheOutcome::ALL.len()],
    first_byte: [Histogram<TIMES>; Origin::ALL.len()],
    duration: [Histogram<TIMES>; Origin::ALL.len()],
}

/// A response that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// The place of its method in [`METHODS`].
    pub(crate) method: usize,
    pub(crate) status: StatusCode,
    pub(crate) outcome: CacheOutcome,
    pub(crate) origin: Origin,
    /// Bytes of its body, without those that were counted before its end.
    pub(crate) body_bytes: u64,
    /// The time from the request's head to the response's, unless there was none.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) duration: Duration,
}

impl Traffic {
    /// Counts the responses of a bucket.
    pub(crate) fn new(bucket: Arc<str>) -> Self {
        Self { bucket, counts: OnceLock::new() }
    }

    /// Counts bytes of a response that has not ended. Must be called by one thread only.
    pub(crate) fn sent(&self, outcome: CacheOutcome, bytes: u64) {
        self.counts().body_bytes[outcome as usize].add(bytes);
    }

    /// Counts a response. Must be called by one thread only.
    pub(crate) fn record(&self, ended: &Ended) {
        let counts = self.counts();
        let (outcome, origin) = (ended.outcome as usize, ended.origin as usize);
        counts.responses[ended.method][class_index(ended.status)][outcome].add(1);
        counts.body_bytes[outcome].add(ended.body_bytes);
        if let Some(first_byte) = ended.first_byte {
            counts.first_byte[origin].record_alone(first_byte);
        }
        counts.duration[origin].record_alone(ended.duration);
    }

    fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| {
            let [first_byte, duration] =
                [const { [const { Histogram::new(&REQUEST_TIMES) }; Origin::ALL.len()] }; 2];
            let (responses, body_bytes) = (Default::default(), Default::default());
            Box::new(Counts { responses, body_bytes, first_byte, duration })
        })
    }
}

/// The responses of one bucket on all threads.
#[derive(Debug, Clone)]
pub(crate) struct TrafficSum {
    pub(crate) bucket: Arc<str>,
    /// Responses by method, class of status and outcome.
    pub(crate) responses: [[[u64; CacheOutcome::ALL.len()]; CLASSES]; METHODS.len()],
    pub(crate) body_bytes: [u64; CacheOutcome::ALL.len()],
    /// The times to the head of the response, by origin.
    pub(crate) first_byte: [Distribution; Origin::ALL.len()],
    /// The times to the end of the response, by origin.
    pub(crate) duration: [Distribution; Origin::ALL.len()],
}

impl TrafficSum {
    pub(crate) fn new(bucket: Arc<str>) -> Self {
        let [first_byte, duration] = [(); 2].map(|()| [(); 3].map(|()| Distribution::empty(&REQUEST_TIMES)));
        let (responses, body_bytes) = Default::default();
        Self { bucket, responses, body_bytes, first_byte, duration }
    }

    /// Adds the responses of one thread.
    pub(crate) fn add(&mut self, traffic: &Traffic) {
        let Some(counts) = traffic.counts.get() else { return };
        let one = counts.responses.as_flattened().as_flattened().iter().chain(&counts.body_bytes);
        let sum = self.responses.as_flattened_mut().as_flattened_mut().iter_mut().chain(&mut self.body_bytes);
        sum.zip(one).for_each(|(sum, one)| *sum += one.read());
        let one = counts.first_byte.iter().chain(&counts.duration);
        let sum = self.first_byte.iter_mut().chain(&mut self.duration);
        sum.zip(one).for_each(|(sum, one)| sum.add(&one.read()));
    }

    /// Adds the responses of another bucket.
    pub(crate) fn include(&mut self, other: &Self) {
        let one = other.responses.as_flattened().as_flattened().iter().chain(&other.body_bytes);
        let sum = self.responses.as_flattened_mut().as_flattened_mut().iter_mut().chain(&mut self.body_bytes);
        sum.zip(one).for_each(|(sum, one)| *sum += one);
        let one = other.first_byte.iter().chain(&other.duration);
        let sum = self.first_byte.iter_mut().chain(&mut self.duration);
        sum.zip(one).for_each(|(sum, one)| sum.add(one));
    }

    /// Returns the number of responses with each outcome.
    pub(crate) fn by_outcome(&self) -> [u64; CacheOutcome::ALL.len()] {
        let mut sums = [0; CacheOutcome::ALL.len()];
        for outcomes in self.responses.as_flattened() {
            sums.iter_mut().zip(outcomes).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// Returns the number of responses with each class of status.
    pub(crate) fn by_class(&self) -> [u64; CLASSES] {
        let mut sums = [0; CLASSES];
        for classes in &self.responses {
            sums.iter_mut().zip(classes).for_each(|(sum, outcomes)| *sum += outcomes.iter().sum::<u64>());
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_stand_in_their_order() {
        assert!(CacheOutcome::ALL.iter().enumerate().all(|(index, (one, _))| *one as usize == index));
        assert!(Origin::ALL.iter().enumerate().all(|(index, (one, _))| *one as usize == index));
    }

    #[test]
    fn the_sum_has_the_responses_of_all_threads() {
        let threads = [(); 3].map(|()| Traffic::new("assets".into()));
        let ended = Ended {
            method: method_index(&Method::HEAD),
            status: StatusCode::NOT_FOUND,
            outcome: CacheOutcome::Joined,
            origin: Origin::Source,
            body_bytes: 7,
            first_byte: Some(Duration::from_millis(3)),
            duration: Duration::from_millis(4),
        };
        threads[0].record(&ended);
        threads[2].record(&Ended { first_byte: None, ..ended });
        let mut sum = TrafficSum::new("assets".into());
        for thread in &threads {
            sum.add(thread);
        }
        assert_eq!(sum.responses[1][3][CacheOutcome::Joined as usize], 2);
        assert_eq!(sum.by_outcome(), [0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(sum.by_class(), [0, 0, 0, 2, 0]);
        assert_eq!(sum.body_bytes[CacheOutcome::Joined as usize], 14);
        let [first_byte, duration] = [&sum.first_byte, &sum.duration].map(|of| &of[Origin::Source as usize]);
        assert_eq!((first_byte.count(), first_byte.sum), (1, 3_000_000));
        assert_eq!((duration.count(), duration.sum), (2, 8_000_000));
    }

    #[test]
    fn methods_that_nobody_uses_share_a_name() {
        let indices =
            ["GET", "HEAD", "OPTIONS", "PUT", "BREW"].map(|name| method_index(&name.parse().unwrap()));
        assert_eq!(indices, [0, 1, 2, 3, 3]);
    }
}
