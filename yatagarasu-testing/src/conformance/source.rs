//! The conformance suite of the `ObjectSource` trait.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::odd_keys;
use yatagarasu_core::object::key::ObjectKey;
use yatagarasu_core::source::error::{ErrorKind, SourceError};
use yatagarasu_core::source::list::{Listed, Listing, Pages};
use yatagarasu_core::source::{Answer, Object, ObjectSource, SourceRequest};

/// A source under test, and a way to store objects in it.
#[async_trait]
pub trait SourceBed: Send + Sync {
    /// Stores an object. `headers` always have `etag` and `last-modified`.
    async fn put(&self, key: &str, headers: &[(&str, &str)], content: Bytes);

    /// Returns the source under test.
    fn source(&self) -> Arc<dyn ObjectSource>;
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const FIELDS: [(&str, &str); 8] = [
    ("etag", "\"0123456789abcdef0123456789abcdef\""),
    ("last-modified", MODIFIED),
    ("content-type", "text/css; charset=utf-8"),
    ("content-encoding", "br"),
    ("content-disposition", "attachment; filename=\"a.css\""),
    ("content-language", "de"),
    ("cache-control", "max-age=60, public"),
    ("x-amz-meta-colour", "green"),
];

/// Runs every test of the [`ObjectSource`] contract.
pub async fn source_conformance(bed: &dyn SourceBed) {
    objects_come_whole_with_their_fields(bed).await;
    ranges_come_as_asked(bed).await;
    conditions_are_decided_by_the_source(bed).await;
    missing_objects_are_not_found(bed).await;
    bodies_of_every_size_come_byte_for_byte(bed).await;
    odd_keys_are_fetched_byte_for_byte(bed).await;
    lists_have_every_object_once(bed).await;
    lists_have_folders(bed).await;
    bed.source().probe().await.expect("the source is reachable");
}

async fn objects_come_whole_with_their_fields(bed: &dyn SourceBed) {
    bed.put("fields", &FIELDS, Bytes::from_static(b"body { }")).await;
    let (key, plain) = (key("fields"), SourceRequest::default());
    let object = opened(bed.source().get(&key, &plain).await);
    assert_eq!(object.meta.content_length(), Some(8));
    assert!(!object.meta.is_partial());
    let Ok(Answer::Object(head)) = bed.source().head(&key, &plain).await else {
        panic!("HEAD finds the object")
    };
    for (name, value) in FIELDS {
        assert_eq!(object.meta.headers().get(name).expect(name), value, "GET {name}");
        assert_eq!(head.headers().get(name).expect(name), value, "HEAD {name}");
    }
    assert_eq!(head.content_length(), Some(8));
    for name in ["x-amz-request-id", "x-amz-id-2", "connection", "keep-alive", "transfer-encoding"] {
        assert!(!object.meta.headers().contains_key(name), "{name} is the source's own");
    }
    assert_eq!(read(object).await, b"body { }");
}

async fn ranges_come_as_asked(bed: &dyn SourceBed) {
    bed.put("range", &FIELDS[..2], Bytes::from_static(b"0123456789")).await;
    for (range, expected, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let object = opened(bed.source().get(&key("range"), &asking(&[("range", range)])).await);
        assert!(object.meta.is_partial());
        assert_eq!(object.meta.headers()["content-range"], content_range);
        assert_eq!(object.meta.content_length(), Some(expected.len() as u64));
        assert_eq!(read(object).await, expected.as_bytes());
    }
    let beyond = bed.source().get(&key("range"), &asking(&[("range", "bytes=10-")])).await;
    assert!(matches!(kind(&beyond), Some(ErrorKind::RangeNotSatisfiable { .. })), "{beyond:?}");
}

async fn conditions_are_decided_by_the_source(bed: &dyn SourceBed) {
    bed.put("conditions", &FIELDS[..2], Bytes::from_static(b"x")).await;
    let (key, etag) = (key("conditions"), FIELDS[0].1);
    for condition in [("if-none-match", etag), ("if-modified-since", MODIFIED)] {
        let answer = bed.source().get(&key, &asking(&[condition])).await;
        assert!(matches!(answer, Ok(Answer::NotModified(_))), "GET {condition:?}: {answer:?}");
        let answer = bed.source().head(&key, &asking(&[condition])).await;
        assert!(matches!(answer, Ok(Answer::NotModified(_))), "HEAD {condition:?}: {answer:?}");
    }
    for condition in [("if-match", "\"another\""), ("if-unmodified-since", "Sat, 05 Nov 1994 08:49:37 GMT")] {
        let answer = bed.source().get(&key, &asking(&[condition])).await;
        assert_eq!(kind(&answer), Some(ErrorKind::PreconditionFailed), "GET {condition:?}: {answer:?}");
        let answer = bed.source().head(&key, &asking(&[condition])).await;
        assert_eq!(kind(&answer), Some(ErrorKind::PreconditionFailed), "HEAD {condition:?}: {answer:?}");
    }
    for condition in [("if-match", etag), ("if-none-match", "\"another\""), ("if-unmodified-since", LATER)] {
        opened(bed.source().get(&key, &asking(&[condition])).await);
    }
}

async fn missing_objects_are_not_found(bed: &dyn SourceBed) {
    let missing = bed.source().get(&key("missing"), &SourceRequest::default()).await;
    assert_eq!(kind(&missing), Some(ErrorKind::NotFound), "{missing:?}");
    let missing = bed.source().head(&key("missing"), &SourceRequest::default()).await;
    assert_eq!(kind(&missing), Some(ErrorKind::NotFound), "{missing:?}");
}

async fn bodies_of_every_size_come_byte_for_byte(bed: &dyn SourceBed) {
    for length in [0, 1, 4_095, 65_536, 5_000_001] {
        let content: Vec<u8> = (0..length).map(|index: u32| (index % 253) as u8).collect();
        bed.put("size", &FIELDS[..2], content.clone().into()).await;
        let object = opened(bed.source().get(&key("size"), &SourceRequest::default()).await);
        assert_eq!(object.body.remaining(), Some(u64::from(length)));
        assert!(read(object).await == content, "{length} bytes");
    }
}

async fn odd_keys_are_fetched_byte_for_byte(bed: &dyn SourceBed) {
    for (index, odd) in odd_keys().iter().enumerate() {
        bed.put(odd, &FIELDS[..2], format!("{index}").into()).await;
    }
    for (index, odd) in odd_keys().iter().enumerate() {
        let object = match bed.source().get(&key(odd), &SourceRequest::default()).await {
            Ok(Answer::Object(object)) => object,
            other => panic!("{odd:?}: {other:?}"),
        };
        assert_eq!(read(object).await, format!("{index}").as_bytes(), "{odd:?}");
    }
}

/// Reads all pages of a list.
async fn listed(bed: &dyn SourceBed, listing: &Listing) -> (Vec<Listed>, Vec<String>) {
    let source = bed.source();
    let mut pages = Pages::new(&*source, listing.clone(), SourceRequest::default());
    let (mut objects, mut folders) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.expect("the source lists");
        assert!(page.objects.len() + page.folders.len() <= usize::from(listing.keys_max));
        objects.extend(page.objects);
        folders.extend(page.folders);
    }
    (objects, folders)
}

