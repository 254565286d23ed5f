//! Tests of stored objects: hits, ranges, conditions, and bodies of unknown length.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use http::StatusCode;
use yatagarasu_core::cache::{CacheCounters, Page, Position};
use yatagarasu_core::clock::{Clock, Moment};
use yatagarasu_core::http::coding::Accepted;
use yatagarasu_core::http::fields::is_immaterial;
use yatagarasu_core::{
    Admission, BucketPolicy, Budget, CacheEntry, CacheKey, CachePolicy, Common, ErrorKind, Gateway,
    GatewayError, KeyRef, Method, Negative, ObjectCache, Purge, ReplyBody, Request, Selector, SourceError,
    Usage,
};
use yatagarasu_testing::{ManualClock, MemoryCache, MemorySource, ScriptedSource, cache_key, request};

use crate::bed::{Bed, body, cache_policy, handling, settle};

fn asking(method: Method, key: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut request = request(method, key);
    for (name, value) in fields {
        request.headers.append(*name, value.parse().unwrap());
    }
    request
}

async fn answer(bed: &Bed, method: Method, fields: &[(&'static str, &str)]) -> (String, u16, Vec<u8>) {
    let outcome = bed.gateway.execute(&asking(method, "k", fields)).await;
    let (handling, reply) = (handling(&outcome), outcome.reply.unwrap());
    let status = reply.status.as_u16();
    let mut content = reply.body;
    (handling, status, crate::bed::read(&mut content).await.unwrap())
}

fn filled() -> (Bed, MemorySource) {
    let source = MemorySource::default();
    source.insert("k", &[("etag", "\"e\""), ("content-type", "text/plain")], "0123456789");
    (Bed::over(Arc::new(source.clone())), source)
}

#[tokio::test]
async fn what_is_recalled_is_what_would_be_answered() {
    let (bed, _) = filled();
    let _ = answer(&bed, Method::Get, &[]).await;
    settle().await;
    let odd = [("cookie", "c"), ("authorization", "a"), ("cache-control", "max-age=9"), ("x-odd", "o")];
    for method in [Method::Get, Method::Head] {
        for more in
            [&[][..], &[("range", "bytes=2-3")], &[("if-none-match", "\"e\"")], &[("if-match", "\"f\"")]]
        {
            let request = asking(method, "k", &[&odd[..], more].concat());
            let expected = bed.gateway.execute(&request).await;
            let recalled = bed.gateway.try_hit(request, None).expect("it is stored");
            assert_eq!(recalled.handling, expected.handling);
            match (recalled.reply, expected.reply) {
                (Ok(mut one), Ok(mut other)) => {
                    assert_eq!((one.status, one.headers), (other.status, other.headers), "{more:?}");
                    let (one, other) =
                        (crate::bed::read(&mut one.body).await, crate::bed::read(&mut other.body).await);
                    assert_eq!(one.unwrap(), other.unwrap());
                }
                (one, other) => assert!(one.is_err() && other.is_err(), "{more:?}"),
            }
        }
    }
    let pending = bed.gateway.try_hit(asking(Method::Get, "missing", &odd), None).expect_err("it is not");
    assert_eq!(handling(&bed.gateway.finish(pending).await), "fwd=uri-miss; fwd-status=404");
}

#[tokio::test]
async fn ages_do_not_depend_on_the_date() {
    let (bed, _) = filled();
    let (hour, start) = (Duration::from_secs(3600), bed.clock.date());
    let _ = answer(&bed, Method::Get, &[]).await;
    settle().await;
    bed.clock.advance(Duration::from_secs(20));
    for date in [start + 24 * hour, start - 24 * hour] {
        bed.clock.set_date(date);
        assert_eq!(answer(&bed, Method::Get, &[]).await.0, "hit; ttl=40");
    }
    bed.clock.advance(Duration::from_secs(50));
    let (handling, ..) = answer(&bed, Method::Get, &[]).await;
    assert!(handling.starts_with("fwd=stale"), "{handling}");
    // What is fetched now is as old as it says it is.
    let outcome = bed.gateway.execute(&request(Method::Get, "k")).await;
    assert_eq!(outcome.reply.unwrap().headers["age"], "0");
}

#[tokio::test]
async fn what_is_immaterial_changes_no_answer() {
    let (bed, _) = filled();
    let _ = answer(&bed, Method::Get, &[]).await;
    settle().await;
    let plain =
        bed.gateway.try_plain_hit(cache_key("k").borrowed(), Accepted::default()).expect("it is stored");
    for name in ["accept", "Accept-Encoding", "cookie", "pragma", "sec-fetch-mode", "x-forwarded-for", "via"]
    {
        assert!(is_immaterial(name), "{name}");
        for value in ["*", "no-cache", "bytes=0-1", "\"e\""] {
            let name: &'static str = name;
            let mut asked = request(Method::Get, "k");
            asked.headers.append(
                name.to_ascii_lowercase().parse::<http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            );
            let recalled = bed.gateway.try_hit(asked, None).expect("it is stored");
            let mut reply = recalled.reply.unwrap();
            assert_eq!((recalled.handling, reply.status.as_u16()), (plain.handling, 200), "{name}: {value}");
            assert_eq!(crate::bed::read(&mut reply.body).await.unwrap(), plain.stored.slice(&(0..u64::MAX)));
        }
    }
    for name in [
        "range",
        "if-match",
        "cache-control",
        "origin",
        "authorization",
        "x-request-id",
        "x-unknown",
        "connection",
    ] {
        assert!(!is_immaterial(name), "{name}");
    }
}

#[tokio::test]
async fn an_object_of_several_segments_is_recalled_as_well() {
    let source = MemorySource::default();
    let content: Vec<u8> = (0..700_000_u32).map(|index| (index % 251).to_le_bytes()[0]).collect();
    source.insert("long", &[("etag", "\"e\"")], content.clone());
    let cache = CachePolicy::new(1 << 20, Duration::from_secs(60));
    let policy = BucketPolicy { cache: Some(cache), ..BucketPolicy::default() };
    let (cache, clock) = (Arc::new(MemoryCache::new(1 << 22)), Arc::new(ManualClock::default()));
    let gateway =
        Gateway::new(Arc::new(source), cache, policy, Common::new(Arc::new(Budget::new(1 << 20)), clock));
    let mut first = gateway.execute(&request(Method::Get, "long")).await.reply.unwrap();
    assert!(crate::bed::read(&mut first.body).await.unwrap() == content);
    settle().await;
    let recalled =
        gateway.try_plain_hit(cache_key("long").borrowed(), Accepted::default()).expect("it is stored");
    let (segments, offset) = recalled.stored.whole().expect("all of it").from(0);
    assert_eq!((segments.len(), offset), (3, 0));
    assert!(segments.iter().flat_map(|segment| segment.iter()).eq(&content));
}

#[tokio::test]
async fn the_second_request_is_answered_from_memory() {
    let (bed, source) = filled();
    assert_eq!(
        answer(&bed, Method::Get, &[]).await,
        ("fwd=uri-miss; ttl=60; stored".into(), 200, b"0123456789".into())
    );
    settle().await;
    bed.clock.advance(Duration::from_secs(7));
    let hit = bed.get("k").await;
    assert_eq!(handling(&hit), "hit; ttl=53");
    let reply = hit.reply.unwrap();
    assert_eq!(
        (&reply.headers["age"], &reply.headers["content-type"]),
        (&"7".parse().unwrap(), &"text/plain".parse().unwrap())
    );
    assert_eq!((source.gets(), source.heads()), (1, 0));
}

#[tokio::test]
async fn heads_ranges_and_conditions_are_answered_from_memory() {
    let (bed, source) = filled();
    answer(&bed, Method::Get, &[]).await;
    settle().await;
    let hit = |status, content: &str| ("hit; ttl=60".to_owned(), status, content.as_bytes().to_vec());
    assert_eq!(answer(&bed, Method::Head, &[]).await, hit(200, ""));
    assert_eq!(answer(&bed, Method::Get, &[("range", "bytes=2-4")]).await, hit(206, "234"));
    assert_eq!(
        answer(&bed, Method::Get, &[("range", "bytes=2-4"), ("if-range", "\"x\"")]).await,
        hit(200, "0123456789")
    );
    assert_eq!(answer(&bed, Method::Get, &[("if-none-match", "\"e\"")]).await, hit(304, ""));
    for (field, wanted) in [
        (("range", "bytes=10-"), ErrorKind::RangeNotSatisfiable { complete_length: Some(10) }),
        (("if-match", "\"x\""), ErrorKind::PreconditionFailed),
    ] {
        let outcome = bed.gateway.execute(&asking(Method::Get, "k", &[field])).await;
        let Err(GatewayError::Source(error)) = outcome.reply else {
            panic!("{field:?}: {:?}", outcome.reply)
        };
        assert_eq!(error.kind(), wanted, "{field:?}");
    }
    assert_eq!((source.gets(), source.heads()), (1, 0));
}

#[tokio::test]
async fn ranges_and_heads_pass_on_a_miss_and_of_an_unknown_version_nothing_is_stored() {
    let (bed, source) = filled();
    source.insert("k", &[("etag", "W/\"e\"")], "0123456789");
    assert_eq!(
        answer(&bed, Method::Get, &[("range", "bytes=2-4")]).await,
        ("fwd=uri-miss".into(), 206, b"234".into())
    );
    assert_eq!(answer(&bed, Method::Head, &[]).await, ("fwd=uri-miss".into(), 200, vec![]));
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
    assert_eq!((source.gets(), source.heads()), (1, 1));
}

#[tokio::test]
async fn conditions_on_a_miss_are_decided_here_and_the_object_is_stored() {
    let (bed, source) = filled();
    let conditional = [("if-none-match", "\"e\"")];
    assert_eq!(
        answer(&bed, Method::Get, &conditional).await,
        ("fwd=uri-miss; fwd-status=200; ttl=60; stored".into(), 304, vec![])
    );
    settle().await;
    assert_eq!(answer(&bed, Method::Get, &conditional).await, ("hit; ttl=60".into(), 304, vec![]));
    assert_eq!(source.gets(), 1);
}

/// A cache that, when it is asked to store an object, reads the client's body to see how much has arrived.
#[derive(Debug)]
struct Spectator {
    inner: MemoryCache,
    client: Mutex<Option<ReplyBody>>,
    seen: Mutex<Vec<u8>>,
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value's"
)]
impl ObjectCache for Spectator {
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.inner.lookup(key)
    }

    fn store(&self, key: CacheKey, object: Arc<CacheEntry>) -> Admission {
        if let Some(mut body) = self.client.lock().unwrap().take() {
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(chunk)) = Pin::new(&mut body).poll_next(&mut cx) {
                self.seen.lock().unwrap().extend_from_slice(&chunk.unwrap());
            }
        }
        self.inner.store(key, object)
    }

    fn remove(&self, key: &CacheKey) {
        self.inner.remove(key);
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        self.inner.purge(selector).await
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        self.inner.expire(selector, now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        self.inner.page(selector, after)
    }

    fn counters(&self) -> CacheCounters {
        self.inner.counters()
    }
}

