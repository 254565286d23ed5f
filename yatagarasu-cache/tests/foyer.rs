//! Tests the foyer backend under every eviction policy.
#![cfg(feature = "foyer")]

use yatagarasu_cache::{BuildError, CacheBackend, CacheConfig, EvictionPolicy, build};
use yatagarasu_testing::conformance::cache_conformance;

fn config(max_size: u64, max_item_size: u64, eviction: EvictionPolicy) -> CacheConfig {
    CacheConfig { backend: CacheBackend::Foyer, max_size, max_item_size, eviction }
}

#[tokio::test]
async fn every_eviction_policy_makes_a_cache() {
    for eviction in [EvictionPolicy::S3Fifo, EvictionPolicy::Lfu, EvictionPolicy::Lru, EvictionPolicy::Sieve]
    {
        cache_conformance(&|capacity| build(&config(capacity, 32 << 10, eviction)).unwrap()).await;
    }
}

#[test]
fn an_object_that_would_never_fit_is_refused() {
    let refused = build(&config(1 << 20, 1 << 20, EvictionPolicy::S3Fifo));
    assert!(matches!(refused, Err(BuildError::ItemTooLarge { fits: 1_032_192, .. })), "{refused:?}");
    build(&config(1 << 20, 1_032_192, EvictionPolicy::S3Fifo)).unwrap();
}
