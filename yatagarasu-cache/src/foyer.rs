use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use foyer::{Cache, CacheBuilder, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig, SieveConfig};
use futures_util::FutureExt;
use yatagarasu_core::{Admission, CacheKey, ObjectCache, Purge, StoredObject, Usage};

use crate::weight::weigh;
use crate::{CacheConfig, EvictionPolicy};

/// More shards than this gain nothing on the machines this runs on, and make the largest object smaller.
const SHARDS_MAX: u64 = 16;

/// A shard holds at least this many objects of the largest size, so that one of them does not empty it.
const LARGEST_PER_SHARD: u64 = 8;

/// Objects in memory, in shards that are locked one by one.
///
/// Three properties of foyer-memory are guarded against here and pinned by tests: it takes entries heavier than a
/// shard and then exceeds its capacity; `clear` does not give the room back; the default weight of an entry is 1.
#[derive(Debug)]
pub(crate) struct FoyerCache {
    objects: Cache<CacheKey, Arc<StoredObject>>,
    shard_bytes: usize,
}

impl FoyerCache {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        let largest = config.max_item_size.max(1);
        let shards = (config.max_size / largest / LARGEST_PER_SHARD).clamp(1, SHARDS_MAX);
        let capacity = usize::try_from(config.max_size).unwrap_or(usize::MAX);
        let shards = usize::try_from(shards).expect("at most 16");
        let objects = CacheBuilder::new(capacity)
            .with_shards(shards)
            .with_eviction_config(eviction(config.eviction))
            .with_weighter(|key: &CacheKey, object: &Arc<StoredObject>| weigh(key, object))
            .build();
        Self { objects, shard_bytes: capacity / shards }
    }
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
    async fn lookup(&self, key: &CacheKey) -> Option<Arc<StoredObject>> {
        self.objects.get(key).map(|entry| Arc::clone(entry.value()))
    }

    async fn store(&self, key: CacheKey, object: Arc<StoredObject>) -> Admission {
        if weigh(&key, &object) > self.shard_bytes {
            self.objects.remove(&key);
            return Admission::Declined;
        }
        self.objects.insert(key, object);
        Admission::Stored
    }

    async fn purge(&self, selector: &Purge) -> u64 {
        let purged = AtomicU64::new(0);
        self.objects
            .flush_if(|key, _| {
                let selected = selector.selects(key);
                purged.fetch_add(u64::from(selected), Ordering::Relaxed);
                selected
            })
            .now_or_never()
            .expect("a cache without a disk never waits");
        purged.into_inner()
    }

    fn usage(&self) -> Usage {
        Usage {
            objects: self.objects.entries() as u64,
            bytes: self.objects.usage() as u64,
            capacity: self.objects.capacity() as u64,
        }
    }
}
