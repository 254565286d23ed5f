//! The source interface: a store, such as an S3 bucket, that objects are read from.

pub mod body;
pub mod circuit;
pub mod consequences;
pub mod error;
pub mod failover;
pub mod healing;
pub mod hedge;
pub mod list;
pub mod metered;
pub mod resume;
pub mod retry;
pub mod timeout;
pub mod trace;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;

/// An object, or the requested part of one, as a source opens it.
#[derive(Debug)]
pub struct Object {
    /// The header fields of the object.
    pub meta: ObjectMeta,
    /// The stream of its bytes, not yet read.
    pub body: ObjectBody,
}

/// A readable store of objects.
///
/// An implementation sends one request per call and makes no caching decisions. It never repeats a request that
/// may have been answered.
#[async_trait]
pub trait ObjectSource: Send + Sync + Debug {
    /// Opens an object, or the part that the request's `Range` selects.
    ///
    /// Returns as soon as the source's response head has arrived. The [`ObjectMeta`] holds every end-to-end field
    /// of the response. The body yields exactly the bytes promised there, or ends in an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future or the body abandons the request and leaves nothing running.
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError>;

    /// Returns an object's header fields. Same contract as [`get`](Self::get), without a body.
    async fn head(&self, key: &ObjectKey, request: &SourceRequest)
    -> Result<Answer<ObjectMeta>, SourceError>;

    /// Forwards a CORS preflight request (`OPTIONS`), which asks if a page of another origin may access an
    /// object. Returns the fields of the answer.
    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError>;

    /// Lists the objects of the source, page by page. A page has every object once that is there all the time, in the
    /// order of the keys. The fields and the query of the request have no effect.
    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError>;

    /// Checks that the source can serve requests now: it is reachable, the bucket exists, and the credentials are
    /// accepted.
    async fn probe(&self) -> Result<(), SourceError>;
}

/// The parts of a source request besides the key.
#[derive(Debug, Clone, Default)]
pub struct SourceRequest {
    /// Range, conditions, and the fields that the bucket forwards.
    pub headers: HeaderMap,
    /// The query parameters that the bucket forwards, percent-encoded and sorted by name.
    pub query: Option<Arc<str>>,
    /// For whom it is.
    pub traffic: Traffic,
    /// Records what is done for it, if anybody wants to know.
    pub trace: Option<Arc<SourceTrace>>,
}

/// For whom a request is. A source keeps some of its connections for those that are for many: they end soon, and a
/// stream may take hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Traffic {
    /// For the cache, and for everybody who asks for the object meanwhile.
    #[default]
    Shared,
    /// For one client alone, in a bucket with a cache.
    Alone,
    /// For no client: to find out whether the source answers. It does not wait behind those that do.
    Probe,
}

impl SourceRequest {
    /// Returns the request. `trace` records the attempts to answer it.
    #[must_use]
    pub(crate) fn traced(self, trace: &Arc<SourceTrace>) -> Self {
        Self { trace: Some(Arc::clone(trace)), ..self }
    }

    /// Records something that is done for the request.
    fn record(&self, done: impl FnOnce(&SourceTrace)) {
        if let Some(trace) = &self.trace {
            done(trace);
        }
    }

    /// Returns `true` if the answer may be a part of the object: for a `Range`, or for a part of a multipart upload
    /// (`partNumber`).
    pub fn wants_part(&self) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair));
        self.headers.contains_key(http::header::RANGE)
            || names.any(|name| name.eq_ignore_ascii_case("partNumber"))
    }
}

/// A successful answer of a source.
#[derive(Debug)]
pub enum Answer<T> {
    /// The object or a part of it.
    Object(T),
    /// 304: the copy that the request's conditions name is current (RFC 9110 15.4.5).
    NotModified(ObjectMeta),
}
