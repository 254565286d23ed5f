//! Estimates which objects are asked for most, in bounded memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use heavykeeper::TopK;
use tokio::time::Instant;

/// Number of objects that a thread keeps.
const KEPT: usize = 32;

/// Size of the sketch: 64 KiB. Of 100,000 objects it finds those that have a thousandth of the requests.
const WIDTH: usize = 1024;
const DEPTH: usize = 4;

/// Of two objects in one place, the one with fewer requests is forgotten with this base (Gong et al., "HeavyKeeper", 2018).
const DECAY: f64 = 0.9;

/// Time after which counting begins anew. The counts of the period before are kept for the time being.
const PERIOD: Duration = Duration::from_secs(60);

/// Number of requests in a period that are all counted. After them, one in [`SAMPLED`] is, by chance, and counts for so many.
const EXACT: u64 = 1024;
const SAMPLED: u64 = 8;

/// The bucket and the key of an object, with a NUL between them, which neither has.
type Name = String;

/// The hottest objects of one thread.
#[derive(Debug)]
pub(crate) struct Hottest(Mutex<Periods>);

struct Periods {
    begun: Instant,
    requests: u64,
    now: TopK<Name, FixedState>,
    /// The objects of the period before, with their counts.
    before: Vec<(Name, u64)>,
}

impl std::fmt::Debug for Periods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Periods").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl Hottest {
    pub(crate) fn new() -> Self {
        let (begun, now) = (Instant::now(), sketch());
        Self(Mutex::new(Periods { begun, requests: 0, now, before: Vec::new() }))
    }

    /// Counts a request for an object that began at `begun`.
    pub(crate) fn count(&self, bucket: &str, key: &str, begun: Instant) {
        let mut periods = self.periods();
        periods.turn(begun);
        periods.requests += 1;
        // Not each eighth one: clients that ask for the same objects in turn would always hit the same one.
        if periods.requests > EXACT && fastrand::u64(..SAMPLED) > 0 {
            return;
        }
        let weight = if periods.requests > EXACT { SAMPLED } else { 1 };
        let name = [bucket, key].join("\0");
        periods.now.add(&name, weight);
    }

    /// Returns the objects with the most requests in the last one to two minutes, by bucket and key.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let mut periods = self.periods();
        periods.turn(Instant::now());
        let mut list = listed(&periods.now);
        for (name, count) in &periods.before {
            match list.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += count,
                None => list.push((name.clone(), *count)),
            }
        }
        list
    }

    fn periods(&self) -> MutexGuard<'_, Periods> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Periods {
    /// Begins a new period if the present one is over.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.begun);
        if age < PERIOD {
            return;
        }
        let last = listed(&self.now);
        self.before = if age < 2 * PERIOD { last } else { Vec::new() };
        (self.begun, self.requests, self.now) = (now, 0, sketch());
    }
}

/// The hasher has no secret: whoever makes keys collide only hides them here.
fn sketch() -> TopK<Name, FixedState> {
    TopK::with_hasher(KEPT, WIDTH, DEPTH, DECAY, FixedState::default())
}

fn listed(sketch: &TopK<Name, FixedState>) -> Vec<(Name, u64)> {
    sketch.list().into_iter().map(|node| (node.item, node.count)).collect()
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
        count("new", 10);
        assert_eq!(find("new"), 10, "few requests are counted one by one");
        assert!(find("hot") > 9_000);
        tokio::time::advance(PERIOD).await;
        assert_eq!((find("new"), find("hot")), (10, 0));
        tokio::time::advance(2 * PERIOD).await;
        assert_eq!(hottest.list(), []);
    }
}
