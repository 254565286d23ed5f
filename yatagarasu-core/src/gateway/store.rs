//! A bucket's cache together with store permits, which order stores and purges.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::cache::entry::CacheEntry;
use crate::cache::{Admission, CacheKey, KeyRef, Lookup, ObjectCache, Purge, Selector, Usage};

/// A bucket's cache, and the order between purges and the stores that began before them.
///
/// Take a [`StorePermit`] before sending the source request for the response to store. A purge holds off all
/// stores, revokes the permits it selects, and drops the entries. It then revokes the permits taken in the
/// meantime. So nothing that it selects and that was fetched before it is in the cache after it. A store revokes
/// the older permits for its key, and so does a response that drops the entry or marks it stale, so that no slow
/// response replaces a newer one.
#[derive(Debug)]
pub(super) struct Storage {
    cache: Arc<dyn ObjectCache>,
    permits: Arc<Permits>,
    /// Serializes stores and purges.
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

/// The kind of entry a permit will store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yields {
    /// A whole object or a note.
    Everything,
    /// A part, which is joined with the stored parts.
    Part,
}

impl Permits {
    /// Revokes the permits for all keys that `selector` may select.
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

/// The right to store one response, unless a purge or a newer response revokes it.
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

    /// Returns a permit to store `key` later. Take it before sending the source request.
    pub(super) fn permit(&self, key: CacheKey) -> StorePermit {
        let id = self.permits.last.fetch_add(1, Ordering::Relaxed);
        let revoked = Arc::new(AtomicBool::new(false));
        let granted = Granted { key: key.clone(), yields: Yields::Everything, revoked: Arc::clone(&revoked) };
        self.permits.granted().insert(id, granted);
        StorePermit { permits: Arc::clone(&self.permits), id, key, revoked }
    }

    /// Drops the entries that `selector` selects, or marks them stale. Returns the number of objects. `detach`
    /// must keep later requests from joining the fills that are running.
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
        // A request that began meanwhile may have found an entry not yet purged, and be revalidating it.
        self.permits.revoke(selector);
        detach();
        purged
    }
}

impl StorePermit {
    /// Returns the key it permits to store.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Changes its key to that of another variant of the same object.
    pub(super) fn rekey(&mut self, key: CacheKey) {
        self.key = key;
        if let Some(granted) = self.permits.granted().get_mut(&self.id) {
            granted.key = self.key.clone();
        }
    }

    /// Sets the kind of entry that will be stored, as far as is known.
    pub(super) fn expect(&self, yields: Yields) {
        if let Some(granted) = self.permits.granted().get_mut(&self.id) {
            granted.yields = yields;
        }
    }

    /// Stores `object` unless the permit was revoked. Returns `true` if it is stored.
    pub(super) async fn store(self, storage: &Storage, object: Arc<CacheEntry>) -> bool {
        self.update(storage, |_| Some(object)).await
    }

    /// Stores the object that `update` returns for the current entry, unless the permit was revoked. Returns
    /// `true` if it is stored, and `false` if `update` returns `None`.
    pub(super) async fn update(
        self,
        storage: &Storage,
        update: impl FnOnce(Option<Arc<CacheEntry>>) -> Option<Arc<CacheEntry>>,
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

    /// Drops the current entry if `unwanted` returns `true` for it, unless the permit was revoked.
    pub(super) async fn remove_if(self, storage: &Storage, unwanted: impl FnOnce(&Arc<CacheEntry>) -> bool) {
        let _alone = storage.gate.lock().await;
        if self.is_revoked() {
            return;
        }
        // Also if nothing is stored: a slower store that began before must not bring it back.
        self.supersede(&self.key);
        let stored = storage.cache.lookup(self.key.borrowed()).await;
        if stored.as_ref().is_some_and(unwanted) {
            storage.cache.remove(&self.key).await;
        }
    }

    /// Marks the current entry stale, unless the permit was revoked.
    pub(super) async fn expire(self, storage: &Storage, now: SystemTime) {
        let _alone = storage.gate.lock().await;
        if self.is_revoked() {
            return;
        }
        // A slower store that began before would make it fresh again.
        self.supersede(&self.key);
        if let Some(stored) = storage.cache.lookup(self.key.borrowed()).await {
            stored.expire(now);
        }
    }

    /// Stores `note`, which lists the object's variants, under the primary key, unless the permit was revoked.
    /// The permit stays usable.
    pub(super) async fn note(&self, storage: &Storage, note: Arc<CacheEntry>) {
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

    /// Revokes the older permits for `key`. Two parts do not revoke each other, because they are joined.
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