#[tokio::test]
async fn a_client_has_its_last_byte_before_the_object_is_stored() {
    let (source, mut scripts) = ScriptedSource::new();
    let cache = Arc::new(Spectator {
        inner: MemoryCache::new(1 << 20),
        client: Mutex::default(),
        seen: Mutex::default(),
    });
    let policy = BucketPolicy { cache: Some(cache_policy()), ..BucketPolicy::default() };
    let (budget, clock) = (Arc::new(Budget::new(1 << 20)), Arc::new(ManualClock::default()));
    let gateway = Gateway::new(Arc::new(source), Arc::clone(&cache) as _, policy, Common::new(budget, clock));
    let client = {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.execute(&request(Method::Get, "k")).await })
    };
    let source = scripts.recv().await.unwrap().open(&[("content-length", "5")]);
    *cache.client.lock().unwrap() = Some(client.await.unwrap().reply.unwrap().body);
    source.send("hel");
    source.send("lo");
    settle().await;
    assert_eq!(*cache.seen.lock().unwrap(), b"hello");
    assert_eq!(gateway.usage().objects, 1);
}

#[tokio::test]
async fn a_slow_client_of_a_whole_object_holds_nothing_up() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin_with(asking(Method::Get, "k", &[("if-none-match", "\"old\"")]));
    let source = scripts.recv().await.unwrap().open(&[("content-length", "3")]);
    source.send("new");
    let unread = client.await.unwrap();
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 1, "stored before the client reads");
    assert_eq!(body(unread).await.unwrap(), b"new");
}

