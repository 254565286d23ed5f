//! The rusoto backend: `rusoto_s3` builds the requests, and the [`BucketClient`] signs and sends them.
//!
//! `rusoto_s3` 0.48 is no longer maintained (RUSTSEC-2022-0071). Its responses keep only the header fields it knows,
//! its own transport is hyper 0.14 with an old rustls, and it supports neither virtual hosts nor additional request
//! fields. So each request gets a custom dispatcher. The dispatcher sends rusoto's request over the same signed
//! connections as the native backend's, and keeps the complete response head.

mod dispatch;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use rusoto_core::{ByteStream, Client, Region};
use rusoto_s3::{GetObjectRequest, HeadObjectRequest, S3, S3Client};
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Answer, Object, ObjectBody, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest,
};

use crate::client::headers::end_to_end;
use crate::client::listing::list;
use crate::client::preflight::preflight;
use crate::client::probe::probe;
use crate::client::response::object_meta;
use crate::client::sender::BucketClient;

use dispatch::{Dispatch, source_error};

/// A bucket that is read with requests from `rusoto_s3`.
pub(crate) struct RusotoSource {
    sender: Arc<BucketClient>,
    bucket: String,
}

impl RusotoSource {
    pub(crate) fn new(sender: Arc<BucketClient>, bucket: &str) -> Self {
        Self { sender, bucket: bucket.to_owned() }
    }

    /// Creates the client and the dispatcher for one request.
    fn client(&self, request: &SourceRequest) -> (S3Client, Arc<Dispatch>) {
        let dispatch = Arc::new(Dispatch::new(Arc::clone(&self.sender), &self.bucket, request.clone()));
        // The sender knows the real endpoint.
        let region = Region::Custom { name: self.sender.region(), endpoint: "http://unused".to_owned() };
        let client = S3Client::new_with_client(Client::new_not_signing(Arc::clone(&dispatch)), region);
        (client, dispatch)
    }
}

#[async_trait]
impl ObjectSource for RusotoSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let field = |name: HeaderName| text(&request.headers, &name);
        let input = GetObjectRequest {
            bucket: self.bucket.clone(),
            key: key.as_str().to_owned(),
            range: field(header::RANGE),
            if_match: field(header::IF_MATCH),
            if_none_match: field(header::IF_NONE_MATCH),
            if_modified_since: field(header::IF_MODIFIED_SINCE),
            if_unmodified_since: field(header::IF_UNMODIFIED_SINCE),
            ..GetObjectRequest::default()
        };
        let (client, dispatch) = self.client(request);
        match client.get_object(input).await {
            Ok(output) => {
                let (head, ()) = dispatch.head()?.into_parts();
                let meta = object_meta(head.status, head.headers, request)?;
                Ok(Answer::Object(object(meta, output.body)))
            }
            Err(_) => refused(dispatch.head()?),
        }
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        let field = |name: HeaderName| text(&request.headers, &name);
        let input = HeadObjectRequest {
            bucket: self.bucket.clone(),
            key: key.as_str().to_owned(),
            if_match: field(header::IF_MATCH),
            if_none_match: field(header::IF_NONE_MATCH),
            if_modified_since: field(header::IF_MODIFIED_SINCE),
            if_unmodified_since: field(header::IF_UNMODIFIED_SINCE),
            ..HeadObjectRequest::default()
        };
        let (client, dispatch) = self.client(request);
        match client.head_object(input).await {
            Ok(_) => {
                let (head, ()) = dispatch.head()?.into_parts();
                Ok(Answer::Object(object_meta(head.status, head.headers, request)?))
            }
            Err(_) => refused(dispatch.head()?),
        }
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        preflight(&self.sender, key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        // rusoto panics on numbers that it cannot parse, and reads a page of any length.
        list(&self.sender, listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        probe(self, &self.sender.credentials).await
    }
}

impl fmt::Debug for RusotoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RusotoSource").field("sender", &self.sender).finish_non_exhaustive()
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn object(meta: ObjectMeta, body: Option<ByteStream>) -> Object {
    let length = meta.content_length();
    let stream = body.unwrap_or_else(|| ByteStream::from(Vec::new())).map_err(source_error);
    Object { meta, body: ObjectBody::new(Box::pin(stream), length) }
}

/// Maps a response without an object to "not modified" or an error. The [`BucketClient`] has made errors of refusals.
fn refused<T>(head: Response<()>) -> Result<Answer<T>, SourceError> {
    let (head, ()) = head.into_parts();
    match head.status {
        StatusCode::NOT_MODIFIED => Ok(Answer::NotModified(ObjectMeta::new(end_to_end(head.headers)))),
        _ => Err(SourceError::broken("rusoto could not read the answer")),
    }
}
