//! A source in memory, for tests of the gateway.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::conformance::SourceBed;
use crate::listing::page_of;
use yatagarasu_core::http::conditional::{Verdict, evaluate, range_applies};
use yatagarasu_core::http::content_range::content_range;
use yatagarasu_core::http::method::Method;
use yatagarasu_core::http::range::requested;
use yatagarasu_core::http::validator::Validators;
use yatagarasu_core::object::key::ObjectKey;
use yatagarasu_core::object::meta::ObjectMeta;
use yatagarasu_core::source::body::ObjectBody;
use yatagarasu_core::source::error::{ErrorKind, ErrorResponse, SourceError};
use yatagarasu_core::source::list::{ListPage, Listed, Listing};
use yatagarasu_core::source::{Answer, Object, ObjectSource, SourceRequest};

/// A source with objects in memory. Counts its requests. Clones share the objects and the counters.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    objects: Arc<Mutex<HashMap<String, (HeaderMap, Bytes)>>>,
    gets: Arc<AtomicU64>,
    heads: Arc<AtomicU64>,
}

impl MemorySource {
    /// Stores `content` under `key` and sets `Content-Length`.
    pub fn insert(&self, key: &str, headers: &[(&str, &str)], content: impl Into<Bytes>) {
        let content = content.into();
        let mut fields: HeaderMap = headers.iter().map(|(name, value)| field(name, value)).collect();
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(content.len()));
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (fields, content));
    }

    /// Removes the object under `key`.
    pub fn remove(&self, key: &str) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Returns the number of GET requests so far.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    /// Returns the number of HEAD requests so far.
    pub fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    fn open(
        &self,
        method: Method,
        key: &ObjectKey,
        asked: &HeaderMap,
    ) -> Result<Answer<Object>, SourceError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((headers, content)) = objects.get(key.as_str()) else {
            let response = ErrorResponse::new(StatusCode::NOT_FOUND, &HeaderMap::new());
            return Err(SourceError::new(ErrorKind::NotFound).answered(response));
        };
        let (mut headers, mut content) = (headers.clone(), content.clone());
        drop(objects);
        let validators = Validators::of(&headers);
        match evaluate(asked, &validators) {
            Verdict::PreconditionFailed => return Err(SourceError::precondition_failed(&headers)),
            Verdict::NotModified => return Ok(Answer::NotModified(ObjectMeta::new(headers))),
            Verdict::Proceed => {}
        }
        let length = content.len() as u64;
        // Like S3, supports a single range only.
        let range = requested(asked).and_then(|ranges| ranges.single());
        if let (true, Some(range)) = (range_applies(method, asked, &validators), range) {
            let Some(part) = range.resolve(length) else {
                return Err(SourceError::range_not_satisfiable(&headers, length));
            };
            headers.insert(header::CONTENT_RANGE, content_range(&part, length));
            let bound = |offset: u64| usize::try_from(offset).expect("within memory");
            content = content.slice(bound(part.start)..bound(part.end));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.len()));
        }
        let length = content.len() as u64;
        let body = ObjectBody::new(Box::pin(Chunks(content)), Some(length));
        Ok(Answer::Object(Object { meta: ObjectMeta::new(headers), body }))
    }
}

fn field(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a test names valid fields"), value.parse().expect("a test gives valid values"))
}

#[async_trait]
impl ObjectSource for MemorySource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.open(Method::Get, key, &request.headers)
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        Ok(match self.open(Method::Head, key, &request.headers)? {
            Answer::Object(object) => Answer::Object(object.meta),
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        Err(SourceError::new(ErrorKind::Denied))
    }

    async fn list(&self, listing: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |headers: &HeaderMap, name| headers.get(name)?.to_str().ok().map(str::to_owned);
        let listed = objects.iter().map(|(key, (headers, content))| Listed {
            key: key.clone(),
            size: content.len() as u64,
            modified: text(headers, header::LAST_MODIFIED)
                .and_then(|date| httpdate::parse_http_date(&date).ok()),
            etag: text(headers, header::ETAG),
        });
        page_of(listed.collect(), listing)
            .ok_or_else(|| SourceError::new(ErrorKind::Invalid(StatusCode::BAD_REQUEST)))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[async_trait]
impl SourceBed for MemorySource {
    async fn put(&self, key: &str, headers: &[(&str, &str)], content: Bytes) {
        self.insert(key, headers, content);
    }

    fn source(&self) -> Arc<dyn ObjectSource> {
        Arc::new(self.clone())
    }
}

/// Yields content in chunks of 16 KiB, as if it came from a socket.
struct Chunks(Bytes);

impl Stream for Chunks {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.len().min(16 * 1024);
        let chunk = self.0.split_to(next);
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }
}
