use yatagarasu_core::{CacheEntry, CacheKey};

/// Bytes of bookkeeping for each object.
///
/// The cache's record and index slot (about 130 bytes), its share of the eviction queues and their ghosts (about
/// 50), the key and the object as Rust lays them out with their reference counts, and what the allocator adds to
/// some eight allocations. The test below keeps it from being too little.
const BOOKKEEPING_BYTES: usize = 512;

/// Bytes that a header field costs beyond its name and value: its slot and index in the map, taken or not.
const FIELD_BYTES: usize = 128;

/// What an object takes in the cache, in bytes.
pub(crate) fn weigh(key: &CacheKey, object: &CacheEntry) -> usize {
    BOOKKEEPING_BYTES + key.weight() + object.weight() + object.meta().headers().capacity() * FIELD_BYTES
}

/// The longest object body for which there is surely room in `bytes`: long keys and header fields take theirs.
pub(crate) fn longest_body(bytes: u64) -> u64 {
    // S3 allows 2 KiB of metadata in headers and 1 KiB of key; the rest is for the other fields.
    bytes.saturating_sub(16 * 1024)
}
