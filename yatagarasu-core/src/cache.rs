//! What is stored: the trait [`ObjectCache`], its keys, and what stands under one.
//!
//! An [`entry`] is an object in [`segments`], a [part](partial) of one, or a note about one: that it has variants, that
//! it is not stored, or that the source [refused](negative) it. [`reuse`] decides whether an entry may answer a
//! request.

pub mod entry;
pub mod negative;
mod once;
pub mod partial;
pub mod retired;
pub mod reuse;
pub mod segment;
pub mod segments;

use crate::clock::Moment;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;

use crate::cache::entry::CacheEntry;
use crate::caching::tags;
use crate::histogram::{AGES, Distribution};
use crate::object::key::ObjectKey;

/// A store of objects in memory that may evict, and never fails.
///
/// Each bucket has its own. An internal failure is a miss, or an object that is not admitted.
///
/// A lookup, a store and a removal are immediate, so that a hit needs no task and no store is ever half done. A
/// tier that has to wait, such as one across a network, belongs between the gateway and the source, as an
/// [`ObjectSource`](crate::source::ObjectSource) around another: there, concurrent requests for one object share
/// its wait as they share a GET.
#[async_trait]
pub trait ObjectCache: Send + Sync + Debug {
    /// Returns the entry stored under `key`, fresh or stale.
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>>;

    /// Stores `object` under `key` and replaces the previous entry.
    ///
    /// The total size of all entries, bookkeeping included, never exceeds the capacity.
    fn store(&self, key: CacheKey, object: Arc<CacheEntry>) -> Admission;

    /// Drops the entry stored under `key`.
    fn remove(&self, key: &CacheKey);

    /// Drops all selected entries. Returns the number of objects among them. Responses that are being served are
    /// not interrupted. An entry that is stored meanwhile may be dropped or stay.
    ///
    /// Visiting many entries takes long. It must neither block the calling thread nor hold up lookups.
    async fn purge(&self, selector: &Selector) -> u64;

    /// Marks all selected entries stale from `now` on. Returns the number of objects among them. Otherwise like
    /// [`purge`](Self::purge).
    async fn expire(&self, selector: &Selector, now: Moment) -> u64;

    /// Returns the fill level.
    fn usage(&self) -> Usage;

    /// Returns the next entries after `after` that `selector` selects, ordered by object key.
    ///
    /// A page may be empty and yet not the last one. An entry that stays stored appears in exactly one page.
    fn page(&self, selector: &Selector, after: Option<&Position>) -> Page;

    /// Returns the counters since the cache was created.
    fn counters(&self) -> CacheCounters;
}

/// The cache of a bucket with caching off.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

#[async_trait]
impl ObjectCache for NoCache {
    fn lookup(&self, _: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        None
    }

    fn store(&self, _: CacheKey, _: Arc<CacheEntry>) -> Admission {
        Admission::Declined
    }

    fn remove(&self, _: &CacheKey) {}

    async fn purge(&self, _: &Selector) -> u64 {
        0
    }

    async fn expire(&self, _: &Selector, _: Moment) -> u64 {
        0
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn page(&self, _: &Selector, _: Option<&Position>) -> Page {
        Page::default()
    }

    fn counters(&self) -> CacheCounters {
        CacheCounters::default()
    }
}

/// The key of a cache entry (RFC 9111 2, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey {
    /// The object's key.
    pub object: ObjectKey,
    /// The forwarded query parameters, percent-encoded and sorted by name.
    pub query: Option<Arc<str>>,
    /// Which of the pages' origins the entry is for ([`OriginClass::key`](crate::caching::origins::OriginClass::key)).
    /// `None` for requests without `Origin`, or if it does not matter.
    pub origin: Option<Arc<str>>,
    /// The request fields that the object's `Vary` names, one line each. `None` if it names none.
    pub variant: Option<Arc<str>>,
}

impl CacheKey {
    /// Returns the key of an object without origin or variant.
    pub fn new(object: ObjectKey, query: Option<Arc<str>>) -> Self {
        Self { object, query, origin: None, variant: None }
    }

    /// Returns the key without the variant.
    #[must_use]
    pub fn primary(&self) -> Self {
        Self { variant: None, ..self.clone() }
    }

