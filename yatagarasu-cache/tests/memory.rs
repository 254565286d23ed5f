//! Checks that a cache takes no more memory from the system than its usage and capacity report.
#![cfg(feature = "foyer")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use yatagarasu_cache::{CacheBackend, CacheConfig, EvictionPolicy, build};
use yatagarasu_core::Selector;
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::cache::segments::SegmentsBuilder;
use yatagarasu_core::caching::freshness::{Exchange, FreshnessTerms};
use yatagarasu_core::http::response_fields::ResponseFields;
use yatagarasu_core::object::meta::Shape;
use yatagarasu_core::{CacheEntry, ObjectCache, ObjectMeta};
use yatagarasu_sys::pages::are_shareable;
use yatagarasu_sys::testing::CountingAllocator;
use yatagarasu_testing::cache_key;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn object(length: usize, more_fields: usize) -> Arc<CacheEntry> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("etag", "\"0123456789abcdef0123456789abcdef\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("accept-ranges", "bytes"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-amz-meta-colour", "green"),
    ] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    for index in 0..more_fields {
        let name = HeaderName::try_from(format!("x-amz-meta-{index}")).unwrap();
        headers.insert(name, HeaderValue::from(index));
    }
    let mut bytes = SegmentsBuilder::new(Some(length as u64));
    bytes.push(&vec![0; length]);
    let meta = ObjectMeta::new(headers).to_store(
        &[],
        SystemTime::UNIX_EPOCH,
        &Shape { fields: &ResponseFields::default(), key: "" },
    );
    let terms = FreshnessTerms::fresh_for(Duration::from_secs(60));
    Arc::new(CacheEntry::new(
        meta,
        EntryKind::Full(bytes.finish()),
        Exchange::at(SystemTime::UNIX_EPOCH),
        terms,
    ))
}

/// Returns the resident anonymous memory of the process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

fn fill(cache: &dyn ObjectCache, objects: u64, length: usize, more_fields: usize) {
    for index in 0..objects {
        cache.store(cache_key(&format!("some/folder/object-{index}")), object(length, more_fields));
    }
}

/// One test for all policies, because the counter covers all allocations of the process.
#[tokio::test]
async fn usage_is_no_less_than_what_is_allocated() {
    for eviction in [EvictionPolicy::S3Fifo, EvictionPolicy::Lfu, EvictionPolicy::Lru, EvictionPolicy::Sieve]
    {
        for (length, more_fields) in [(0, 0), (100, 3), (5_000, 7)] {
            let max_size = 16 << 20;
            let config =
                CacheConfig { backend: CacheBackend::Foyer, max_size, max_item_size: 10_000, eviction };
            let before = ALLOCATOR.allocated();
            let cache = build(&config).unwrap();
            // Store three times as many objects as fit, so that eviction and its ghosts are counted too.
            let objects = 3 * max_size / (length as u64 + 1_000);
            fill(&*cache, objects, length, more_fields);
            let allocated = ALLOCATOR.allocated() - before;
            let usage = cache.usage();
            assert!(usage.bytes > max_size / 10 * 9, "{eviction:?}: the cache is full: {usage:?}");
            assert!(
                allocated as u64 <= usage.capacity + (1 << 20),
                "{eviction:?} of {length} bytes each: {allocated} allocated, {usage:?}"
            );
            drop(cache);
        }
    }
    usage_is_no_less_than_what_is_in_pages().await;
}

/// Checks the resident memory: longer objects lie in pages that the allocator does not count.
async fn usage_is_no_less_than_what_is_in_pages() {
    const SPARE_BYTES: u64 = 8 << 20;
    if !are_shareable() {
        return;
    }
    let (max_size, length) = (64 << 20, 20_000);
    let eviction = EvictionPolicy::S3Fifo;
    let config = CacheConfig { backend: CacheBackend::Foyer, max_size, max_item_size: 100_000, eviction };
    let before = resident();
    let cache = build(&config).unwrap();
    fill(&*cache, 3 * max_size / length as u64, length, 3);
    let (taken, usage) = (resident().saturating_sub(before) as u64, cache.usage());
    assert!(usage.bytes > max_size / 10 * 9, "the cache is full: {usage:?}");
    let bounds = usage.bytes / 2..=usage.capacity + SPARE_BYTES + (1 << 20);
    assert!(bounds.contains(&taken), "{taken} taken, {usage:?}");
    cache.purge(&Selector::All).await;
    let left = resident().saturating_sub(before) as u64;
    assert!(left <= SPARE_BYTES + (2 << 20), "{left} left");
}
