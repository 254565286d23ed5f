/// What a bucket's cache is made from.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Who holds the objects.
    pub backend: CacheBackend,
    /// Bytes all objects may take, keys, header fields and bookkeeping included.
    pub max_size: u64,
    /// Longest object stored, in bytes.
    pub max_item_size: u64,
    /// Which objects go when there is no room.
    pub eviction: EvictionPolicy,
}

/// An implementation of [`ObjectCache`](yatagarasu_core::ObjectCache).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheBackend {
    /// The foyer-memory crate; feature `foyer`.
    #[default]
    Foyer,
}

/// Which objects go when there is no room for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EvictionPolicy {
    /// S3-FIFO: objects asked for once go first. Lookups share a lock.
    #[default]
    S3Fifo,
    /// W-TinyLFU: the least often asked for.
    Lfu,
    /// The one not asked for the longest.
    Lru,
    /// SIEVE: like FIFO, but spares what was asked for meanwhile.
    Sieve,
}
