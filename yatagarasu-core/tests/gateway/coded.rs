//! Tests of stored objects in content codings: when they are made, served, kept and dropped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use yatagarasu_core::cache::segments::SegmentsBuilder;
use yatagarasu_core::caching::compression::{Compression, CompressionJob, Compressor};
use yatagarasu_core::http::coding::{Accepted, CodedTypes, Coding};
use yatagarasu_core::http::response_fields::Pattern;
use yatagarasu_core::{BucketPolicy, Budget, Common, Gateway, Method, Purge, Reply, Segments, Selector};
use yatagarasu_testing::{ManualClock, MemoryCache, MemorySource, cache_key, request};

use crate::bed::{cache_policy, read, settle};

/// Takes jobs, which a test finishes when it wants.
#[derive(Debug, Default)]
struct Held {
    jobs: Mutex<Vec<CompressionJob>>,
    is_full: Mutex<bool>,
}

impl Compressor for Held {
    fn take(&self, job: CompressionJob) -> bool {
        let is_full = *self.is_full.lock().unwrap();
        if !is_full {
            self.jobs.lock().unwrap().push(job);
        }
        !is_full
    }
}

impl Held {
    fn jobs(&self) -> Vec<Coding> {
        self.jobs.lock().unwrap().iter().map(|job| job.coding).collect()
    }

    /// Finishes the first job: the content is the name of the coding and what is to be compressed.
    fn finish(&self) {
        let CompressionJob { coding, content, done } = self.jobs.lock().unwrap().remove(0);
        let Some(content) = content() else { return };
        let whole = content.slice(&(0..content.length()));
        done(Some(segments(&[coding.name().as_bytes(), b":", &whole].concat())));
    }

    fn fail(&self) {
        let job = self.jobs.lock().unwrap().remove(0);
        (job.done)(None);
    }
}

fn segments(bytes: &[u8]) -> Segments {
    let mut segments = SegmentsBuilder::new(Some(bytes.len() as u64));
    segments.push(bytes);
    segments.finish()
}

struct Coded {
    gateway: Gateway,
    source: Arc<MemorySource>,
    compressor: Arc<Held>,
    clock: ManualClock,
}

const TEXT: [(&str, &str); 3] =
    [("content-type", "text/css"), ("etag", "\"e\""), ("x-amz-checksum-crc32", "of-the-whole")];

impl Coded {
    async fn start(headers: &[(&str, &str)], content: &'static str) -> Self {
        let (source, compressor, clock) =
            (Arc::new(MemorySource::default()), Arc::new(Held::default()), ManualClock::default());
        source.insert("k", headers, content);
        let types = Arc::new(CodedTypes(vec![Pattern::new("text/*").unwrap()]));
        let compression = Compression {
            codings: vec![Coding::Brotli, Coding::Gzip],
            compress: true,
            types: Arc::clone(&types),
            bytes_min: 3,
        };
        let policy = BucketPolicy {
            cache: Some(cache_policy()),
            compression: Some(Arc::new(compression)),
            response_fields: Arc::new(
                BucketPolicy::default().response_fields.as_ref().clone().coding(Some(types)),
            ),
            ..BucketPolicy::default()
        };
        let common = Common {
            budget: Arc::new(Budget::new(1 << 20)),
            clock: Arc::new(clock.clone()),
            compressor: Arc::clone(&compressor) as _,
        };
        let cache = Arc::new(MemoryCache::new(1 << 20));
        let gateway = Gateway::new(Arc::clone(&source) as _, cache, policy, common);
        let coded = Self { gateway, source, compressor, clock };
        coded.get(&[]).await;
        settle().await;
        coded
    }

    async fn get(&self, fields: &[(HeaderName, &str)]) -> (Reply, String) {
        let mut asked = request(Method::Get, "k");
        for (name, value) in fields {
            asked.headers.append(name, value.parse().unwrap());
        }
        let mut reply = self.gateway.execute(&asked).await.reply.unwrap();
        let content = read(&mut reply.body).await.unwrap();
        (reply, String::from_utf8(content).unwrap())
    }

    async fn accepting(&self, codings: &str) -> String {
        self.get(&[(header::ACCEPT_ENCODING, codings)]).await.1
    }

