//! The native backend: builds its own S3 requests.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode};
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, Object, ObjectBody, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest,
};

use crate::client::address::escape;
use crate::client::headers::end_to_end;
use crate::client::listing::list;
use crate::client::preflight::preflight;
use crate::client::probe::probe;
use crate::client::response::object_meta;
use crate::client::sender::{BucketClient, Outgoing};
use crate::http_client::body::BodyReader;

/// A bucket that is read with signed HTTP/1.1 requests.
#[derive(Debug)]
pub(crate) struct NativeSource {
    sender: Arc<BucketClient>,
}

impl NativeSource {
    pub(crate) fn new(sender: Arc<BucketClient>) -> Self {
        Self { sender }
    }

    async fn send(
        &self,
        method: Method,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Response<BodyReader>, SourceError> {
        let (query, headers) = (request.query.clone(), request.headers.clone());
        let traffic = request.traffic;
        self.sender.send(Outgoing { method, key: escape(key), query, headers, traffic }).await
    }
}

#[async_trait]
impl ObjectSource for NativeSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let (head, content) = self.send(Method::GET, key, request).await?.into_parts();
        if head.status == StatusCode::NOT_MODIFIED {
            return Ok(Answer::NotModified(ObjectMeta::new(end_to_end(head.headers))));
        }
        let meta = object_meta(head.status, head.headers, request)?;
        let body = ObjectBody::spliced(Box::pin(content), meta.content_length());
        Ok(Answer::Object(Object { meta, body }))
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        let head = self.send(Method::HEAD, key, request).await?.into_parts().0;
        if head.status == StatusCode::NOT_MODIFIED {
            return Ok(Answer::NotModified(ObjectMeta::new(end_to_end(head.headers))));
        }
        Ok(Answer::Object(object_meta(head.status, head.headers, request)?))
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        preflight(&self.sender, key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        list(&self.sender, listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        probe(self, &self.sender.credentials).await
    }
}
