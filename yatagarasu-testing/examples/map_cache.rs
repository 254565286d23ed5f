//! A cache backend: a map with a bound in bytes. If there is no room, the first keys of the alphabet go.
//!
//! `cargo run -p yatagarasu-testing --example map_cache` runs the suite that every cache has to pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use yatagarasu_core::cache::{CacheCounters, Page, Position};
use yatagarasu_core::clock::Moment;
use yatagarasu_core::{Admission, CacheEntry, CacheKey, KeyRef, ObjectCache, Selector, Usage};

#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<CacheKey, Arc<CacheEntry>>,
    usage: Usage,
    counters: CacheCounters,
}

#[derive(Debug)]
struct MapCache(Mutex<Held>);

/// Returns what an entry takes, with what the map needs for it.
fn weight(key: &CacheKey, entry: &CacheEntry) -> u64 {
    (512 + key.weight() + entry.weight()) as u64
}

impl Held {
    fn remove(&mut self, key: &CacheKey) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.usage.bytes -= weight(key, &entry);
        self.usage.objects -= u64::from(entry.is_object());
        // Responses may still send it: its bytes count for `server.response_memory` from now on.
        entry.retire();
        true
    }

    fn selected(&self, selector: &Selector) -> Vec<(CacheKey, Arc<CacheEntry>)> {
        let all = self.entries.iter().filter(|(key, entry)| selector.selects(key.object.as_str(), entry));
        all.map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect()
    }
}

impl MapCache {
    fn new(capacity: u64) -> Self {
        let usage = Usage { capacity, ..Usage::default() };
        Self(Mutex::new(Held { usage, ..Held::default() }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ObjectCache for MapCache {
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.held().entries.get(&key.to_key()?).map(Arc::clone)
    }

    fn store(&self, key: CacheKey, entry: Arc<CacheEntry>) -> Admission {
        let (weight, mut held) = (weight(&key, &entry), self.held());
        // What was stored is not what the source has now, even if the new one is declined.
        held.counters.replaced += u64::from(held.remove(&key));
        if weight > held.usage.capacity {
            held.counters.declined += 1;
            return Admission::Declined;
        }
        while held.usage.bytes + weight > held.usage.capacity {
            let first = held.entries.first_key_value().expect("bytes are those of entries").0.clone();
            held.counters.evicted += u64::from(held.remove(&first));
        }
        held.usage.bytes += weight;
        held.usage.objects += u64::from(entry.is_object());
        held.counters.stored += 1;
        held.entries.insert(key, entry);
        Admission::Stored
    }

    fn remove(&self, key: &CacheKey) {
        let mut held = self.held();
        held.counters.removed += u64::from(held.remove(key));
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        let selected = self.held().selected(selector);
        for (key, _) in &selected {
            self.remove(key);
        }
        selected.iter().filter(|(_, entry)| entry.is_object()).count() as u64
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        let selected = self.held().selected(selector);
        for (_, entry) in &selected {
            entry.expire(now);
        }
        selected.iter().filter(|(_, entry)| entry.is_object()).count() as u64
    }

    fn usage(&self) -> Usage {
        self.held().usage
    }

    fn page(&self, selector: &Selector, _: Option<&Position>) -> Page {
        // All in one page. A backend that holds many gives them in parts.
        Page { entries: self.held().selected(selector), next: None }
    }

    fn counters(&self) -> CacheCounters {
        self.held().counters.clone()
    }
}

/// Runs the suite.
#[tokio::main(flavor = "current_thread")]
pub async fn main() {
    yatagarasu_testing::conformance::cache_conformance(&|capacity| Arc::new(MapCache::new(capacity))).await;
}
