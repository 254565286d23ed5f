//! Corner cases in which two rules meet: sharing between clients, and the keys of stored objects.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tokio::sync::mpsc::UnboundedReceiver;

use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, BucketPolicy, CachePolicy, ErrorKind, ForwardedFields, Method, Negative, Object, ObjectBody,
    ObjectKey, ObjectMeta, ObjectSource, Request, SourceError, SourceRequest,
};
use yatagarasu_testing::{Script, ScriptedSource, request};

use crate::bed::{Bed, body, cache_policy, settle};

const TAGGED: [(&str, &str); 2] = [("content-length", "1"), ("etag", "\"a\"")];

fn asking(method: Method, fields: &[(&'static str, &str)]) -> Request {
    let mut request = request(method, "k");
    for (name, value) in fields {
        request.headers.append(*name, value.parse().unwrap());
    }
    request
}

/// Returns the policy of a bucket that forwards languages, and serves stale objects while it revalidates them.
fn policy() -> BucketPolicy {
    let cache = CachePolicy { stale_while_revalidate: Duration::from_secs(1000), ..cache_policy() };
    let forward_headers = ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE]);
    BucketPolicy { cache: Some(cache), forward_headers, ..BucketPolicy::default() }
}

/// Stores an object with these fields and the content `a`, and lets it become stale.
async fn stale(fields: &[(&'static str, &str)], policy: BucketPolicy) -> (Bed, UnboundedReceiver<Script>) {
    let (source, mut scripts) = ScriptedSource::new();
    let bed = Bed::with(Arc::new(source), policy);
    let client = bed.begin("k");
    scripts.recv().await.unwrap().open(fields).send("a");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    bed.clock.advance(Duration::from_secs(61));
    (bed, scripts)
}

/// Does the same in a bucket that serves nothing stale.
async fn revalidated(fields: &[(&'static str, &str)]) -> (Bed, UnboundedReceiver<Script>) {
    stale(fields, BucketPolicy { cache: Some(cache_policy()), ..policy() }).await
}

#[tokio::test]
async fn who_joins_a_background_refresh_first_does_not_get_what_is_for_another() {
    let (bed, mut scripts) = stale(&TAGGED, policy()).await;
    assert_eq!(bed.get("k").await.handling.x_cache(), "HIT");
    let refresh = scripts.recv().await.unwrap();
    let joined = bed.begin_with(asking(Method::Get, &[("cache-control", "no-cache")]));
    settle().await;
    let private = |whose| [("content-length", "1"), ("cache-control", "private"), ("x-for", whose)];
    refresh.open(&private("the first")).send("1");
    settle().await;
    let own = scripts.try_recv().expect("it asks for itself");
    own.open(&private("the second")).send("2");
    assert_eq!(joined.await.unwrap().reply.unwrap().headers["x-for"], "the second");
}

#[tokio::test]
async fn a_304_that_makes_an_object_private_is_for_one_client() {
    let (bed, mut scripts) = revalidated(&TAGGED).await;
    let clients = [bed.begin("k"), bed.begin("k")];
    let validation = scripts.recv().await.unwrap();
    settle().await;
    validation.not_modified(&[("etag", "\"a\""), ("cache-control", "private"), ("x-for", "the first")]);
    settle().await;
    let own = scripts.try_recv().expect("the one who joined asks for itself");
    own.open(&TAGGED).send("a");
    for client in clients {
        client.await.unwrap().reply.unwrap();
    }
}

#[tokio::test]
async fn a_head_that_makes_an_object_private_leaves_nothing_stored() {
    let (bed, mut scripts) = revalidated(&TAGGED).await;
    let head = bed.begin_with(asking(Method::Head, &[]));
    let fields = [("content-length", "1"), ("etag", "\"a\""), ("cache-control", "private, max-age=60")];
    drop(scripts.recv().await.unwrap().open(&fields));
    head.await.unwrap().reply.unwrap();
    settle().await;
    let _later = bed.begin("k");
    settle().await;
    scripts.try_recv().expect("the source is asked");
}

/// Effect of a refusal on a stored object: it is served as before, served once S3 has confirmed it, or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Fresh,
    Stale,
    Nothing,
}

/// S3 sends no document with a refusal of HEAD, so the gateway's keys or clock may be the cause.
#[tokio::test]
async fn only_a_refusal_of_the_object_itself_drops_it() {
    use Method::{Get, Head};
    let remembering = Negative { ttl: Duration::from_secs(60), missing: false, denied: true };
    let unexplained = ErrorKind::Unexplained(StatusCode::FORBIDDEN);
    for (method, kind, left) in [
        (Head, unexplained, Left::Fresh),
        (Get, unexplained, Left::Stale),
        (Get, ErrorKind::Unauthenticated, Left::Fresh),
        (Head, ErrorKind::Unauthenticated, Left::Fresh),
        (Get, ErrorKind::Denied, Left::Nothing),
        (Get, ErrorKind::Archived, Left::Stale),
    ] {
        for negative in [Negative::default(), remembering] {
            // A remembered refusal replaces the object.
            let left = match left {
                Left::Stale if negative.denied => Left::Nothing,
                left => left,
            };
            assert_eq!(left_by(method, kind, negative).await, left, "{method:?} {kind:?} {negative:?}");
        }
    }
}

async fn left_by(method: Method, kind: ErrorKind, negative: Negative) -> Left {
    let (source, mut scripts) = ScriptedSource::new();
    let cache = CachePolicy { negative, ..cache_policy() };
    let bed = Bed::with(Arc::new(source), BucketPolicy { cache: Some(cache), ..policy() });
    let client = bed.begin("k");
    scripts.recv().await.unwrap().open(&TAGGED).send("a");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    let refused = bed.begin_with(asking(method, &[("cache-control", "no-cache")]));
    scripts.recv().await.unwrap().fail(SourceError::new(kind));
    refused.await.unwrap().reply.unwrap_err();
    settle().await;
    let again = bed.begin("k");
    settle().await;
    let Ok(script) = scripts.try_recv() else {
        return if again.await.unwrap().reply.is_ok() { Left::Fresh } else { Left::Nothing };
    };
    let conditional = script.request.headers.contains_key(header::IF_NONE_MATCH);
    if conditional { Left::Stale } else { Left::Nothing }
}

#[tokio::test]
async fn a_head_without_validators_confirms_nothing() {
    let (bed, mut scripts) = revalidated(&[("content-length", "1")]).await;
    let head = bed.begin_with(asking(Method::Head, &[]));
    drop(scripts.recv().await.unwrap().open(&[("content-length", "1"), ("x-version", "2")]));
    head.await.unwrap().reply.unwrap();
    settle().await;
    let _later = bed.begin("k");
    settle().await;
    scripts.try_recv().expect("the source is asked: the content may be another");
}

#[tokio::test]
async fn a_variant_of_unknown_length_is_found_again() {
    let (source, mut scripts) = ScriptedSource::new();
    let bed = Bed::with(Arc::new(source), policy());
    let german = || asking(Method::Get, &[("accept-language", "de")]);
    let client = bed.begin_with(german());
    scripts.recv().await.unwrap().open(&[("vary", "accept-language"), ("etag", "\"a\"")]).send("a");
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"a");
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 1);
    let _again = bed.begin_with(german());
    settle().await;
    assert!(scripts.try_recv().is_err(), "it is stored");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_unknown_length_holds_nobody_up_and_ends_when_it_is_too_long() {
    let (bed, mut scripts) = stale(&TAGGED, policy()).await;
    assert_eq!(bed.get("k").await.handling.x_cache(), "HIT");
    let refresh = scripts.recv().await.unwrap();
    let _joined = bed.begin_with(asking(Method::Get, &[("cache-control", "no-cache")]));
    settle().await;
    let endless = refresh.open(&[("etag", "\"b\"")]);
    endless.send(vec![b'x'; 1001]);
    settle().await;
    let ended = tokio::time::timeout(Duration::from_secs(1), endless.abandoned()).await;
    ended.expect("nobody wants more of it");
    scripts.try_recv().expect("the one who joined asks for itself as soon as the head is there");
}

#[tokio::test]
async fn parts_that_are_fetched_at_once_are_all_kept() {
    let (source, mut scripts) = ScriptedSource::new();
    let bed = Bed::with(Arc::new(source), policy());
    let ranges = ["bytes=0-1", "bytes=2-3"];
    let clients = ranges.map(|range| bed.begin_with(asking(Method::Get, &[("range", range)])));
    let asked = [scripts.recv().await.unwrap(), scripts.recv().await.unwrap()];
    // The later request ends first.
    for script in asked.into_iter().rev() {
        let range = script.request.headers["range"].to_str().unwrap().replace('=', " ") + "/4";
        script
            .open(&[("etag", "\"a\""), ("content-length", "2"), ("content-range", range.as_str())])
            .send("xx");
        settle().await;
    }
    for client in clients {
        body(client.await.unwrap()).await.unwrap();
    }
    settle().await;
    let _whole = bed.begin("k");
    settle().await;
    assert!(scripts.try_recv().is_err(), "all of it is stored");
}

#[tokio::test]
async fn clients_of_an_object_with_variants_share_one_get_while_it_arrives() {
    let (source, mut scripts) = ScriptedSource::new();
    let bed = Bed::with(Arc::new(source), policy());
    let begin = || bed.begin_with(asking(Method::Get, &[("accept-language", "de")]));
    let first = begin();
    let fields = [("content-length", "2"), ("vary", "accept-language")];
    let source = scripts.recv().await.unwrap().open(&fields);
    source.send("a");
    settle().await;
    let second = begin();
    settle().await;
    assert!(scripts.try_recv().is_err(), "one GET");
    source.send("a");
    for client in [first, second] {
        assert_eq!(body(client.await.unwrap()).await.unwrap(), b"aa");
    }
}

#[tokio::test]
async fn a_slow_variant_of_an_object_that_has_had_none_since_is_not_stored() {
    let (source, mut scripts) = ScriptedSource::new();
    let bed = Bed::with(Arc::new(source), policy());
    let asked = |language, more: &'static [(&'static str, &'static str)]| {
        bed.begin_with(asking(Method::Get, &[&[("accept-language", language)], more].concat()))
    };
    let varying = [("content-length", "1"), ("vary", "accept-language")];
    let slow = asked("de", &[]);
    let slow_source = scripts.recv().await.unwrap().open(&varying);
    settle().await;
    // The object has no variants now, and then it has some again.
    for (language, fields) in [("en", &varying[..1]), ("fr", &varying[..])] {
        let client = asked(language, &[("cache-control", "no-cache")]);
        scripts.recv().await.unwrap().open(fields).send("N");
        assert_eq!(body(client.await.unwrap()).await.unwrap(), b"N");
        if language == "en" {
            slow_source.send("O");
        }
        settle().await;
    }
    assert_eq!(body(slow.await.unwrap()).await.unwrap(), b"O");
    let client = asked("de", &[]);
    settle().await;
    scripts.try_recv().expect("the slow one is not stored").open(&varying).send("D");
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"D");
}