async fn lists_have_every_object_once(bed: &dyn SourceBed) {
    let mut expected: Vec<_> = odd_keys().iter().map(|odd| format!("list/{odd}")).collect();
    expected.retain(|key| ObjectKey::parse(key).is_ok());
    for (index, key) in expected.iter().enumerate() {
        bed.put(key, &FIELDS[..2], vec![0; index].into()).await;
    }
    let sizes: HashMap<_, _> = expected.iter().cloned().zip(0..).collect();
    expected.sort();
    for keys_max in [1000, 7] {
        let listing = Listing { prefix: "list/".to_owned(), keys_max, ..Listing::default() };
        let (objects, folders) = listed(bed, &listing).await;
        assert!(folders.is_empty(), "{folders:?}");
        let keys: Vec<_> = objects.iter().map(|object| &*object.key).collect();
        assert_eq!(keys, expected, "{keys_max} a page");
        for object in objects {
            assert_eq!(object.size, sizes[&object.key], "{:?}", object.key);
            assert!(object.modified.is_some() && object.etag.is_some(), "{object:?}");
        }
    }
    let listing = Listing { prefix: "nothing has this/".to_owned(), keys_max: 1000, ..Listing::default() };
    assert_eq!(listed(bed, &listing).await, (Vec::new(), Vec::new()));
}

async fn lists_have_folders(bed: &dyn SourceBed) {
    for key in ["tree/a", "tree/b/1", "tree/b/2", "tree/b/c/3", "tree/d e+/4", "tree/f", "tree/g/", "trees"] {
        bed.put(key, &FIELDS[..2], Bytes::from_static(b"x")).await;
    }
    for (prefix, keys, expected) in [
        ("tree/", vec!["tree/a", "tree/f"], vec!["tree/b/", "tree/d e+/", "tree/g/"]),
        ("tree/b/", vec!["tree/b/1", "tree/b/2"], vec!["tree/b/c/"]),
        ("tree/g/", vec!["tree/g/"], vec![]),
        ("tree", vec!["trees"], vec!["tree/"]),
    ] {
        for keys_max in [1000, 2, 1] {
            let delimiter = Some("/".to_owned());
            let listing = Listing { prefix: prefix.to_owned(), delimiter, keys_max, ..Listing::default() };
            let (objects, folders) = listed(bed, &listing).await;
            let found: Vec<_> = objects.iter().map(|object| &*object.key).collect();
            assert_eq!(
                (found, folders.iter().map(|folder| &**folder).collect()),
                (keys.clone(), expected.clone()),
                "{prefix}"
            );
        }
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("a test names valid keys")
}

fn asking(fields: &[(&'static str, &str)]) -> SourceRequest {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a valid value"))
        })
        .collect();
    SourceRequest { headers, ..SourceRequest::default() }
}

#[track_caller]
fn kind<T>(answer: &Result<T, SourceError>) -> Option<ErrorKind> {
    answer.as_ref().err().map(SourceError::kind)
}

fn opened(answer: Result<Answer<Object>, SourceError>) -> Object {
    match answer {
        Ok(Answer::Object(object)) => object,
        other => panic!("expected an object: {other:?}"),
    }
}

async fn read(mut object: Object) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(chunk) = object.body.next().await {
        content.extend_from_slice(&chunk.expect("the body is whole"));
    }
    content
}