    fn plain(&self, codings: &str) -> String {
        let accepted = Accepted::parse([codings.as_bytes()].into_iter());
        let hit = self.gateway.try_plain_hit(cache_key("k").borrowed(), accepted).expect("it is stored");
        String::from_utf8(hit.stored.slice(&(0..u64::MAX)).to_vec()).unwrap()
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_form_is_made_once_and_served_to_those_who_accept_it() {
    let coded = Coded::start(&TEXT, "object").await;
    assert!(coded.compressor.jobs().is_empty(), "nobody has asked for one");
    for _ in 0..3 {
        assert_eq!(coded.accepting("br, gzip, zstd").await, "object");
        assert_eq!(coded.plain("br"), "object");
    }
    assert_eq!(coded.compressor.jobs(), [Coding::Brotli]);
    assert_eq!(coded.plain("gzip"), "object");
    assert_eq!(coded.compressor.jobs(), [Coding::Brotli, Coding::Gzip]);
    coded.compressor.finish();
    coded.compressor.finish();
    assert_eq!(coded.plain("br, gzip"), "br:object");
    assert_eq!(coded.accepting("gzip;q=1, br;q=0.1").await, "gzip:object");
    assert_eq!((coded.plain(""), coded.plain("zstd")), ("object".to_owned(), "object".to_owned()));
    assert!(coded.compressor.jobs().is_empty());
    assert_eq!(coded.source.gets(), 1);
}

#[tokio::test]
async fn a_form_has_fields_of_its_own() {
    let coded = Coded::start(&TEXT, "object").await;
    coded.accepting("br").await;
    coded.compressor.finish();
    let accept = (header::ACCEPT_ENCODING, "br");
    let (reply, _) = coded.get(std::slice::from_ref(&accept)).await;
    let field = |name| text(&reply.headers, name);
    assert_eq!((field("content-encoding"), field("etag"), field("content-length")), ("br", "W/\"e\"", "9"));
    assert_eq!(
        (field("vary"), field("content-type"), field("x-amz-checksum-crc32")),
        ("Accept-Encoding", "text/css", "")
    );
    let (reply, content) = coded.get(&[]).await;
    assert_eq!((content.as_str(), text(&reply.headers, "etag")), ("object", "\"e\""));
    assert_eq!(text(&reply.headers, "x-amz-checksum-crc32"), "of-the-whole");
    let (reply, _) = coded.get(&[(header::IF_NONE_MATCH, "\"e\"")]).await;
    assert_eq!((reply.status.as_u16(), text(&reply.headers, "vary")), (304, "Accept-Encoding"));
    for tag in ["\"e\"", "W/\"e\""] {
        let (reply, _) = coded.get(&[accept.clone(), (header::IF_NONE_MATCH, tag)]).await;
        assert_eq!((reply.status.as_u16(), text(&reply.headers, "etag")), (304, "W/\"e\""), "{tag}");
        assert_eq!(text(&reply.headers, "vary"), "Accept-Encoding");
    }
    // Ranges and strong conditions select bytes of the object itself.
    let (reply, content) = coded.get(&[accept.clone(), (header::RANGE, "bytes=0-2")]).await;
    assert_eq!((reply.status.as_u16(), content.as_str()), (206, "obj"));
    let (reply, content) = coded.get(&[accept, (header::IF_MATCH, "\"e\"")]).await;
    assert_eq!((reply.status.as_u16(), content.as_str()), (200, "object"));
}

#[tokio::test]
async fn what_must_stay_as_it_is_has_no_form() {
    for (headers, content) in [
        (&[("content-type", "image/png")][..], "object"),
        (&[("content-type", "text/css"), ("content-encoding", "gzip")], "object"),
        (&[("content-type", "text/css"), ("cache-control", "no-transform")], "object"),
        (&[("content-type", "text/css")], "ob"),
    ] {
        let coded = Coded::start(headers, content).await;
        assert_eq!((coded.accepting("br").await.as_str(), coded.plain("br").as_str()), (content, content));
        assert!(coded.compressor.jobs().is_empty(), "{headers:?}");
    }
}

#[tokio::test]
async fn what_gets_hardly_shorter_is_not_tried_again() {
    let coded = Coded::start(&TEXT, "object").await;
    coded.plain("br");
    coded.compressor.fail();
    assert_eq!(coded.plain("br"), "object");
    assert!(coded.compressor.jobs().is_empty());
}

#[tokio::test]
async fn a_job_that_is_not_taken_comes_again() {
    let coded = Coded::start(&TEXT, "object").await;
    *coded.compressor.is_full.lock().unwrap() = true;
    coded.plain("br");
    assert!(coded.compressor.jobs().is_empty());
    *coded.compressor.is_full.lock().unwrap() = false;
    coded.plain("br");
    assert_eq!(coded.compressor.jobs(), [Coding::Brotli]);
    // A compressor that ends drops its jobs.
    coded.compressor.jobs.lock().unwrap().clear();
    coded.plain("br");
    assert_eq!(coded.compressor.jobs(), [Coding::Brotli]);
}

#[tokio::test]
async fn a_form_of_what_was_purged_or_replaced_is_not_stored() {
    let coded = Coded::start(&TEXT, "object").await;
    coded.plain("br");
    coded.gateway.purge(&Selector::All, Purge::Drop).await;
    coded.compressor.finish();
    assert!(coded.gateway.try_plain_hit(cache_key("k").borrowed(), Accepted::default()).is_err());
    coded.get(&[]).await;
    settle().await;
    coded.plain("br");
    coded.source.insert("k", &[("content-type", "text/css"), ("etag", "\"f\"")], "another");
    coded.gateway.purge(&Selector::All, Purge::MarkStale).await;
    coded.get(&[]).await;
    settle().await;
    coded.compressor.finish();
    assert_eq!(coded.accepting("br").await, "another", "the form is of the version before");
    coded.compressor.finish();
    assert_eq!(coded.accepting("br").await, "br:another");
    // A form goes with its object.
    assert_eq!(coded.gateway.purge(&Selector::All, Purge::Drop).await, 1);
    assert_eq!(coded.accepting("br").await, "another");
}

#[tokio::test]
async fn a_confirmed_object_keeps_its_forms() {
    let coded = Coded::start(&TEXT, "object").await;
    coded.plain("br");
    coded.compressor.finish();
    let before = coded.gateway.usage().bytes;
    coded.clock.advance(Duration::from_secs(90));
    let (reply, content) = coded.get(&[(header::ACCEPT_ENCODING, "br")]).await;
    assert_eq!((content.as_str(), text(&reply.headers, "age")), ("br:object", "0"));
    settle().await;
    assert_eq!(coded.plain("br"), "br:object");
    assert!(coded.compressor.jobs().is_empty());
    assert_eq!((coded.source.gets(), coded.gateway.usage().bytes), (2, before));
}

#[tokio::test]
async fn forms_that_are_stored_do_not_count_as_held_by_responses() {
    let coded = Coded::start(&TEXT, "object").await;
    for coding in ["br", "gzip"] {
        coded.plain(coding);
        coded.compressor.finish();
    }
    for coding in ["br", "gzip", ""] {
        let accepted = Accepted::parse([coding.as_bytes()].into_iter());
        let hit = coded.gateway.try_plain_hit(cache_key("k").borrowed(), accepted).expect("it is stored");
        assert_eq!(hit.stored.retired_bytes(), None, "{coding}");
    }
}

#[tokio::test]
async fn a_form_that_does_not_fit_leaves_the_object_and_is_not_made_again() {
    let coded = Coded::start(&TEXT, "object").await;
    coded.plain("br");
    let job = coded.compressor.jobs.lock().unwrap().remove(0);
    (job.done)(Some(segments(&vec![b'x'; 2 << 20])));
    assert_eq!(coded.plain("br"), "object");
    assert!(coded.compressor.jobs().is_empty());
    assert_eq!(coded.source.gets(), 1);
}

#[tokio::test]
async fn a_form_counts_for_the_memory_of_the_cache() {
    let coded = Coded::start(&TEXT, "object").await;
    let before = coded.gateway.usage().bytes;
    coded.plain("br");
    coded.compressor.finish();
    assert!(coded.gateway.usage().bytes > before + 9, "{}", coded.gateway.usage().bytes - before);
}