#[tokio::test]
async fn a_slow_copy_does_not_replace_what_was_fetched_after_it() {
    let (bed, mut scripts) = Bed::scripted();
    let slow = bed.begin_with(asking(Method::Get, "k", &[("if-none-match", "\"other\"")]));
    let old = scripts.recv().await.unwrap().open(&[]);
    old.send("old");
    let slow = slow.await.unwrap();
    let quick = bed.begin("k");
    scripts.recv().await.unwrap().open(&[("content-length", "3")]).send("new");
    assert_eq!(body(quick.await.unwrap()).await.unwrap(), b"new");
    settle().await;
    drop(old);
    assert_eq!(body(slow).await.unwrap(), b"old");
    settle().await;
    assert_eq!(body(bed.get("k").await).await.unwrap(), b"new");
}

#[tokio::test]
async fn a_part_of_another_version_is_not_passed_on() {
    let (bed, mut scripts) = Bed::scripted();
    let fields = [("range", "bytes=0-1"), ("if-range", "\"mine\"")];
    let client = bed.begin_with(asking(Method::Get, "k", &fields));
    let part = [("content-range", "bytes 0-1/9"), ("content-length", "2"), ("etag", "\"new\"")];
    scripts.recv().await.unwrap().open(&part).send("xx");
    let again = scripts.recv().await.unwrap();
    assert!(!again.request.headers.contains_key("range"));
    again.open(&[("content-length", "3"), ("etag", "\"new\"")]).send("new");
    let whole = client.await.unwrap();
    assert_eq!(whole.reply.as_ref().unwrap().status, 200);
    assert_eq!(body(whole).await.unwrap(), b"new");

    let other = [("range", "bytes=0-1"), ("if-range", "\"new\"")];
    let client = bed.begin_with(asking(Method::Get, "other", &other));
    scripts.recv().await.unwrap().open(&part).send("ne");
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"ne");
}

