//! A bucket's cache, and the order of requests to the source and purges that everything stored in it keeps.
//!
//! Every request to the source has a number, and so has the entry that comes of it. An entry never takes the place
//! of one with a greater number: the source was asked for that one later. What leaves no entry, such as a purge,
//! leaves a [`Barrier`] with a number instead. No answer to a request with a smaller number passes it.

use crate::clock::{Clock, Moment};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use http::header;

use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::{
    Admission, CacheCounters, CacheKey, KeyRef, ObjectCache, Page, Position, Purge, Selector, Usage,
};
use crate::caching::freshness::Exchange;
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::sync::{Mutex, MutexGuard};

/// Maximum number of barriers. If there are more, one barrier for everything takes their place: some answers are
/// then not stored although they could be.
const BARRIERS_MAX: usize = 1024;

/// A bucket's cache, with the order of what is stored in it.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    cache: Arc<dyn ObjectCache>,
    order: Arc<Mutex<Order>>,
}

/// The order of requests and purges. Stores are checked and made under its lock.
#[derive(Debug, Default)]
struct Order {
    /// The last number given to a request or a purge.
    last: u64,
    /// The requests whose answers may still be stored: their numbers, and the objects that they are for.
    open: BTreeMap<u64, ObjectKey>,
    /// Number of open requests for each object.
    open_for: HashMap<ObjectKey, usize>,
    /// The purges at work, by the number that they began with. Nothing that they select is stored.
    purging: Vec<(u64, Selector)>,
    /// What the open requests must not store.
    barriers: Vec<Barrier>,
}

/// A boundary in the order: no answer within its scope to a request with a smaller number is stored.
#[derive(Debug)]
struct Barrier {
    number: u64,
    scope: Scope,
}

#[derive(Debug)]
enum Scope {
    /// What a purge has selected.
    Selected(Selector),
    /// The entry under one key. It was dropped, marked stale or declined.
    Entry(CacheKey),
    /// Another version under one key than the one with these validators, which was not stored.
    OtherVersion(CacheKey, Version),
}

/// The validators of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    etag: Option<Box<[u8]>>,
    last_modified: Option<Box<[u8]>>,
}

impl Version {
    fn of(meta: &ObjectMeta) -> Self {
        let field = |name| {
            // A value that was received is a slice of its read buffer.
            meta.values(name).next().map(Box::from)
        };
        Self { etag: field(header::ETAG.as_str()), last_modified: field(header::LAST_MODIFIED.as_str()) }
    }
}

/// The right to store the answer to one request to the source.
#[derive(Debug)]
pub(super) struct StorePermit {
    order: Arc<Mutex<Order>>,
    number: u64,
    key: CacheKey,
}

/// A purge at work. Dropping it puts the purge into the order, also if its caller gives up.
struct Purging<'a, F: Fn()> {
    order: &'a Mutex<Order>,
    begun: u64,
    detach: F,
}

impl Storage {
    pub(super) fn new(cache: Arc<dyn ObjectCache>) -> Self {
        Self { cache, order: Arc::default() }
    }

