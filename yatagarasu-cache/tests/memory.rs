//! Checks that a cache takes no more memory from the system than its usage and capacity report.
#![cfg(feature = "foyer")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; it tells what it has measured"
)]

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

/// The fields that S3 sends with most objects.
const OF_S3: [(&str, &str); 4] = [
    ("server", "AmazonS3"),
    ("x-amz-server-side-encryption", "AES256"),
    ("x-amz-version-id", "CqGtMVlvpEBkRZgnTpRdbcqqlFTBPNuU"),
    ("cache-control", "public, max-age=31536000, immutable"),
];

fn object(length: usize, more_fields: usize, others: &[(&'static str, &str)]) -> Arc<CacheEntry> {
    let mut headers = HeaderMap::new();
    let usual = [
        ("content-type", "text/plain"),
        ("etag", "\"0123456789abcdef0123456789abcdef\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("accept-ranges", "bytes"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-amz-meta-colour", "green"),
    ];
    for (name, value) in usual.iter().chain(others) {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
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

fn fill(cache: &dyn ObjectCache, objects: u64, object: impl Fn() -> Arc<CacheEntry>) {
    for index in 0..objects {
        cache.store(cache_key(&format!("some/folder/object-{index}")), object());
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
            fill(&*cache, objects, || object(length, more_fields, &[]));
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
    a_small_object_takes_little_more_than_its_content();
}

/// Stores 100,000 objects of 1 KiB with the ten fields that S3 sends, and checks the memory of the process.
fn a_small_object_takes_little_more_than_its_content() {
    const OBJECTS: u64 = 100_000;
    const LENGTH: usize = 1024;
    const MORE_BYTES_MAX: usize = 950;
    let max_size = OBJECTS * 4096;
    let eviction = EvictionPolicy::S3Fifo;
    let config = CacheConfig { backend: CacheBackend::Foyer, max_size, max_item_size: 10_000, eviction };
    let (allocated, before) = (ALLOCATOR.allocated(), resident());
    let cache = build(&config).unwrap();
    fill(&*cache, OBJECTS, || object(LENGTH, 0, &OF_S3));
    let count = usize::try_from(OBJECTS).unwrap();
    let resident = resident().saturating_sub(before) / count - LENGTH;
    let allocated = (ALLOCATOR.allocated() - allocated) / count - LENGTH;
    let told = usize::try_from(cache.usage().bytes).unwrap() / count - LENGTH;
    println!("an object of 1 KiB: {resident} B more resident, {allocated} allocated, {told} counted");
    assert_eq!(cache.usage().objects, OBJECTS);
    assert!(resident.max(allocated) <= MORE_BYTES_MAX, "{resident} resident, {allocated} allocated");
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
    fill(&*cache, 3 * max_size / length as u64, || object(length, 3, &[]));
    let (taken, usage) = (resident().saturating_sub(before) as u64, cache.usage());
    assert!(usage.bytes > max_size / 10 * 9, "the cache is full: {usage:?}");
    let bounds = usage.bytes / 2..=usage.capacity + SPARE_BYTES + (1 << 20);
    assert!(bounds.contains(&taken), "{taken} taken, {usage:?}");
    cache.purge(&Selector::All).await;
    let left = resident().saturating_sub(before) as u64;
    assert!(left <= SPARE_BYTES + (2 << 20), "{left} left");
}
