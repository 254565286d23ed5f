//! Replays the requests on a cache that stores every object it misses.

use std::sync::Arc;

use yatagarasu_cache::{BuildError, CacheBackend, CacheConfig, EvictionPolicy, build};
use yatagarasu_core::ObjectCache;

use crate::objects::{LENGTH_MAX, Named, Objects};
use crate::trace::Trace;

/// All policies, in the order of the table's columns.
pub(crate) const POLICIES: [EvictionPolicy; 4] =
    [EvictionPolicy::S3Fifo, EvictionPolicy::Lfu, EvictionPolicy::Lru, EvictionPolicy::Sieve];

/// Returns the policy's name in the configuration.
pub(crate) fn label(policy: EvictionPolicy) -> &'static str {
    match policy {
        EvictionPolicy::S3Fifo => "s3fifo",
        EvictionPolicy::Lfu => "lfu",
        EvictionPolicy::Lru => "lru",
        EvictionPolicy::Sieve => "sieve",
    }
}

/// Returns an empty cache of `max_size` bytes, made as the server makes it.
pub(crate) fn cache(policy: EvictionPolicy, max_size: u64) -> Result<Arc<dyn ObjectCache>, BuildError> {
    let max_item_size = LENGTH_MAX as u64;
    build(&CacheConfig { backend: CacheBackend::Foyer, max_size, max_item_size, eviction: policy })
}

/// Returns the hit ratio of the requests for popular objects, in percent.
pub(crate) fn hit_ratio(cache: &dyn ObjectCache, objects: &Objects, trace: &Trace) -> f64 {
    for &place in trace.warm_up() {
        found(cache, objects.at(place));
    }
    let (mut hits, mut asked) = (0_u32, 0_u32);
    for &place in trace.measured() {
        let hit = found(cache, objects.at(place));
        if trace.is_popular(place) {
            asked += 1;
            hits += u32::from(hit);
        }
    }
    100.0 * f64::from(hits) / f64::from(asked)
}

/// Returns whether an object is found. If it is not, stores it.
fn found(cache: &dyn ObjectCache, named: &Named) -> bool {
    if cache.lookup(named.key.borrowed()).is_some() {
        return true;
    }
    cache.store(named.key.clone(), Arc::clone(&named.object));
    false
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::trace::{Scan, scanned};
    use yatagarasu_benches::zipf::Zipf;

    const OBJECTS: u32 = 1_000;
    const REQUESTS: u32 = 9_000;

    /// Returns the hit ratio of a cache that evicts nothing, in percent.
    fn most(trace: &Trace) -> f64 {
        let mut seen: HashSet<u32> = trace.warm_up().iter().copied().collect();
        let (mut hits, mut asked) = (0_u32, 0_u32);
        for &place in trace.measured().iter().filter(|&&place| trace.is_popular(place)) {
            hits += u32::from(!seen.insert(place));
            asked += 1;
        }
        100.0 * f64::from(hits) / f64::from(asked)
    }

    #[test]
    fn what_there_is_room_for_is_missed_once_and_no_policy_does_better() {
        let objects = Objects::new(OBJECTS + scanned(REQUESTS));
        for scan in Scan::ALL {
            let trace = Trace::new(&Zipf::new(0.9, OBJECTS), scan, REQUESTS);
            let most = most(&trace);
            for policy in POLICIES {
                let large = cache(policy, 1 << 30).unwrap();
                let ratio = hit_ratio(large.as_ref(), &objects, &trace);
                assert!((ratio - most).abs() < 1e-9, "{policy:?}, {scan:?}: {ratio}, not {most}");
                let small = cache(policy, objects.bytes(OBJECTS) / 20).unwrap();
                let ratio = hit_ratio(small.as_ref(), &objects, &trace);
                assert!((5.0..most).contains(&ratio), "{policy:?}, {scan:?}: {ratio}, at most {most}");
            }
        }
    }
}
