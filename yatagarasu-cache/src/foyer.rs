//! The backend on the `foyer-memory` crate.

use std::hash::{BuildHasher, RandomState};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use yatagarasu_core::clock::Moment;

use async_trait::async_trait;
use equivalent::Equivalent;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use foyer::{Cache, CacheBuilder, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig, SieveConfig};
use foyer_common::event::{Event, EventListener};
use tokio::task::spawn_blocking;
use yatagarasu_core::cache::{CacheCounters, Page, Position};
use yatagarasu_core::histogram::{AGES, Histogram};
use yatagarasu_core::{
    Admission, CacheEntry, CacheKey, Clock, KeyRef, ObjectCache, Selector, SystemClock, Usage,
};

use crate::index::{Index, Place, Row};
use crate::weight::weigh;
use crate::{CacheConfig, EvictionPolicy};

/// Maximum number of shards.
///
/// More gain nothing on the machines this runs on, and lower the size of the largest object that fits into a shard.
const SHARDS_MAX: u64 = 16;

/// Minimum number of objects of length `max_item_size` for which each shard has bytes, if there is more than one shard.
///
/// A single object of that length then does not evict everything else in its shard.
const LARGEST_PER_SHARD: u64 = 8;

/// A cache in memory, divided into shards with a lock each.
///
/// It works around four properties of `foyer-memory`; tests pin the first three. `foyer-memory` accepts entries heavier
/// than a shard and then exceeds its capacity. Its `clear` does not release the capacity. The default weight of an
/// entry is 1. It visits its entries only a whole shard at a time, with the shard locked; so an [`Index`] finds the
/// entries to purge.
#[derive(Debug)]
pub(crate) struct FoyerCache {
    held: Cache<CacheKey, Held, SeedableRandomState>,
    index: Arc<Index>,
    shard_bytes: usize,
    events: Arc<Events>,
}

/// Counts the entries that come and go.
#[derive(Debug)]
struct Events {
    stored: AtomicU64,
    declined: AtomicU64,
    evicted: AtomicU64,
    replaced: AtomicU64,
    removed: AtomicU64,
    eviction_ages: Histogram<{ AGES.len() }>,
}

impl Events {
    fn new() -> Self {
        let [stored, declined, evicted, replaced, removed] = Default::default();
        Self { stored, declined, evicted, replaced, removed, eviction_ages: Histogram::new(&AGES) }
    }
}

impl EventListener for Events {
    type Key = CacheKey;
    type Value = Held;

    fn on_leave(&self, reason: Event, _: &CacheKey, held: &Held) {
        let counter = match reason {
            Event::Evict => {
                self.eviction_ages.record(SystemClock.now().since(held.stored.received()));
                &self.evicted
            }
            Event::Replace => &self.replaced,
            Event::Remove | Event::Clear => &self.removed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The entry under a key. It stands in the index as long as it lives.
#[derive(Debug)]
struct Held {
    stored: Arc<CacheEntry>,
    place: Place,
    index: Arc<Index>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.index.remove(&self.place);
        // Responses may still send it.
        if Arc::strong_count(&self.stored) > 1 {
            self.stored.retire();
        }
    }
}

/// The borrowed key of a lookup. It hashes like the [`CacheKey`] it equals.
#[derive(Debug, Hash)]
struct Sought<'a>(KeyRef<'a>);

impl Equivalent<CacheKey> for Sought<'_> {
    fn equivalent(&self, held: &CacheKey) -> bool {
        held.borrowed() == self.0
    }
}

impl FoyerCache {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        let largest = config.max_item_size.max(1);
        let shards = (config.max_size / largest / LARGEST_PER_SHARD).clamp(1, SHARDS_MAX);
        let capacity = usize::try_from(config.max_size).unwrap_or(usize::MAX);
        let shards = usize::try_from(shards).expect("at most 16");
        let events = Arc::new(Events::new());
        let held = CacheBuilder::new(capacity)
            .with_shards(shards)
            .with_hash_builder(random_state())
            .with_eviction_config(eviction(config.eviction))
            .with_weighter(|key: &CacheKey, held: &Held| weigh(key, &held.stored))
            .with_event_listener(Arc::clone(&events) as _)
            .build();
        Self { held, index: Arc::default(), shard_bytes: capacity / shards, events }
    }
}

