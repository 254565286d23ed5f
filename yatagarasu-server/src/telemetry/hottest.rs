//! Estimates the most requested objects, in bounded memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use heavykeeper::TopK;
use tokio::time::Instant;

use crate::telemetry::counters::Tally;

/// Number of objects that a thread keeps.
const KEPT: usize = 32;

/// Size of the sketch: 64 KiB. Of 100,000 objects it finds those that have a thousandth of the requests.
const WIDTH: usize = 1024;
const DEPTH: usize = 4;

/// Base of the decay of a colliding object's count (Gong et al., "HeavyKeeper", 2018).
const DECAY: f64 = 0.9;

/// Length of a counting period. The counts of the previous period are kept.
const PERIOD: Duration = Duration::from_secs(60);

/// Requests of a period that are counted one by one. After them, one in [`SAMPLED`] is, at random, with that weight.
const EXACT: u64 = 1024;
const SAMPLED: u64 = 8;

/// The bucket and the key of an object, with a NUL between them, which neither has.
type Name = String;

/// Objects with their counts.
type Counts = Vec<(Name, u64)>;

/// The hottest objects of one thread. That thread counts, and any thread lists.
#[derive(Debug)]
pub(crate) struct Hottest {
    /// Requests of the present period.
    requests: Tally,
    periods: Mutex<Periods>,
}

struct Periods {
    begun: Instant,
    now: TopK<Name, FixedState>,
    /// The objects of the period before, with their counts.
    before: Counts,
}

impl std::fmt::Debug for Periods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Periods").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Hottest {
    pub(crate) fn new() -> Self {
        let periods = Periods { begun: Instant::now(), now: sketch(), before: Vec::new() };
        Self { requests: Tally::default(), periods: Mutex::new(periods) }
    }

    /// Counts a request for an object that began at `begun`. Must be called by one thread only.
    pub(crate) fn count(&self, bucket: &str, key: &str, begun: Instant) {
        let weight = if self.requests.add(1) < EXACT { 1 } else { SAMPLED };
        // At random, not every eighth: clients that request objects in turn would always hit the same one.
        if weight > 1 && fastrand::u64(..SAMPLED) > 0 {
            return;
        }
        let name = [bucket, key].join("\0");
        // `list` holds the lock briefly. A hit must not wait for it.
        let Ok(mut periods) = self.periods.try_lock() else { return };
        if periods.turn(begun) {
            self.requests.add(self.requests.read().wrapping_neg());
        }
        periods.now.add(&name, weight);
    }

    /// Returns the objects with the most requests in the last one to two minutes, by bucket and key.
    pub(crate) fn list(&self) -> Counts {
        let (now, before) = self.periods.lock().unwrap_or_else(PoisonError::into_inner).lists(Instant::now());
        let mut list = now;
        for (name, count) in before {
            match list.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => list.push((name, count)),
            }
        }
        list
    }
}

impl Periods {
    /// Begins a new period if the present one is over. Returns whether it is.
    fn turn(&mut self, now: Instant) -> bool {
        let is_over = now.saturating_duration_since(self.begun) >= PERIOD;
        if is_over {
            (self.before, _) = self.lists(now);
            (self.begun, self.now) = (now, sketch());
        }
        is_over
    }

    /// Returns the objects of the present period and of the one before, as far as they are of the last two.
    fn lists(&self, now: Instant) -> (Counts, Counts) {
        let age = now.saturating_duration_since(self.begun);
        let of_now = || self.now.list().into_iter().map(|node| (node.item, node.count)).collect();
        let of_now = if age < 2 * PERIOD { of_now() } else { Vec::new() };
        (of_now, if age < PERIOD { self.before.clone() } else { Vec::new() })
    }
}

/// The hasher needs no secret: colliding keys only hide each other here.
fn sketch() -> TopK<Name, FixedState> {
    TopK::with_hasher(KEPT, WIDTH, DEPTH, DECAY, FixedState::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_hottest_objects_of_the_last_minutes_are_found() {
        let hottest = Hottest::new();
        let count = |key: &str, times| {
            for _ in 0..times {
                hottest.count("assets", key, Instant::now());
            }
        };
        for cold in 0..5_000 {
            count(&format!("cold/{cold}"), 1);
            count("hot", 2);
            count("warm", 1);
        }
        let find = |key: &str| {
            let name = format!("assets\0{key}");
            hottest.list().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
        };
        assert!((9_000..=11_000).contains(&find("hot")), "{}", find("hot"));
        assert!((4_000..=6_000).contains(&find("warm")), "{}", find("warm"));
        assert!(hottest.list().len() <= KEPT);
        tokio::time::advance(PERIOD).await;
        count("next", 100);
        assert!(find("next") > 10 && find("hot") > 9_000, "{} {}", find("next"), find("hot"));
        tokio::time::advance(PERIOD).await;
        count("new", 10);
        assert_eq!((find("new"), find("hot")), (10, 0), "few requests are counted one by one");
        tokio::time::advance(2 * PERIOD).await;
        assert_eq!(hottest.list(), []);
    }
}
