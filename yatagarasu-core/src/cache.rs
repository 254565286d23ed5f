//! What is stored: the trait [`ObjectCache`], its keys, and what stands under one.
//!
//! An [`entry`] is an object in [`segments`], a [part](partial) of one, or a note about one: that it has variants, that it
//! is not stored, or that the source [refused](negative) it. [`reuse`] decides whether an entry may answer a request.

pub mod entry;
pub mod negative;
pub mod partial;
pub mod reuse;
pub mod segment;
pub mod segments;

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::cache::entry::StoredObject;
use crate::caching::tags;
use crate::object::key::ObjectKey;

/// A store of objects that may forget, and never fails.
///
/// There is one for each bucket. Whatever goes wrong inside is a miss, or an object not admitted.
#[async_trait]
pub trait ObjectCache: Send + Sync + Debug {
    /// Finds what is stored under `key`, fresh or stale. One that can say so without waiting is asked twice where the
    /// first look did not suffice.
    ///
    /// # Cancel safety
    ///
    /// Dropping what is given leaves nothing behind.
    fn lookup<'a>(&'a self, key: KeyRef<'a>) -> Lookup<'a>;

    /// Stores `object` under `key` in place of what was there.
    ///
    /// What all objects take together, bookkeeping included, never exceeds the capacity.
    async fn store(&self, key: CacheKey, object: Arc<StoredObject>) -> Admission;

    /// Drops what is stored under `key`.
    async fn remove(&self, key: &CacheKey);

    /// Drops all that is selected and counts the objects among it. What is being served goes on being served.
    async fn purge(&self, selector: &Selector) -> u64;

    /// Marks all that is selected stale from `now` on and counts the objects among it.
    async fn expire(&self, selector: &Selector, now: SystemTime) -> u64;

    /// How full the cache is.
    fn usage(&self) -> Usage;
}

/// What a cache says to a lookup. Awaited, it gives what is found.
///
/// Only who has to wait makes a future: that takes an allocation, and lookups are frequent.
pub enum Lookup<'a> {
    /// This is found, at once.
    Ready(Option<Arc<StoredObject>>),
    /// It takes a while.
    Pending(Pin<Box<dyn Future<Output = Option<Arc<StoredObject>>> + Send + 'a>>),
}

impl Future for Lookup<'_> {
    type Output = Option<Arc<StoredObject>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(found) => Poll::Ready(found.take()),
            Self::Pending(finding) => finding.as_mut().poll(cx),
        }
    }
}

/// The cache of a bucket that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

#[async_trait]
impl ObjectCache for NoCache {
    fn lookup<'a>(&'a self, _: KeyRef<'a>) -> Lookup<'a> {
        Lookup::Ready(None)
    }

    async fn store(&self, _: CacheKey, _: Arc<StoredObject>) -> Admission {
        Admission::Declined
    }

    async fn remove(&self, _: &CacheKey) {}

    async fn purge(&self, _: &Selector) -> u64 {
        0
    }

    async fn expire(&self, _: &Selector, _: SystemTime) -> u64 {
        0
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What an object is stored under (RFC 9111 2, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey {
    /// The object's key.
    pub object: ObjectKey,
    /// The forwarded parameters, percent-encoded, in the order of their names.
    pub query: Option<Arc<str>>,
    /// Who asks from which page: the fields of CORS, a line each. S3 answers differently for each of their values
    /// and says so in `Vary` only where they were sent.
    pub origin: Option<Arc<str>>,
    /// The request fields that the object's `Vary` names, a line each; nothing where it names none.
    pub variant: Option<Arc<str>>,
}

impl CacheKey {
    /// Names an object.
    pub fn new(object: ObjectKey, query: Option<Arc<str>>) -> Self {
        Self { object, query, origin: None, variant: None }
    }

    /// The same object, whatever its variant.
    #[must_use]
    pub fn primary(&self) -> Self {
        Self { variant: None, ..self.clone() }
    }

    /// The same by its texts.
    pub fn borrowed(&self) -> KeyRef<'_> {
        KeyRef {
            object: self.object.as_str(),
            query: self.query.as_deref(),
            origin: self.origin.as_deref(),
            variant: self.variant.as_deref(),
        }
    }

    /// Bytes of text.
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

/// A [`CacheKey`] by its texts, which are another's: to look up takes no memory. It hashes as the key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// The text of the object's key. One that is no key names nothing that is stored.
    pub object: &'a str,
    /// As in a [`CacheKey`].
    pub query: Option<&'a str>,
    /// As in a [`CacheKey`].
    pub origin: Option<&'a str>,
    /// As in a [`CacheKey`].
    pub variant: Option<&'a str>,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.object.hash(state);
        // Most keys are an object's alone: what is not there would take longer than what is.
        for part in [self.query, self.origin, self.variant].into_iter().flatten() {
            part.hash(state);
        }
    }
}

/// Whether a cache took an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It did.
    Stored,
    /// It did not, and holds nothing under the key now.
    Declined,
}

/// Selects what to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One key, with whatever query and fields it was stored.
    Key(ObjectKey),
    /// All keys that begin with this text.
    Prefix(String),
    /// All objects that carry this tag.
    Tag(String),
    /// Everything.
    All,
}

impl Selector {
    /// Whether what is stored under `key` is selected.
    pub fn selects(&self, key: &CacheKey, stored: &StoredObject) -> bool {
        match self {
            Self::Tag(tag) => tags::carries(stored.meta().headers(), tag),
            Self::Key(_) | Self::Prefix(_) | Self::All => self.may_select(key),
        }
    }

    /// Whether what is about to be fetched for `key` may turn out to be selected.
    pub fn may_select(&self, key: &CacheKey) -> bool {
        match self {
            Self::Key(object) => key.object == *object,
            Self::Prefix(prefix) => key.object.as_str().starts_with(prefix.as_str()),
            Self::Tag(_) | Self::All => true,
        }
    }
}

/// What becomes of what is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// It is gone.
    Drop,
    /// It is stale: revalidated before it is served again, or served where a stale object may be.
    MarkStale,
}

/// How full a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Objects stored, whole or in part.
    pub objects: u64,
    /// Bytes they take, bookkeeping included.
    pub bytes: u64,
    /// Bytes they may take.
    pub capacity: u64,
}
