//! Continues bodies that break off.

mod body;
mod rest;

use std::sync::Arc;

use async_trait::async_trait;

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;
use crate::source::healing::Healing;
use crate::source::list::{ListPage, Listing};
use crate::source::{Answer, Object, ObjectSource, SourceRequest};
use body::ResumedBody;
use rest::Rest;

/// Continues the bodies of a source that break off or stop, with requests for the rest of the same version.
///
/// The reader notices a pause. Bytes of two versions are never mixed: the rest is asked for with `If-Match`, and only
/// taken if it has the same strong entity tag, the same place and the same length. A body without a strong tag or
/// without a length is not continued, and one that breaks off again and again without getting on is given up.
#[derive(Debug)]
pub struct Resuming(Arc<Continuing>);

/// The source and the limits that every body of one [`Resuming`] uses.
#[derive(Debug)]
struct Continuing {
    inner: Arc<dyn ObjectSource>,
    healing: Arc<Healing>,
}

impl Resuming {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectSource>, healing: Arc<Healing>) -> Self {
        Self(Arc::new(Continuing { inner, healing }))
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Resuming {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let answer = self.0.inner.get(key, request).await?;
        let Answer::Object(Object { meta, body }) = answer else { return Ok(answer) };
        let length = body.remaining();
        let body = match Rest::of(key, request, &meta, length) {
            Some(rest) => {
                let body = ResumedBody::new(body, rest, Arc::clone(&self.0));
                ObjectBody::spliced(Box::pin(body), length)
            }
            None => body,
        };
        Ok(Answer::Object(Object { meta, body }))
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.0.inner.head(key, request).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.0.inner.preflight(key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.0.inner.list(listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.0.inner.probe().await
    }
}
