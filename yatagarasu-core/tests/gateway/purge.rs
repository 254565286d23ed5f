use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};
use yatagarasu_core::gateway::FillBudget;
use yatagarasu_core::testing::{ManualClock, MemoryCache, ScriptedSource, cache_key, request};
use yatagarasu_core::{
    Admission, BucketPolicy, CacheKey, Gateway, Method, ObjectCache, Purge, Selector, StoredObject, Usage,
};

use crate::bed::{Bed, body, cache_policy, handling, settle};

const ONE: [(&str, &str); 1] = [("content-length", "1")];

#[tokio::test]
async fn a_fill_that_began_before_a_purge_does_not_bring_the_object_back() {
    for selector in [
        Selector::Key(cache_key("dir/k").object),
        Selector::Prefix("dir/".into()),
        Selector::Tag("unknown yet".into()),
        Selector::All,
    ] {
        let (bed, mut scripts) = Bed::scripted();
        let client = bed.begin("dir/k");
        let asked = scripts.recv().await.unwrap();
        assert_eq!(bed.gateway.purge(&selector, Purge::Drop).await, 0);

        // Whoever comes after the purge gets what the source has now.
        let later = bed.begin("dir/k");
        scripts.recv().await.unwrap().open(&ONE).send("N");
        assert_eq!(body(later.await.unwrap()).await.unwrap(), b"N");
        asked.open(&ONE).send("O");
        assert_eq!(body(client.await.unwrap()).await.unwrap(), b"O");

        settle().await;
        let hit = bed.get("dir/k").await;
        assert_eq!(handling(&hit), "hit; ttl=60");
        assert_eq!(body(hit).await.unwrap(), b"N", "{selector:?}");
    }
}

#[tokio::test]
async fn a_purge_between_the_bytes_of_a_fill_wins() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "2")]);
    source.send("O");
    settle().await;
    bed.gateway.purge(&Selector::All, Purge::Drop).await;
    source.send("O");
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"OO");
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
}

#[tokio::test]
async fn a_purge_of_other_objects_leaves_a_fill_alone() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&ONE);
    bed.gateway.purge(&Selector::Prefix("other/".into()), Purge::Drop).await;
    source.send("x");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 1);
}

#[tokio::test]
async fn a_copy_kept_while_streaming_loses_to_a_purge_too() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[]);
    source.send("O");
    let outcome = client.await.unwrap();
    bed.gateway.purge(&Selector::All, Purge::Drop).await;
    drop(source);
    assert_eq!(body(outcome).await.unwrap(), b"O");
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
}

/// A cache whose stores wait for the test.
#[derive(Debug)]
struct SlowCache {
    inner: MemoryCache,
    storing: Notify,
    go: Semaphore,
}

#[async_trait]
impl ObjectCache for SlowCache {
    async fn lookup(&self, key: &CacheKey) -> Option<Arc<StoredObject>> {
        self.inner.lookup(key).await
    }

    async fn store(&self, key: CacheKey, object: Arc<StoredObject>) -> Admission {
        self.storing.notify_one();
        self.go.acquire().await.expect("never closed").forget();
        self.inner.store(key, object).await
    }

    async fn remove(&self, key: &CacheKey) {
        self.inner.remove(key).await;
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        self.inner.purge(selector).await
    }

    async fn expire(&self, selector: &Selector, now: SystemTime) -> u64 {
        self.inner.expire(selector, now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

#[tokio::test]
async fn a_purge_waits_for_a_store_that_has_begun_and_then_wins() {
    let (source, mut scripts) = ScriptedSource::new();
    let cache = Arc::new(SlowCache {
        inner: MemoryCache::new(1 << 20),
        storing: Notify::new(),
        go: Semaphore::new(0),
    });
    let gateway = Gateway::new(
        Arc::new(source),
        cache.clone(),
        BucketPolicy { cache: Some(cache_policy()), ..BucketPolicy::default() },
        Arc::new(FillBudget::new(1 << 20)),
        Arc::new(ManualClock::default()),
    );
    let client = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.answer(&request(Method::Get, "k")).await }
    });
    scripts.recv().await.unwrap().open(&ONE).send("O");
    // The client has all its bytes although the store has not ended.
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"O");
    cache.storing.notified().await;

    let purge = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.purge(&Selector::All, Purge::Drop).await }
    });
    settle().await;
    assert!(!purge.is_finished());
    cache.go.add_permits(1);
    assert_eq!(purge.await.unwrap(), 1);
    assert_eq!(gateway.usage().objects, 0);
}
