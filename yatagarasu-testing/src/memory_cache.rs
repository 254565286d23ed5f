//! A plain cache in memory, for tests of the gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yatagarasu_core::clock::Moment;

use async_trait::async_trait;

use yatagarasu_core::cache::entry::CacheEntry;
use yatagarasu_core::cache::{Admission, CacheKey, KeyRef, ObjectCache, Selector, Usage};

/// A cache that evicts nothing. If an object does not fit, it declines it.
#[derive(Debug)]
pub struct MemoryCache {
    objects: Mutex<HashMap<CacheKey, Arc<CacheEntry>>>,
    capacity: u64,
}

impl MemoryCache {
    /// Creates an empty cache with this capacity in bytes.
    pub fn new(capacity: u64) -> Self {
        Self { objects: Mutex::default(), capacity }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<CacheEntry>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut objects = self.objects();
        objects.remove(&key);
        let used: u64 = objects.iter().map(|(key, object)| weight(key, object)).sum();
        if used + weight(&key, &object) > self.capacity {
            return Admission::Declined;
        }
        objects.insert(key, object);
        Admission::Stored
    }

    fn remove(&self, key: &CacheKey) {
        self.objects().remove(key);
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        let mut purged = 0;
        self.objects().retain(|key, stored| {
            let selected = selector.selects(key.object.as_str(), stored);
            purged += u64::from(selected && stored.is_object());
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
}