/// A source that answers every GET with an object that a test makes.
#[derive(Debug)]
struct Making {
    asked: AtomicU64,
    object: fn() -> Object,
}

impl Making {
    fn new(object: fn() -> Object) -> Arc<Self> {
        Arc::new(Self { asked: AtomicU64::new(0), object })
    }
}

fn meta(fields: &[(HeaderName, &'static str)]) -> ObjectMeta {
    let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    ObjectMeta::new(fields.collect())
}

/// A body of one piece.
struct OnePiece(Option<Bytes>);

impl Stream for OnePiece {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

struct PanickingBody;

impl Stream for PanickingBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        panic!("as this test wants it");
    }
}

#[async_trait]
impl ObjectSource for Making {
    async fn get(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Answer::Object((self.object)()))
    }

    async fn head(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<ObjectMeta>, SourceError> {
        unreachable!("not asked")
    }

    async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        unreachable!("not asked")
    }

    async fn list(&self, _: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        unreachable!("not asked")
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_object_of_which_a_source_sends_less_than_it_says_is_neither_whole_nor_stored() {
    let short = Making::new(|| Object {
        meta: meta(&[(header::CONTENT_LENGTH, "3"), (header::ETAG, "\"e\"")]),
        body: ObjectBody::new(Box::pin(OnePiece(Some(Bytes::from_static(b"ab")))), None),
    });
    let part = Making::new(|| Object {
        meta: meta(&[(header::CONTENT_LENGTH, "2"), (header::CONTENT_RANGE, "bytes 0-1/3")]),
        body: ObjectBody::new(Box::pin(OnePiece(Some(Bytes::from_static(b"ab")))), Some(2)),
    });
    for source in [short, part] {
        let bed = Bed::with(source.clone(), policy());
        for asked in 1..=2 {
            assert!(body(bed.get("k").await).await.is_err());
            settle().await;
            assert_eq!((bed.gateway.usage().objects, source.asked.load(Ordering::Relaxed)), (0, asked));
        }
    }
}

#[tokio::test]
async fn a_body_that_panics_is_not_joined_for_ever() {
    let source = Making::new(|| Object {
        meta: meta(&[(header::VARY, "accept-language"), (header::CONTENT_LENGTH, "1")]),
        body: ObjectBody::new(Box::pin(PanickingBody), Some(1)),
    });
    let bed = Bed::with(source.clone(), policy());
    for asked in 1..=3 {
        let client = bed.begin_with(asking(Method::Get, &[("accept-language", "de")]));
        assert!(body(client.await.unwrap()).await.is_err());
        settle().await;
        assert_eq!(source.asked.load(Ordering::Relaxed), asked);
    }
}

#[tokio::test]
async fn who_waits_for_an_authorized_clients_answer_shares_another_one() {
    let (bed, mut scripts) = Bed::scripted();
    let own = bed.begin_with(asking(Method::Get, &[("authorization", "Bearer t")]));
    let asked = scripts.recv().await.unwrap();
    let others = [bed.begin("k"), bed.begin("k")];
    settle().await;
    asked.open(&[("content-length", "3")]).send("own");
    scripts.recv().await.unwrap().open(&[("content-length", "3")]).send("all");
    assert_eq!(body(own.await.unwrap()).await.unwrap(), b"own");
    for other in others {
        assert_eq!(body(other.await.unwrap()).await.unwrap(), b"all");
    }
    settle().await;
    assert!(scripts.try_recv().is_err(), "one for those who may share it");
    assert_eq!(body(bed.get("k").await).await.unwrap(), b"all");
}