/// Returns a hasher with a seed that clients cannot know.
///
/// Clients choose the keys. With a known seed they could construct many that collide.
fn random_state() -> SeedableRandomState {
    // The seed comes from the standard library, which takes it from the system's random numbers. The hasher does not:
    // the standard library's takes 60 ns more for each hit.
    let seed = RandomState::new().hash_one(());
    SeedableRandomState::with_seed(seed, SharedSeed::global_random())
}

fn eviction(policy: EvictionPolicy) -> EvictionConfig {
    match policy {
        EvictionPolicy::S3Fifo => S3FifoConfig::default().into(),
        EvictionPolicy::Lfu => LfuConfig::default().into(),
        EvictionPolicy::Lru => LruConfig::default().into(),
        EvictionPolicy::Sieve => SieveConfig.into(),
    }
}

#[async_trait]
impl ObjectCache for FoyerCache {
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.held.get(&Sought(key)).map(|entry| Arc::clone(&entry.value().stored))
    }

    fn store(&self, key: CacheKey, object: Arc<CacheEntry>) -> Admission {
        if weigh(&key, &object) > self.shard_bytes {
            self.held.remove(&key);
            self.events.declined.fetch_add(1, Ordering::Relaxed);
            return Admission::Declined;
        }
        // First into the index: a purge would otherwise miss an entry that is in the cache already.
        let place = self.index.insert(&key, &object);
        self.held.insert(key, Held { stored: object, place, index: Arc::clone(&self.index) });
        self.events.stored.fetch_add(1, Ordering::Relaxed);
        Admission::Stored
    }

    fn remove(&self, key: &CacheKey) {
        self.held.remove(key);
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        let held = self.held.clone();
        self.visit(selector, move |key, _| held.remove(&Sought(key)).is_some()).await
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        let expire = move |_: KeyRef<'_>, stored: &CacheEntry| {
            stored.expire(now);
            true
        };
        self.visit(selector, expire).await
    }

    fn usage(&self) -> Usage {
        Usage {
            objects: self.index.objects(),
            bytes: self.held.usage() as u64,
            capacity: self.held.capacity() as u64,
        }
    }

    fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        let after = after.map(|after| (Arc::clone(&after.object), after.number));
        let slice = self.index.slice(selector, after.as_ref());
        let key = |place: &Place, row: &Row| row.key(place).to_key();
        let entries = slice.selected.into_iter();
        Page {
            entries: entries.filter_map(|(place, row)| Some((key(&place, &row)?, row.stored))).collect(),
            next: slice.last.map(|(object, number)| Position { object, number }),
        }
    }

    fn counters(&self) -> CacheCounters {
        let Events { stored, declined, evicted, replaced, removed, eviction_ages } = &*self.events;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounters {
            stored: read(stored),
            declined: read(declined),
            evicted: read(evicted),
            replaced: read(replaced),
            removed: read(removed),
            eviction_ages: eviction_ages.read(),
        }
    }
}

impl FoyerCache {
    /// Calls `act` on each selected entry. Returns the number of objects for which it returns `true`.
    ///
    /// Runs on a blocking thread, because visiting and above all freeing many entries would delay clients.
    async fn visit(
        &self,
        selector: &Selector,
        act: impl Fn(KeyRef<'_>, &CacheEntry) -> bool + Send + 'static,
    ) -> u64 {
        let (index, selector) = (Arc::clone(&self.index), selector.clone());
        let visiting = spawn_blocking(move || {
            let (mut count, mut last) = (0, None);
            loop {
                let slice = index.slice(&selector, last.as_ref());
                for (place, row) in slice.selected {
                    count += u64::from(act(row.key(&place), &row.stored) && row.stored.is_object());
                }
                last = slice.last;
                if last.is_none() {
                    return count;
                }
            }
        });
        match visiting.await {
            Ok(count) => count,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime ends, and the cache with it.
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use yatagarasu_core::ObjectKey;

    use super::*;
    use crate::CacheBackend;

    #[test]
    fn no_two_caches_hash_a_key_alike() {
        let config = CacheConfig {
            backend: CacheBackend::Foyer,
            max_size: 1 << 20,
            max_item_size: 1 << 10,
            eviction: EvictionPolicy::S3Fifo,
        };
        let key = CacheKey::new(ObjectKey::parse("k").expect("a key"), None);
        let [first, second] = [0; 2].map(|_| FoyerCache::new(&config).held.hash(&key));
        assert_ne!(first, second, "a seed that is always the same");
    }
}
