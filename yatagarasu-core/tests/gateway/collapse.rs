//! Tests of collapsing: requests that join a running fill, clients that leave, and fill memory.

use std::sync::Arc;

use async_trait::async_trait;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, BucketPolicy, ErrorKind, Gateway, Method, Object, ObjectKey, ObjectMeta, ObjectSource,
    SourceError, SourceRequest,
};
use yatagarasu_core::{Budget, Common};
use yatagarasu_testing::{ManualClock, MemoryCache, ScriptedSource, request};

use crate::bed::{Bed, ITEM_MAX, body, cache_policy, handling, settle};

const FIVE: [(&str, &str); 2] = [("content-length", "5"), ("etag", "\"e\"")];

#[tokio::test]
async fn clients_of_one_object_share_one_get() {
    let (bed, mut scripts) = Bed::scripted();
    let clients: Vec<_> = (0..50).map(|_| bed.begin("k")).collect();
    let source = scripts.recv().await.unwrap().open(&FIVE);
    source.send("he");
    source.send("llo");
    let mut collapsed = 0;
    for client in clients {
        let outcome = client.await.unwrap();
        collapsed += u32::from(handling(&outcome) == "fwd=uri-miss; collapsed");
        assert_eq!(body(outcome).await.unwrap(), b"hello");
    }
    assert_eq!(collapsed, 49);
    assert!(scripts.try_recv().is_err(), "one GET");
    settle().await;
    assert_eq!(handling(&bed.get("k").await), "hit; ttl=60");
}

#[tokio::test]
async fn one_who_joins_late_gets_what_is_there_at_once() {
    let (bed, mut scripts) = Bed::scripted();
    let first = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&FIVE);
    source.send("hel");
    let _first = first.await.unwrap();
    settle().await;
    let mut late = bed.get("k").await.reply.unwrap().body;
    assert_eq!(late.next().await.unwrap().unwrap(), "hel");
    source.send("lo");
    assert_eq!(late.next().await.unwrap().unwrap(), "lo");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn too_large_an_object_releases_those_who_wait() {
    let (bed, mut scripts) = Bed::scripted();
    let clients = [bed.begin("k"), bed.begin("k")];
    let mut bodies = vec![scripts.recv().await.unwrap().open(&[("content-length", "5000")])];
    bodies.push(scripts.recv().await.unwrap().open(&[("content-length", "5000")]));
    for source in &bodies {
        source.send(vec![b'x'; 5000]);
    }
    for client in clients {
        assert_eq!(body(client.await.unwrap()).await.unwrap().len(), 5000);
    }
    assert!(scripts.try_recv().is_err(), "each asked once");
    assert_eq!(bed.gateway.usage().objects, 0);
}

/// None of them waits for another one's answer.
#[tokio::test]
async fn a_thousand_who_wait_for_too_large_an_object_are_let_go_at_once() {
    let (bed, mut scripts) = Bed::scripted();
    let clients: Vec<_> = (0..1000).map(|_| bed.begin("k")).collect();
    let first = scripts.recv().await.unwrap();
    settle().await;
    let _first = first.open(&[("content-length", "5000")]);
    settle().await;
    let others: Vec<_> = std::iter::from_fn(|| scripts.try_recv().ok()).collect();
    assert_eq!(others.len(), 999, "all of them ask before one is answered");
    let _bodies: Vec<_> = others.into_iter().map(|other| other.open(&[("content-length", "5000")])).collect();
    for client in clients {
        assert!(client.await.unwrap().reply.is_ok());
    }
}

#[tokio::test]
async fn an_open_object_is_for_the_client_it_was_asked_for() {
    let (bed, mut scripts) = Bed::scripted();
    let (first, second) = (bed.begin("k"), bed.begin("k"));
    let asked = scripts.recv().await.unwrap();
    settle().await;
    asked.open(&[("content-length", "5000"), ("x-for", "first")]).send(vec![b'x'; 5000]);
    // The joined request asks for its own object, whichever client looks first.
    let own = scripts.recv().await.unwrap();
    own.open(&[("content-length", "5000"), ("x-for", "second")]).send(vec![b'x'; 5000]);
    assert_eq!(second.await.unwrap().reply.unwrap().headers["x-for"], "second");
    assert_eq!(first.await.unwrap().reply.unwrap().headers["x-for"], "first");
}

#[tokio::test]
async fn an_open_object_whose_client_has_left_is_dropped_at_once() {
    let (bed, mut scripts) = Bed::scripted();
    let first = bed.begin("k");
    let asked = scripts.recv().await.unwrap();
    let second = bed.begin("k");
    settle().await;
    first.abort();
    settle().await;
    let source = asked.open(&[("content-length", "5000")]);
    source.abandoned().await;
    scripts.recv().await.unwrap().open(&[("content-length", "5000")]).send(vec![b'x'; 5000]);
    assert_eq!(body(second.await.unwrap()).await.unwrap().len(), 5000);
}

