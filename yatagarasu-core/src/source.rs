//! Where objects come from: the trait [`ObjectSource`], and what every source gives and says.
//!
//! A source opens an [`Object`] with a [`body`] that yields exactly the bytes it promises, or fails with an
//! [`error`](error::SourceError) that has a variant for each thing the gateway does next. [`timeout`] wraps any source.

pub mod body;
pub mod error;
pub mod timeout;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::body::ObjectBody;
use crate::source::error::SourceError;

/// An object, or the part of one that was asked for, as a source opens it.
#[derive(Debug)]
pub struct Object {
    /// The header fields that describe it.
    pub meta: ObjectMeta,
    /// Its bytes, not yet read.
    pub body: ObjectBody,
}

/// A store of objects that can be read.
///
/// Implementations send one request for each call, decide nothing about caching and repeat nothing that may have been
/// answered.
#[async_trait]
pub trait ObjectSource: Send + Sync + Debug {
    /// Opens an object, or the part of it that the request's `Range` asks for.
    ///
    /// The answer comes as soon as the source's response head is known. Every end-to-end field of the response
    /// is in its [`ObjectMeta`]; the body yields exactly the bytes promised there or ends in an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future or the body abandons the request and leaves nothing running.
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError>;

    /// Asks for an object's header fields. Same contract as [`get`](Self::get), without a body.
    async fn head(&self, key: &ObjectKey, request: &SourceRequest)
    -> Result<Answer<ObjectMeta>, SourceError>;

    /// Asks what a page of another origin may do with an object (the CORS protocol's preflight, an `OPTIONS`).
    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError>;

    /// Asks whether requests can be answered now: the source is reachable, the bucket exists and the
    /// credentials are accepted.
    async fn probe(&self) -> Result<(), SourceError>;
}

/// What a source is asked besides the key.
#[derive(Debug, Clone, Default)]
pub struct SourceRequest {
    /// Range, conditions and the fields a bucket forwards.
    pub headers: HeaderMap,
    /// The query parameters a bucket forwards, percent-encoded, in the order of their names.
    pub query: Option<Arc<str>>,
}

/// What a source answers when nothing went wrong.
#[derive(Debug)]
pub enum Answer<T> {
    /// The object, or its part.
    Object(T),
    /// The object is what the request's conditions say the client has (RFC 9110 15.4.5).
    NotModified(ObjectMeta),
}