    pub(super) fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.cache.lookup(key)
    }

    pub(super) fn usage(&self) -> Usage {
        self.cache.usage()
    }

    pub(super) fn counters(&self) -> CacheCounters {
        self.cache.counters()
    }

    pub(super) fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        self.cache.page(selector, after)
    }

    /// Returns a permit to store an answer under `key`. Take it before sending the request, and before the lookup
    /// that decides what to request.
    pub(super) fn permit(&self, key: CacheKey) -> StorePermit {
        let mut order = lock(&self.order);
        let number = order.next();
        *order.open_for.entry(key.object.clone()).or_default() += 1;
        order.open.insert(number, key.object.clone());
        StorePermit { order: Arc::clone(&self.order), number, key }
    }

    /// Replaces the entry under `key` by another form of the same answer, unless it is being purged. `update` returns that
    /// form and a smaller one, which is stored if the cache declines the first.
    pub(super) fn replace(
        &self,
        key: &CacheKey,
        update: impl FnOnce(&Arc<CacheEntry>) -> Option<(Arc<CacheEntry>, Arc<CacheEntry>)>,
    ) {
        let order = lock(&self.order);
        let Some(current) = self.lookup(key.borrowed()) else { return };
        let Some((entry, smaller)) = update(&current) else { return };
        // It would count as held by a response.
        drop(current);
        if order.purging.iter().any(|(_, selector)| selector.selects(key.object.as_str(), &entry)) {
            return;
        }
        for entry in [entry, smaller] {
            match self.cache.store(key.clone(), Arc::clone(&entry)) {
                Admission::Stored => return,
                // The cache has dropped the object with it.
                Admission::Declined => entry.retire(),
            }
        }
    }

    /// Drops the entries that `selector` selects, or marks them stale. Returns the number of objects. `detach`
    /// must keep later requests from joining the fills that are running.
    pub(super) async fn purge(
        &self,
        selector: &Selector,
        purge: Purge,
        now: Moment,
        detach: impl Fn(),
    ) -> u64 {
        let _purging = Purging::begin(&self.order, selector, detach);
        match purge {
            Purge::Drop => self.cache.purge(selector).await,
            Purge::MarkStale => self.cache.expire(selector, now).await,
        }
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
    }

    /// Returns the exchange of its request, sent at `asked`, whose response head has arrived now.
    pub(super) fn exchange(&self, asked: Moment, clock: &dyn Clock) -> Exchange {
        Exchange { number: self.number, asked, received: clock.now(), dated: clock.date() }
    }

    /// Stores `entry` unless something newer forbids it. Returns `true` if it is stored.
    pub(super) fn store(self, storage: &Storage, entry: Arc<CacheEntry>) -> bool {
        let number = self.number;
        self.update(storage, |current| (!is_newer(current.as_ref(), number)).then_some(entry))
    }

    /// Stores the entry that `update` returns for the current one, unless something newer forbids it. `update`
    /// must not return an older one than the current one. Returns `true` if it is stored.
    pub(super) fn update(
        self,
        storage: &Storage,
        update: impl FnOnce(Option<Arc<CacheEntry>>) -> Option<Arc<CacheEntry>>,
    ) -> bool {
        let mut order = lock(&storage.order);
        let Some(entry) = update(storage.lookup(self.key.borrowed())) else { return false };
        if order.forbids(self.number, &self.key, &entry) || self.is_other_object(storage) {
            return false;
        }
        match storage.cache.store(self.key.clone(), Arc::clone(&entry)) {
            Admission::Stored => true,
            Admission::Declined => {
                entry.retire();
                order.bar(self.number, &self.key);
                false
            }
        }
    }

    /// Takes note of an answer that is not stored. If the current entry is of another version, it is stale from now on,
    /// and no older request brings another version.
    pub(super) fn pass_by(self, storage: &Storage, answer: &ObjectMeta, now: Moment) {
        let version = Version::of(answer);
        let mut order = lock(&storage.order);
        if order.has_older(self.number, &self.key.object) {
            order.raise(self.number, Scope::OtherVersion(self.key.clone(), version.clone()));
        }
        let stored = storage.lookup(self.key.borrowed());
        let is_other = |stored: &Arc<CacheEntry>| stored.is_object() && Version::of(stored.meta()) != version;
        if let Some(stored) = stored.filter(|stored| stored.number() <= self.number && is_other(stored)) {
            stored.expire(now);
        }
    }

    /// Keeps the answers to older requests from being stored.
    pub(super) fn bar(self, storage: &Storage) {
        lock(&storage.order).bar(self.number, &self.key);
    }

    /// Drops the current entry if it is no newer and `unwanted` returns `true` for it.
    pub(super) fn remove_if(self, storage: &Storage, unwanted: impl FnOnce(&Arc<CacheEntry>) -> bool) {
        let mut order = lock(&storage.order);
        // Also if nothing is stored: a slower answer to an older request must not bring it back.
        order.bar(self.number, &self.key);
        let stored = storage.lookup(self.key.borrowed());
        if !is_newer(stored.as_ref(), self.number) && stored.as_ref().is_some_and(unwanted) {
            storage.cache.remove(&self.key);
        }
    }

    /// Marks the current entry stale if it is no newer.
    pub(super) fn expire(self, storage: &Storage, now: Moment) {
        let mut order = lock(&storage.order);
        // A slower answer to an older request would make it fresh again.
        order.bar(self.number, &self.key);
        let stored = storage.lookup(self.key.borrowed());
        if let Some(stored) = stored.filter(|stored| stored.number() <= self.number) {
            stored.expire(now);
        }
    }

    /// Stores `note`, which lists the object's variants, under the primary key, unless something newer forbids it.
    /// The permit stays usable.
    pub(super) fn note(&self, storage: &Storage, note: Arc<CacheEntry>) {
        let (order, primary) = (lock(&storage.order), self.key.primary());
        let current = storage.lookup(primary.borrowed());
        if !is_newer(current.as_ref(), self.number) && !order.forbids(self.number, &primary, &note) {
            storage.cache.store(primary, note);
        }
    }

    /// Returns `true` if the object has had no variants since a newer request.
    fn is_other_object(&self, storage: &Storage) -> bool {
        if self.key.variant.is_none() {
            return false;
        }
        let primary = storage.lookup(self.key.primary().borrowed());
        is_newer(primary.as_ref(), self.number)
            && primary.is_some_and(|primary| !matches!(primary.kind(), EntryKind::VaryMarker(_)))
    }
}