    /// Returns the key as borrowed text.
    pub fn borrowed(&self) -> KeyRef<'_> {
        KeyRef {
            object: self.object.as_str(),
            query: self.query.as_deref(),
            origin: self.origin.as_deref(),
            variant: self.variant.as_deref(),
        }
    }

    /// Returns the length of all text in bytes.
    pub fn weight(&self) -> usize {
        let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        self.object.as_str().len() + length(&self.query) + length(&self.origin) + length(&self.variant)
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

/// A [`CacheKey`] as borrowed text, so that a lookup allocates nothing. It hashes as the key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// The text of the object's key. An invalid key is allowed; nothing is stored under it.
    pub object: &'a str,
    /// See [`CacheKey::query`].
    pub query: Option<&'a str>,
    /// See [`CacheKey::origin`].
    pub origin: Option<&'a str>,
    /// See [`CacheKey::variant`].
    pub variant: Option<&'a str>,
}

impl KeyRef<'_> {
    /// Returns a copy of the key. Returns `None` if that of the object is invalid.
    pub fn to_key(self) -> Option<CacheKey> {
        Some(CacheKey {
            object: ObjectKey::parse(self.object).ok()?,
            query: self.query.map(Into::into),
            origin: self.origin.map(Into::into),
            variant: self.variant.map(Into::into),
        })
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.object.hash(state);
        // Most keys have none of these parts, and hashing an absent part would cost time on each lookup.
        for part in [self.query, self.origin, self.variant].into_iter().flatten() {
            part.hash(state);
        }
    }
}

/// Whether a cache took an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The object is stored.
    Stored,
    /// The object is not stored, and nothing is stored under its key now.
    Declined,
}

/// Selects the entries to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One key, with any query, CORS fields and variant.
    Key(ObjectKey),
    /// All keys with this prefix.
    Prefix(String),
    /// All objects with this tag.
    Tag(String),
    /// Everything.
    All,
}

impl Selector {
    /// Returns `true` if an entry stored for the object with this key is selected.
    pub fn selects(&self, object: &str, stored: &CacheEntry) -> bool {
        match self {
            Self::Tag(tag) => tags::carries(stored.meta(), tag),
            Self::Key(_) | Self::Prefix(_) | Self::All => self.may_select(object),
        }
    }

    /// Returns `true` if a response still to be fetched for this object may be selected. A tag may select any
    /// object, because the tags are unknown until then.
    pub fn may_select(&self, object: &str) -> bool {
        match self {
            Self::Key(key) => key.as_str() == object,
            Self::Prefix(prefix) => object.starts_with(prefix.as_str()),
            Self::Tag(_) | Self::All => true,
        }
    }
}

/// The effect of a purge on the selected entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Drops them.
    Drop,
    /// Marks them stale. They are revalidated before reuse, or served if a stale object may be.
    MarkStale,
}

/// The fill level of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of objects stored, whole or in part.
    pub objects: u64,
    /// Bytes they take, bookkeeping included.
    pub bytes: u64,
    /// Capacity in bytes.
    pub capacity: u64,
}

/// A position among the entries of a cache, in the order of the objects' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The key of the object.
    pub object: Arc<str>,
    /// Tells apart the entries of one object.
    pub number: u64,
}

/// Some entries of a cache.
#[derive(Debug, Default)]
pub struct Page {
    /// The entries with their keys.
    pub entries: Vec<(CacheKey, Arc<CacheEntry>)>,
    /// The position after which the next page begins. `None` on the last page.
    pub next: Option<Position>,
}

/// Counters of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheCounters {
    /// Inserted entries.
    pub stored: u64,
    /// Rejected entries.
    pub declined: u64,
    /// Evicted entries.
    pub evicted: u64,
    /// Entries replaced by a newer one with the same key.
    pub replaced: u64,
    /// Entries that were removed, by purges among others.
    pub removed: u64,
    /// Ages of evicted entries, from receipt to eviction.
    pub eviction_ages: Distribution,
}

impl Default for CacheCounters {
    fn default() -> Self {
        let eviction_ages = Distribution::empty(&AGES);
        Self { stored: 0, declined: 0, evicted: 0, replaced: 0, removed: 0, eviction_ages }
    }
}
