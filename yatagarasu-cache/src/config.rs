//! The configuration of a bucket's cache.

/// The configuration of a bucket's cache.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// The backend that stores the objects.
    pub backend: CacheBackend,
    /// Maximum memory of all objects in bytes, keys, header fields and bookkeeping included.
    pub max_size: u64,
    /// Maximum length of a stored object in bytes.
    pub max_item_size: u64,
    /// The policy that selects the objects to evict.
    pub eviction: EvictionPolicy,
}

/// An implementation of [`ObjectCache`](yatagarasu_core::ObjectCache).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheBackend {
    /// The `foyer-memory` crate; needs the Cargo feature `foyer`.
    #[default]
    Foyer,
}

/// The policy that selects objects to evict if there is no room for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EvictionPolicy {
    /// S3-FIFO: evicts objects first that were requested only once. Lookups take a shared lock.
    #[default]
    S3Fifo,
    /// W-TinyLFU: evicts the least frequently requested object.
    Lfu,
    /// Evicts the least recently requested object.
    Lru,
    /// SIEVE: evicts like FIFO, but spares objects that were requested in the meantime. Lookups take a shared lock.
    Sieve,
}
