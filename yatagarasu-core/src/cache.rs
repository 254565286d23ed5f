//! Where objects are stored.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{ObjectKey, StoredObject};

/// A store of whole objects that may forget, and never fails.
///
/// There is one for each bucket. Whatever goes wrong inside is a miss, or an object not admitted.
#[async_trait]
pub trait ObjectCache: Send + Sync + Debug {
    /// Finds what is stored under `key`, fresh or stale.
    async fn lookup(&self, key: &CacheKey) -> Option<Arc<StoredObject>>;

    /// Stores `object` under `key` in place of what was there.
    ///
    /// What all objects take together, bookkeeping included, never exceeds the capacity.
    async fn store(&self, key: CacheKey, object: Arc<StoredObject>) -> Admission;

    /// Drops all objects selected and counts them. What is being served goes on being served.
    async fn purge(&self, selector: &Purge) -> u64;

    /// How full the cache is.
    fn usage(&self) -> Usage;
}

/// The cache of a bucket that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

#[async_trait]
impl ObjectCache for NoCache {
    async fn lookup(&self, _: &CacheKey) -> Option<Arc<StoredObject>> {
        None
    }

    async fn store(&self, _: CacheKey, _: Arc<StoredObject>) -> Admission {
        Admission::Declined
    }

    async fn purge(&self, _: &Purge) -> u64 {
        0
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What an object is stored under: its key, and what else of a request the bucket forwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey {
    /// The object's key.
    pub object: ObjectKey,
    /// The forwarded parameters, percent-encoded, in the order of their names.
    pub query: Option<Arc<str>>,
    /// The forwarded request fields, a line each, in the order of the configuration; the source may answer
    /// differently for each of their values, and need not say so in a `Vary`.
    pub fields: Option<Arc<str>>,
}

impl CacheKey {
    /// Bytes of text.
    pub fn weight(&self) -> usize {
        let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        self.object.as_str().len() + length(&self.query) + length(&self.fields)
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

/// Selects the objects to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// One key, with whatever query and fields it was stored.
    Key(ObjectKey),
    /// All keys that begin with this text.
    Prefix(String),
    /// Everything.
    All,
}

impl Purge {
    /// Whether what is stored under `key` is to go.
    pub fn selects(&self, key: &CacheKey) -> bool {
        match self {
            Self::Key(object) => key.object == *object,
            Self::Prefix(prefix) => key.object.as_str().starts_with(prefix.as_str()),
            Self::All => true,
        }
    }
}

/// How full a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Objects stored.
    pub objects: u64,
    /// Bytes they take, bookkeeping included.
    pub bytes: u64,
    /// Bytes they may take.
    pub capacity: u64,
}