/// A part that arrives slowly does not outlive what the source said later: a 404, remembered or not, or a refusal
/// without a reason.
#[tokio::test]
async fn no_number_of_ranges_keeps_a_later_one_from_being_stored() {
    let source = MemorySource::default();
    source.insert("k", &[("etag", "\"e\"")], vec![b'x'; 200]);
    let bed = Bed::over(Arc::new(source));
    let byte = async |offset: usize| {
        let range = format!("bytes={offset}-{offset}");
        let fields = [("range", range.as_str())];
        let (handling, status, content) = answer(&bed, Method::Get, &fields).await;
        assert_eq!((status, &content[..]), (206, &b"x"[..]));
        settle().await;
        handling
    };
    for index in 0..64 {
        byte(2 * index).await;
    }
    bed.clock.advance(Duration::from_secs(61));
    assert_eq!(byte(128).await, "fwd=partial; ttl=60; stored");
    assert_eq!(byte(128).await, "hit; ttl=60");
}

#[tokio::test]
async fn an_object_put_together_from_parts_is_served_as_any_other() {
    let (bed, _) = filled();
    for range in ["bytes=5-9", "bytes=0-6"] {
        answer(&bed, Method::Get, &[("range", range)]).await;
        settle().await;
    }
    let hit = bed
        .gateway
        .try_plain_hit(cache_key("k").borrowed(), Accepted::default())
        .expect("all of it is stored");
    assert_eq!(hit.stored.slice(&(0..10)), &b"0123456789"[..]);
    let lines = String::from_utf8_lossy(hit.stored.meta().lines()).into_owned();
    assert!(lines.contains("etag: \"e\"\r\n") && !lines.contains("content-range"), "{lines}");
}

#[tokio::test]
async fn a_slow_part_does_not_bring_back_an_object_that_is_gone() {
    let unexplained = ErrorKind::Unexplained(StatusCode::FORBIDDEN);
    for (ttl, refusal) in [(0, ErrorKind::NotFound), (60, ErrorKind::NotFound), (0, unexplained)] {
        for method in [Method::Get, Method::Head] {
            let negative = Negative { ttl: Duration::from_secs(ttl), missing: true, denied: false };
            let (source, mut scripts) = ScriptedSource::new();
            let cache = CachePolicy { negative, ..cache_policy() };
            let bed =
                Bed::with(Arc::new(source), BucketPolicy { cache: Some(cache), ..BucketPolicy::default() });
            let range = |fields| bed.begin_with(asking(Method::Get, "k", fields));
            let slow = range(&[("range", "bytes=0-1")]);
            let part = [("content-range", "bytes 0-1/9"), ("content-length", "2"), ("etag", "\"old\"")];
            let arriving = scripts.recv().await.unwrap().open(&part);
            let gone = bed.begin_with(asking(method, "k", &[("range", "bytes=4-5")]));
            scripts.recv().await.unwrap().fail(SourceError::new(refusal));
            gone.await.unwrap().reply.unwrap_err();
            settle().await;
            arriving.send("xx");
            assert_eq!(body(slow.await.unwrap()).await.unwrap(), b"xx");
            settle().await;
            let again = range(&[("range", "bytes=0-1")]);
            settle().await;
            match scripts.try_recv() {
                Ok(script) => drop(script),
                Err(_) => drop(again.await.unwrap().reply.expect_err("a part of an object that is gone")),
            }
        }
    }
}

