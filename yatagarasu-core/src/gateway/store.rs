use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::cache::entry::StoredObject;
use crate::cache::{Admission, CacheKey, KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};

/// A bucket's cache, and the order between purges and the stores that began before them.
///
/// Whoever means to store what it is about to fetch takes a [`StorePermit`] before it asks the source. A
/// purge revokes the permits it selects, with all stores held off, drops what is stored, and revokes those
/// that were taken meanwhile: whatever the interleaving, nothing fetched before a purge is in the cache after
/// it. A store revokes the older permits for its key, so that no slow copy replaces what was fetched after
/// it.
#[derive(Debug)]
pub(super) struct Storage {
    cache: Arc<dyn ObjectCache>,
    permits: Arc<Permits>,
    /// Stores and purges come one after the other.
    gate: Mutex<()>,
}

#[derive(Debug, Default)]
struct Permits {
    last: AtomicU64,
    granted: StdMutex<HashMap<u64, Granted>>,
}

#[derive(Debug)]
struct Granted {
    key: CacheKey,
    yields: Yields,
    revoked: Arc<AtomicBool>,
}

/// What is about to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yields {
    /// All that is known of an object.
    Everything,
    /// A part of it, which is put to the others.
    Part,
}

impl Permits {
    /// Takes away the permits for all that `selector` may select.
    fn revoke(&self, selector: &Selector) {
        for granted in self.granted().values() {
            if selector.may_select(&granted.key) {
                granted.revoked.store(true, Ordering::Relaxed);
            }
        }
    }

    fn granted(&self) -> MutexGuard<'_, HashMap<u64, Granted>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to store what is about to be learnt of one object, unless a purge takes it away.
#[derive(Debug)]
pub(super) struct StorePermit {
    permits: Arc<Permits>,
    id: u64,
    key: CacheKey,
    revoked: Arc<AtomicBool>,
}

impl Storage {
    pub(super) fn new(cache: Arc<dyn ObjectCache>) -> Self {
        Self { cache, permits: Arc::default(), gate: Mutex::new(()) }
    }

    pub(super) fn lookup<'a>(&'a self, key: KeyRef<'a>) -> Lookup<'a> {
        self.cache.lookup(key)
    }

    pub(super) fn usage(&self) -> Usage {
        self.cache.usage()
    }

    /// Permits storing `key` later. Take it before asking the source.
    pub(super) fn permit(&self, key: CacheKey) -> StorePermit {
        let id = self.permits.last.fetch_add(1, Ordering::Relaxed);
        let revoked = Arc::new(AtomicBool::new(false));
        let granted = Granted { key: key.clone(), yields: Yields::Everything, revoked: Arc::clone(&revoked) };
        self.permits.granted().insert(id, granted);
        StorePermit { permits: Arc::clone(&self.permits), id, key, revoked }
    }

    /// Drops what `selector` selects, or marks it stale. `detach` keeps requests from joining fills that began before.
    pub(super) async fn purge(
        &self,
        selector: &Selector,
        purge: Purge,
        now: SystemTime,
        detach: impl Fn(),
    ) -> u64 {
        let _alone = self.gate.lock().await;
        self.permits.revoke(selector);
        detach();
        let purged = match purge {
            Purge::Drop => self.cache.purge(selector).await,
            Purge::MarkStale => self.cache.expire(selector, now).await,
        };
        // Who came meanwhile may have found what was still there, and have it confirmed.
        self.permits.revoke(selector);
        detach();
        purged
    }
}

impl StorePermit {
    /// What it permits to store.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Turns it into one for another variant of the same object.
    pub(super) fn rekey(&mut self, key: CacheKey) {
        self.key = key;
        if let Some(granted) = self.permits.granted().get_mut(&self.id) {
            granted.key = self.key.clone();
        }
    }

    /// Says what is going to be stored, as far as is known.
    pub(super) fn expect(&self, yields: Yields) {
        if let Some(granted) = self.permits.granted().get_mut(&self.id) {
            granted.yields = yields;
        }
    }

    /// Stores `object` if neither a purge nor a newer one came between; says whether it is stored.
    pub(super) async fn store(self, storage: &Storage, object: Arc<StoredObject>) -> bool {
        self.update(storage, |_| Some(object)).await
    }

    /// Stores what `update` makes of what is stored, with the same proviso, if it makes anything of it.
    pub(super) async fn update(
        self,
        storage: &Storage,
        update: impl FnOnce(Option<Arc<StoredObject>>) -> Option<Arc<StoredObject>>,
    ) -> bool {
        let _alone = storage.gate.lock().await;
        if self.is_revoked() {
            return false;
        }
        let stored = storage.cache.lookup(self.key.borrowed()).await;
        let Some(object) = update(stored) else { return false };
        self.supersede(&self.key);
        match storage.cache.store(self.key.clone(), object).await {
            Admission::Stored => true,
            Admission::Declined => false,
        }
    }

    /// Drops what is stored, with the same proviso, if it is what `unwanted` says.
    pub(super) async fn remove_if(
        self,
        storage: &Storage,
        unwanted: impl FnOnce(&Arc<StoredObject>) -> bool,
    ) {
        let _alone = storage.gate.lock().await;
        if self.is_revoked() {
            return;
        }
        let stored = storage.cache.lookup(self.key.borrowed()).await;
        if stored.as_ref().is_some_and(unwanted) {
            self.supersede(&self.key);
            storage.cache.remove(&self.key).await;
        }
    }

    /// Marks what is stored stale, with the same proviso.
    pub(super) async fn expire(self, storage: &Storage, now: SystemTime) {
        let _alone = storage.gate.lock().await;
        if !self.is_revoked()
            && let Some(stored) = storage.cache.lookup(self.key.borrowed()).await
        {
            stored.expire(now);
        }
    }

    /// Notes beside the object that it has variants, with the same proviso. The permit is not used up.
    pub(super) async fn note(&self, storage: &Storage, note: Arc<StoredObject>) {
        let _alone = storage.gate.lock().await;
        if !self.is_revoked() {
            let primary = self.key.primary();
            self.supersede(&primary);
            storage.cache.store(primary, note).await;
        }
    }

    fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Revokes the older permits for `key`. Parts do not get into each other's way.
    fn supersede(&self, key: &CacheKey) {
        let granted = self.permits.granted();
        let yields = granted.get(&self.id).map_or(Yields::Everything, |granted| granted.yields);
        for (_, older) in granted.iter().filter(|(id, older)| **id < self.id && older.key == *key) {
            if (yields, older.yields) != (Yields::Part, Yields::Part) {
                older.revoked.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for StorePermit {
    fn drop(&mut self) {
        self.permits.granted().remove(&self.id);
    }
}
