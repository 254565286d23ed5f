//! A source: objects in a map. A store behind another protocol looks the same, with requests in place of the map.
//!
//! `cargo run -p yatagarasu-testing --example map_source` runs the suite that every source has to pass.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use yatagarasu_core::http::conditional::{Verdict, evaluate, range_applies};
use yatagarasu_core::http::content_range::content_range;
use yatagarasu_core::http::range::requested;
use yatagarasu_core::http::validator::Validators;
use yatagarasu_core::source::list::{ListPage, Listed, Listing};
use yatagarasu_core::{
    Answer, ErrorKind, Method, Object, ObjectBody, ObjectKey, ObjectMeta, ObjectSource, SourceError,
    SourceRequest,
};
use yatagarasu_testing::conformance::{SourceBed, source_conformance};

/// The objects by key: their fields, and their content. Clones share them.
#[derive(Debug, Clone, Default)]
struct MapSource(Arc<RwLock<BTreeMap<String, (HeaderMap, Bytes)>>>);

impl MapSource {
    fn objects(&self) -> BTreeMap<String, (HeaderMap, Bytes)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(
        &self,
        method: Method,
        key: &ObjectKey,
        asked: &HeaderMap,
    ) -> Result<Answer<Object>, SourceError> {
        // The kind of an error says what the gateway does with it: here it answers 404.
        let missing = || SourceError::new(ErrorKind::NotFound);
        let (mut fields, mut content) = self.objects().remove(key.as_str()).ok_or_else(missing)?;
        fields.insert(CONTENT_LENGTH, content.len().into());
        let validators = Validators::of(&fields);
        match evaluate(asked, &validators) {
            Verdict::PreconditionFailed => return Err(SourceError::precondition_failed(&fields)),
            Verdict::NotModified => return Ok(Answer::NotModified(ObjectMeta::new(fields))),
            Verdict::Proceed => {}
        }
        let range = requested(asked).and_then(|ranges| ranges.single());
        if let Some(range) = range.filter(|_| range_applies(method, asked, &validators)) {
            let length = content.len() as u64;
            let outside = || SourceError::range_not_satisfiable(&fields, length);
            let part = range.resolve(length).ok_or_else(outside)?;
            fields.insert(CONTENT_RANGE, content_range(&part, length));
            fields.insert(CONTENT_LENGTH, (part.end - part.start).into());
            let [first, end] =
                [part.start, part.end].map(|at| usize::try_from(at).expect("within the content"));
            content = content.slice(first..end);
        }
        let length = content.len() as u64;
        let body = ObjectBody::new(Box::pin(stream::iter([Ok(content)])), Some(length));
        Ok(Answer::Object(Object { meta: ObjectMeta::new(fields), body }))
    }
}

#[async_trait]
impl ObjectSource for MapSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.answer(Method::Get, key, &request.headers)
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        Ok(match self.answer(Method::Head, key, &request.headers)? {
            Answer::Object(object) => Answer::Object(object.meta),
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        Err(SourceError::new(ErrorKind::Denied))
    }

    async fn list(&self, listing: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        let (mut page, mut last) = (ListPage::default(), listing.continuation.clone());
        for (key, (fields, content)) in self.objects() {
            let Some(rest) = key.strip_prefix(&listing.prefix) else { continue };
            let end = listing.delimiter.as_ref().and_then(|end| Some(rest.find(end.as_str())? + end.len()));
            let name = end.map_or(&*key, |end| &key[..listing.prefix.len() + end]).to_owned();
            if last.as_ref().is_some_and(|last| name <= *last) {
                continue;
            }
            if page.objects.len() + page.folders.len() == usize::from(listing.keys_max) {
                page.next = last;
                break;
            }
            last = Some(name.clone());
            if end.is_some() {
                page.folders.push(name);
            } else {
                let text = |name| Some(fields.get(name)?.to_str().ok()?.to_owned());
                let modified = text(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(&date).ok());
                page.objects.push(Listed { key, size: content.len() as u64, modified, etag: text(ETAG) });
            }
        }
        Ok(page)
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Puts the objects of the suite into the source.
#[async_trait]
impl SourceBed for MapSource {
    async fn put(&self, key: &str, headers: &[(&str, &str)], content: Bytes) {
        let field = |(name, value): &(&str, &str)| {
            (name.parse().expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        let object = (headers.iter().map(field).collect(), content);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), object);
    }

    fn source(&self) -> Arc<dyn ObjectSource> {
        Arc::new(self.clone())
    }
}

/// Runs the suite.
#[tokio::main(flavor = "current_thread")]
pub async fn main() {
    source_conformance(&MapSource::default()).await;
}