/// RFC 9111 4.3.5: a HEAD that describes another version makes what is stored stale, and what still arrives of it.
#[tokio::test]
async fn a_slow_part_does_not_make_a_version_fresh_that_a_head_has_replaced() {
    let (bed, mut scripts) = Bed::scripted();
    let part = |range: &str| {
        [
            ("content-range", format!("bytes {range}/9")),
            ("content-length", "2".into()),
            ("etag", "\"old\"".into()),
        ]
    };
    let first = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=0-1")]));
    let fields = part("0-1");
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    scripts.recv().await.unwrap().open(&fields).send("xx");
    body(first.await.unwrap()).await.unwrap();
    settle().await;
    let slow = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=4-5")]));
    let fields = part("4-5");
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arriving = scripts.recv().await.unwrap().open(&fields);
    let head = bed.begin_with(asking(Method::Head, "k", &[("cache-control", "no-cache")]));
    drop(scripts.recv().await.unwrap().open(&[("content-length", "9"), ("etag", "\"new\"")]));
    head.await.unwrap().reply.unwrap();
    settle().await;
    arriving.send("xx");
    body(slow.await.unwrap()).await.unwrap();
    settle().await;
    let _again = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=0-1")]));
    settle().await;
    scripts.try_recv().expect("the source is asked: there is another version");
}

#[tokio::test]
async fn origins_that_get_the_same_share_a_copy() {
    let source = MemorySource::default();
    source.insert("k", &[], "x");
    let bed = Bed::over(Arc::new(source));
    let plain = asking(Method::Get, "k", &[]);
    let (a, b) = ("https://a.example", "https://b.example");
    let (a, b) = (asking(Method::Get, "k", &[("origin", a)]), asking(Method::Get, "k", &[("origin", b)]));
    for (request, expected) in
        [(&plain, false), (&a, false), (&b, true), (&plain, true), (&a, true), (&b, true)]
    {
        let outcome = bed.gateway.execute(request).await;
        assert_eq!((outcome.handling.x_cache() == "HIT"), expected, "{request:?}");
        body(outcome).await.unwrap();
        settle().await;
    }
    let everything = Selector::Key(plain.key.object.clone());
    assert_eq!(bed.gateway.purge(&everything, Purge::Drop).await, 2);
}

#[tokio::test]
async fn after_its_lifetime_the_source_is_asked_again() {
    let (bed, source) = filled();
    answer(&bed, Method::Get, &[]).await;
    settle().await;
    bed.clock.advance(Duration::from_secs(59));
    assert_eq!(answer(&bed, Method::Get, &[]).await.0, "hit; ttl=1");
    bed.clock.advance(Duration::from_secs(1));
    source.insert("k", &[], "new");
    assert_eq!(
        answer(&bed, Method::Get, &[]).await,
        ("fwd=stale; ttl=60; stored".into(), 200, b"new".into())
    );
    settle().await;
    assert_eq!(answer(&bed, Method::Get, &[]).await.0, "hit; ttl=60");
    assert_eq!(source.gets(), 2);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_stored_if_it_ends_in_time() {
    for (length, objects) in [(1000, 1), (1001, 0)] {
        let (bed, mut scripts) = Bed::scripted();
        let client = bed.begin("k");
        let source = scripts.recv().await.unwrap().open(&[]);
        for _ in 0..length {
            source.send("x");
        }
        drop(source);
        assert_eq!(body(client.await.unwrap()).await.unwrap().len(), length);
        settle().await;
        assert_eq!(bed.gateway.usage().objects, objects, "{length} bytes");
        assert_eq!(bed.budget.reserved(), 0);
    }
}

#[tokio::test]
async fn a_broken_body_of_unknown_length_is_not_stored() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[]);
    source.send("x");
    source.fail(SourceError::broken("cut"));
    assert!(body(client.await.unwrap()).await.is_err());
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
}

