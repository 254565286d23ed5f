//! A plain cache in memory, for tests of the gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yatagarasu_core::clock::Moment;

use async_trait::async_trait;

use yatagarasu_core::cache::entry::CacheEntry;
use yatagarasu_core::cache::{
    Admission, CacheCounters, CacheKey, KeyRef, ObjectCache, Page, Position, Selector, Usage,
};

/// A cache that evicts nothing. If an object does not fit, it declines it.
#[derive(Debug)]
pub struct MemoryCache {
    objects: Mutex<HashMap<CacheKey, Arc<CacheEntry>>>,
    capacity: u64,
    counters: Mutex<CacheCounters>,
}

impl MemoryCache {
    /// Creates an empty cache with this capacity in bytes.
    pub fn new(capacity: u64) -> Self {
        Self { objects: Mutex::default(), capacity, counters: Mutex::default() }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<CacheEntry>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self) -> MutexGuard<'_, CacheCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(key: &CacheKey, object: &CacheEntry) -> u64 {
    (key.weight() + object.weight()) as u64
}

#[async_trait]
impl ObjectCache for MemoryCache {
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        let objects = self.objects();
        let found = objects.iter().find(|(held, _)| held.borrowed() == key);
        found.map(|(_, stored)| Arc::clone(stored))
    }

    fn store(&self, key: CacheKey, object: Arc<CacheEntry>) -> Admission {
        let (mut objects, mut counters) = (self.objects(), self.counted());
        let replaced = u64::from(objects.remove(&key).is_some());
        let used: u64 = objects.iter().map(|(key, object)| weight(key, object)).sum();
        if used + weight(&key, &object) > self.capacity {
            counters.declined += 1;
            counters.removed += replaced;
            return Admission::Declined;
        }
        counters.stored += 1;
        counters.replaced += replaced;
        objects.insert(key, object);
        Admission::Stored
    }

    fn remove(&self, key: &CacheKey) {
        let removed = self.objects().remove(key).is_some();
        self.counted().removed += u64::from(removed);
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        let (mut purged, mut objects, mut counters) = (0, self.objects(), self.counted());
        objects.retain(|key, stored| {
            let selected = selector.selects(key.object.as_str(), stored);
            purged += u64::from(selected && stored.is_object());
            counters.removed += u64::from(selected);
            !selected
        });
        purged
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        let objects = self.objects();
        let selected = objects.iter().filter(|(key, stored)| selector.selects(key.object.as_str(), stored));
        let selected = selected.inspect(|(_, stored)| stored.expire(now));
        selected.filter(|(_, stored)| stored.is_object()).count() as u64
    }

    fn usage(&self) -> Usage {
        let objects = self.objects();
        let bytes = objects.iter().map(|(key, object)| weight(key, object)).sum();
        let held = objects.values().filter(|stored| stored.is_object()).count() as u64;
        Usage { objects: held, bytes, capacity: self.capacity }
    }

    fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        let objects = self.objects();
        let mut entries: Vec<_> =
            objects.iter().filter(|(key, stored)| selector.selects(key.object.as_str(), stored)).collect();
        entries.sort_by_key(|(key, _)| *key);
        // All entries of an object are in one page.
        let after = after.map(|after| &*after.object).unwrap_or_default();
        let mut entries = entries.into_iter().filter(|(key, _)| key.object.as_str() > after);
        let Some((first, _)) = entries.clone().next() else { return Page::default() };
        let page: Vec<_> = entries.by_ref().take_while(|(key, _)| key.object == first.object).collect();
        Page {
            next: Some(Position { object: first.object.clone().into(), number: 0 }),
            entries: page.into_iter().map(|(key, stored)| (key.clone(), Arc::clone(stored))).collect(),
        }
    }

    fn counters(&self) -> CacheCounters {
        self.counted().clone()
    }
}
