//! The weight of an object in a cache, in bytes.

use yatagarasu_core::{CacheEntry, CacheKey};

use crate::index::row_bytes;

/// Bookkeeping of one object in bytes, its row in the index not included.
///
/// It covers the record and index slot in the cache (about 130 bytes) and the share of the eviction queues and their
/// ghosts (about 50). It also covers the key and object structs with their reference counts, and the allocator's
/// overhead for about eight allocations. `tests/memory.rs` checks that it is not too small.
const BOOKKEEPING_BYTES: usize = 512;

/// Returns the memory that an object takes in the cache, in bytes.
pub(crate) fn weigh(key: &CacheKey, object: &CacheEntry) -> usize {
    BOOKKEEPING_BYTES + row_bytes(key) + key.weight() + object.weight()
}

/// Returns the length of the longest body that fits into `bytes` together with a long key and long header fields.
pub(crate) fn longest_body(bytes: u64) -> u64 {
    // S3 allows 2 KiB of metadata in headers and a key of 1 KiB. The rest is for the other fields and the bookkeeping.
    bytes.saturating_sub(16 * 1024)
}