#[tokio::test]
async fn what_is_stored_holds_no_buffer_of_the_source() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "2")]);
    let buffer = bytes::Bytes::from(vec![b'x'; 4096]);
    source.send(buffer.slice(..2));
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"xx");
    drop(source);
    settle().await;
    assert!(buffer.is_unique(), "nothing but the test holds the read buffer");
}

#[tokio::test]
async fn requests_for_objects_that_do_not_exist_keep_no_fill_from_being_stored() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("slow");
    let slow = scripts.recv().await.unwrap().open(&[("content-length", "2"), ("etag", "\"e\"")]);
    for index in 0..2000 {
        let missing = bed.begin(&format!("missing-{index}"));
        scripts.recv().await.unwrap().fail(SourceError::new(ErrorKind::NotFound));
        missing.await.unwrap().reply.unwrap_err();
    }
    slow.send("xx");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(bed.get("slow").await.handling.x_cache(), "HIT");
}

#[tokio::test]
async fn a_later_answer_that_is_not_stored_makes_another_version_stale() {
    let (bed, mut scripts) = Bed::scripted();
    let v1 = [("content-length", "2"), ("etag", "\"1\""), ("cache-control", "max-age=600")];
    let v2 = [("content-length", "2"), ("etag", "\"2\""), ("cache-control", "no-store")];
    // The fill of the first version is slower than the answer to a client that wants a fresher one.
    let client = bed.begin("k");
    let slow = scripts.recv().await.unwrap().open(&v1);
    settle().await;
    let fresher = bed.begin_with(asking(Method::Get, "k", &[("cache-control", "no-cache")]));
    scripts.recv().await.unwrap().open(&v2).send("22");
    assert_eq!(body(fresher.await.unwrap()).await.unwrap(), b"22");
    slow.send("11");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    let _again = bed.begin("k");
    settle().await;
    scripts.try_recv().expect("S3 was asked later, and said another version");
}

#[tokio::test]
async fn a_slow_part_does_not_bring_back_the_fields_of_a_version_whose_fields_were_changed() {
    let (bed, mut scripts) = Bed::scripted();
    let part = |range: &'static str, control: &'static str| {
        [("content-range", range), ("content-length", "2"), ("etag", "\"e\""), ("cache-control", control)]
    };
    let slow = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=0-1")]));
    let arriving = scripts.recv().await.unwrap().open(&part("bytes 0-1/9", "max-age=86400"));
    let later = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=4-5")]));
    scripts.recv().await.unwrap().open(&part("bytes 4-5/9", "max-age=5")).send("45");
    body(later.await.unwrap()).await.unwrap();
    settle().await;
    arriving.send("01");
    body(slow.await.unwrap()).await.unwrap();
    settle().await;
    let joined = bed.gateway.execute(&asking(Method::Get, "k", &[("range", "bytes=0-1")])).await;
    assert_eq!(joined.handling.to_string(), "hit; ttl=5");
}

#[tokio::test]
async fn a_part_counts_for_the_fill_memory_as_long_as_it_is_read() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin_with(asking(Method::Get, "k", &[("range", "bytes=1-500")]));
    let part = [("content-range", "bytes 1-500/900"), ("content-length", "500"), ("etag", "\"e\"")];
    scripts.recv().await.unwrap().open(&part).send("x".repeat(500));
    let outcome = client.await.unwrap();
    settle().await;
    assert_eq!(bed.budget.reserved(), 500, "the cache has a copy");
    body(outcome).await.unwrap();
    assert_eq!(bed.budget.reserved(), 0);
}

#[tokio::test]
async fn an_object_that_was_purged_while_a_request_waited_does_not_bridge_an_outage() {
    let (source, mut scripts) = ScriptedSource::new();
    let cache = CachePolicy { stale_if_error: Duration::from_secs(60), ..cache_policy() };
    let bed = Bed::with(Arc::new(source), BucketPolicy { cache: Some(cache), ..BucketPolicy::default() });
    let client = bed.begin("k");
    scripts.recv().await.unwrap().open(&[("content-length", "1"), ("etag", "\"e\"")]).send("x");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    bed.clock.advance(Duration::from_secs(61));
    let waiting = bed.begin("k");
    let script = scripts.recv().await.unwrap();
    let selector = Selector::Key(cache_key("k").object);
    assert_eq!(bed.gateway.purge(&selector, Purge::Drop).await, 1);
    script.fail(SourceError::unavailable("down"));
    waiting.await.unwrap().reply.unwrap_err();
}
