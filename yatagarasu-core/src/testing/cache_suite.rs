use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue};

use super::cache_key;
use crate::stored::SegmentsBuilder;
use crate::{Admission, CacheKey, ObjectCache, ObjectMeta, Purge, StoredObject};

/// Runs every test of the [`ObjectCache`] contract. `make` builds a cache of a given capacity in bytes.
pub async fn cache_conformance(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    what_is_stored_is_found(make).await;
    purges_drop_what_they_select(make).await;
    the_capacity_is_never_exceeded(make).await;
    too_large_objects_are_declined(make).await;
}

const MANY: u64 = 64 << 20;

async fn what_is_stored_is_found(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    assert!(cache.lookup(&cache_key("a")).await.is_none());
    assert_eq!(cache.store(cache_key("a"), object(b"one")).await, Admission::Stored);
    assert_eq!(content(&*cache, &cache_key("a")).await.as_deref(), Some(&b"one"[..]));
    assert_eq!(cache.store(cache_key("a"), object(b"another")).await, Admission::Stored);
    assert_eq!(content(&*cache, &cache_key("a")).await.as_deref(), Some(&b"another"[..]));
    assert!(cache.lookup(&cache_key("A")).await.is_none());
    assert!(cache.lookup(&queried("a", "v=1")).await.is_none());
    assert_eq!(cache.usage().objects, 1);

    let large: Vec<u8> = (0..1_000_000u32).map(|index| (index % 249) as u8).collect();
    cache.store(cache_key("large"), object(&large)).await;
    assert!(content(&*cache, &cache_key("large")).await.as_ref() == Some(&large));
}

async fn purges_drop_what_they_select(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    let keys = ["a", "a/1", "a/2", "b"].map(cache_key);
    for key in keys.iter().cloned().chain([queried("a", "v=1")]) {
        cache.store(key, object(b"x")).await;
    }
    let held = cache.lookup(&keys[0]).await.expect("stored");
    assert_eq!(cache.purge(&Purge::Key(keys[0].object.clone())).await, 2, "with and without a query");
    assert_eq!(cache.purge(&Purge::Key(keys[0].object.clone())).await, 0);
    assert_eq!(held.body().length(), 1, "what is being served goes on being served");
    assert_eq!(cache.purge(&Purge::Prefix("a/".to_owned())).await, 2);
    assert!(cache.lookup(&keys[1]).await.is_none());
    assert!(cache.lookup(&keys[3]).await.is_some());
    assert_eq!(cache.purge(&Purge::All).await, 1);
    assert_eq!((cache.usage().objects, cache.usage().bytes), (0, 0), "a purge gives the room back");
    for index in 0..100 {
        cache.store(cache_key(&index.to_string()), object(&[0; 1000])).await;
    }
    assert_eq!(cache.usage().objects, 100, "and the room can be used");
}

async fn the_capacity_is_never_exceeded(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(4 << 20);
    let mut seed = 7u64;
    for index in 0..4000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = usize::try_from((seed >> 40) % 20_000).expect("small");
        cache.store(cache_key(&format!("key/{}", index % 1500)), object(&vec![0; length])).await;
        let usage = cache.usage();
        assert!(usage.bytes <= usage.capacity && usage.capacity <= 4 << 20, "{usage:?}");
    }
    assert!(cache.usage().bytes > 2 << 20, "and is made use of: {:?}", cache.usage());
}

async fn too_large_objects_are_declined(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(1 << 20);
    cache.store(cache_key("other"), object(b"x")).await;
    cache.store(cache_key("grown"), object(b"small")).await;
    assert_eq!(cache.store(cache_key("grown"), object(&vec![0; 2 << 20])).await, Admission::Declined);
    assert!(cache.lookup(&cache_key("grown")).await.is_none(), "the old object is not what the source has");
    assert!(cache.lookup(&cache_key("other")).await.is_some(), "others stay");
}

fn queried(key: &str, query: &str) -> CacheKey {
    CacheKey { query: Some(query.into()), ..cache_key(key) }
}

fn object(content: &[u8]) -> Arc<StoredObject> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let mut bytes = SegmentsBuilder::new(Some(content.len() as u64));
    bytes.push(content);
    Arc::new(StoredObject::new(
        ObjectMeta::new(headers),
        bytes.finish(),
        SystemTime::UNIX_EPOCH,
        Duration::from_secs(60),
    ))
}

async fn content(cache: &dyn ObjectCache, key: &CacheKey) -> Option<Vec<u8>> {
    let stored = cache.lookup(key).await?;
    let mut rest = 0..stored.body().length();
    let mut content = Vec::new();
    while rest.start < rest.end {
        let slice = stored.body().slice(&rest);
        rest.start += slice.len() as u64;
        content.extend_from_slice(&slice);
    }
    Some(content)
}