impl Drop for StorePermit {
    fn drop(&mut self) {
        let mut order = lock(&self.order);
        if let Some(object) = order.open.remove(&self.number)
            && let Entry::Occupied(mut open) = order.open_for.entry(object)
        {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        let oldest = order.open.first_key_value().map_or(u64::MAX, |(number, _)| *number);
        order.barriers.retain(|barrier| oldest < barrier.number);
    }
}

impl<'a, F: Fn()> Purging<'a, F> {
    fn begin(order: &'a Mutex<Order>, selector: &Selector, detach: F) -> Self {
        let mut entered = lock(order);
        let begun = entered.next();
        entered.purging.push((begun, selector.clone()));
        drop(entered);
        detach();
        Self { order, begun, detach }
    }
}

impl<F: Fn()> Drop for Purging<'_, F> {
    /// Ends the purge. A request that began meanwhile may have found an entry not yet purged, and be revalidating it:
    /// its answer is not stored, and no later request joins it.
    fn drop(&mut self) {
        let mut order = lock(self.order);
        let number = order.next();
        let index = order.purging.iter().position(|(begun, _)| *begun == self.begun);
        if let Some(index) = index {
            let (_, selector) = order.purging.swap_remove(index);
            order.raise(number, Scope::Selected(selector));
        }
        drop(order);
        (self.detach)();
    }
}

impl Order {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Returns `true` if the answer to the request `number` must not be stored as `entry` under `key`.
    fn forbids(&self, number: u64, key: &CacheKey, entry: &CacheEntry) -> bool {
        self.purging.iter().any(|(_, selector)| selector.selects(key.object.as_str(), entry))
            || self.barriers.iter().any(|barrier| number < barrier.number && barrier.scope.has(key, entry))
    }

    /// Keeps answers to requests older than `number` from being stored under `key`.
    fn bar(&mut self, number: u64, key: &CacheKey) {
        if !self.has_older(number, &key.object) {
            return;
        }
        let same = self.barriers.iter_mut().find(|barrier| match &barrier.scope {
            Scope::Entry(barred) => barred == key,
            Scope::Selected(_) | Scope::OtherVersion(..) => false,
        });
        match same {
            Some(barrier) => barrier.number = barrier.number.max(number),
            None => self.raise(number, Scope::Entry(key.clone())),
        }
    }

    /// Returns `true` if a request for `object` is open that is older than the open request `number`. Without one,
    /// there is nothing to keep from being stored, and requests for objects that do not exist leave no barriers.
    fn has_older(&self, number: u64, object: &ObjectKey) -> bool {
        // The request itself is open, too.
        self.open_for.get(object).is_some_and(|open| *open > 1)
            && self.open.range(..number).any(|(_, open)| open == object)
    }

    fn raise(&mut self, number: u64, scope: Scope) {
        if self.open.first_key_value().is_none_or(|(oldest, _)| *oldest >= number) {
            return;
        }
        self.barriers.push(Barrier { number, scope });
        if self.barriers.len() > BARRIERS_MAX {
            let number = self.barriers.iter().map(|barrier| barrier.number).max().unwrap_or(number);
            self.barriers = vec![Barrier { number, scope: Scope::Selected(Selector::All) }];
        }
    }
}

impl Scope {
    fn has(&self, key: &CacheKey, entry: &CacheEntry) -> bool {
        match self {
            Self::Selected(selector) => selector.selects(key.object.as_str(), entry),
            Self::Entry(barred) => barred == key,
            Self::OtherVersion(barred, version) => barred == key && Version::of(entry.meta()) != *version,
        }
    }
}

fn is_newer(stored: Option<&Arc<CacheEntry>>, number: u64) -> bool {
    stored.is_some_and(|stored| stored.number() > number)
}

fn lock(order: &Mutex<Order>) -> MutexGuard<'_, Order> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}