#[tokio::test]
async fn the_sources_refusal_is_shared() {
    let (bed, mut scripts) = Bed::scripted();
    let clients = [bed.begin("k"), bed.begin("k")];
    let script = scripts.recv().await.unwrap();
    settle().await;
    script.fail(SourceError::new(ErrorKind::NotFound));
    for client in clients {
        assert_eq!(body(client.await.unwrap()).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert!(scripts.try_recv().is_err());
}

#[tokio::test]
async fn a_broken_fill_breaks_its_clients_and_stores_nothing() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&FIVE);
    source.send("hel");
    drop(source);
    assert_eq!(body(client.await.unwrap()).await.unwrap_err().kind(), ErrorKind::Broken);
    settle().await;
    assert_eq!((bed.gateway.usage().objects, bed.budget.reserved()), (0, 0));
    let again = bed.begin("k");
    scripts.recv().await.unwrap().open(&FIVE).send("again");
    assert_eq!(body(again.await.unwrap()).await.unwrap(), b"again");
}

#[tokio::test]
async fn a_client_who_leaves_before_the_head_takes_the_request_along() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let mut script = scripts.recv().await.unwrap();
    client.abort();
    script.abandoned().await;
}

#[tokio::test]
async fn a_fill_others_wait_for_goes_on() {
    let (bed, mut scripts) = Bed::scripted();
    let first = bed.begin("k");
    let script = scripts.recv().await.unwrap();
    let second = bed.begin("k");
    settle().await;
    first.abort();
    settle().await;
    let source = script.open(&FIVE);
    source.send("hello");
    assert_eq!(body(second.await.unwrap()).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_fill_known_to_be_small_goes_on_by_itself() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&FIVE);
    source.send("he");
    drop(client.await.unwrap());
    source.send("llo");
    settle().await;
    let hit = bed.get("k").await;
    assert_eq!(handling(&hit), "hit; ttl=60");
    assert_eq!(body(hit).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_client_who_leaves_a_stream_ends_it_at_the_source() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "5000")]);
    source.send("first");
    drop(client.await.unwrap());
    source.abandoned().await;
}

#[tokio::test]
async fn the_slowest_client_delays_no_one() {
    let (bed, mut scripts) = Bed::scripted();
    let (slow, quick) = (bed.begin("k"), bed.begin("k"));
    let source = scripts.recv().await.unwrap().open(&[("content-length", "1000")]);
    let slow = slow.await.unwrap();
    let mut quick = quick.await.unwrap().reply.unwrap().body;
    for piece in 0..100u8 {
        source.send(vec![piece; 10]);
        assert_eq!(quick.next().await.unwrap().unwrap(), vec![piece; 10]);
    }
    assert_eq!(body(slow).await.unwrap().len(), 1000);
}

/// A source that panics.
#[derive(Debug)]
struct Panicking;

#[async_trait]
impl ObjectSource for Panicking {
    async fn get(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        tokio::task::yield_now().await;
        panic!("as this test wants it");
    }

    async fn head(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<ObjectMeta>, SourceError> {
        unreachable!("not asked");
    }

    async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        unreachable!("not asked");
    }

    async fn list(&self, _: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        unreachable!("not asked")
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_source_that_panics_leaves_nobody_waiting() {
    let bed = Bed::over(Arc::new(Panicking));
    for client in [bed.begin("k"), bed.begin("k")] {
        assert_eq!(body(client.await.unwrap()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn memory_is_reserved_until_the_cache_answers_for_it() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&FIVE);
    let unread = client.await.unwrap();
    assert_eq!((bed.gateway.usage().objects, bed.budget.reserved()), (0, 5));
    source.send("hello");
    settle().await;
    assert_eq!((bed.gateway.usage().objects, bed.budget.reserved()), (1, 0));
    assert_eq!(body(unread).await.unwrap(), b"hello");
}

#[tokio::test]
async fn memory_of_what_the_cache_declines_is_reserved_until_the_last_reader_has_left() {
    let (source, mut scripts) = ScriptedSource::new();
    let budget = Arc::new(Budget::new(ITEM_MAX));
    let policy = BucketPolicy { cache: Some(cache_policy()), ..BucketPolicy::default() };
    let (cache, clock) = (Arc::new(MemoryCache::new(0)), Arc::new(ManualClock::default()));
    let gateway = Gateway::new(Arc::new(source), cache, policy, Common::new(Arc::clone(&budget), clock));
    let client = tokio::spawn(async move { gateway.execute(&request(Method::Get, "k")).await });
    let source = scripts.recv().await.unwrap().open(&FIVE);
    let unread = client.await.unwrap();
    source.send("hello");
    settle().await;
    assert_eq!(budget.reserved(), 5);
    drop(unread);
    assert_eq!(budget.reserved(), 0);
}

#[tokio::test]
async fn fills_beyond_the_budget_are_streamed() {
    let (bed, mut scripts) = Bed::scripted();
    let mut sources = Vec::new();
    for index in 0..5 {
        let client = bed.begin(&index.to_string());
        let source = scripts.recv().await.unwrap().open(&[("content-length", "1000")]);
        source.send("x");
        let stored = handling(&client.await.unwrap()).contains("stored");
        assert_eq!(stored, index < 4, "four objects of 1000 bytes fit");
        sources.push(source);
    }
    assert_eq!(bed.budget.reserved(), bed.budget.bytes_max());
    sources.clear();
    settle().await;
    assert_eq!(bed.budget.reserved(), 0);
}
