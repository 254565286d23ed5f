//! Runs the conformance suites on the sources and the cache that other tests use.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use yatagarasu_core::ObjectSource;
use yatagarasu_core::source::timeout::Timed;
use yatagarasu_testing::conformance::{SourceBed, cache_conformance, source_conformance};
use yatagarasu_testing::{MemoryCache, MemorySource};

#[tokio::test]
async fn the_memory_source_is_a_source() {
    source_conformance(&MemorySource::default()).await;
}

#[derive(Default)]
struct TimedBed(MemorySource);

#[async_trait]
impl SourceBed for TimedBed {
    async fn put(&self, key: &str, headers: &[(&str, &str)], content: Bytes) {
        self.0.put(key, headers, content).await;
    }

    fn source(&self) -> Arc<dyn ObjectSource> {
        Arc::new(Timed::new(self.0.source(), Duration::from_secs(60), Duration::from_secs(60)))
    }
}

#[tokio::test]
async fn a_timed_source_is_a_source() {
    source_conformance(&TimedBed::default()).await;
}

#[tokio::test]
async fn the_memory_cache_is_a_cache() {
    cache_conformance(&|capacity| Arc::new(MemoryCache::new(capacity))).await;
}
