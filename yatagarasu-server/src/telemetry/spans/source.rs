//! Records the requests to a source that are made for recorded requests of clients.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};
use tokio::time::Instant;
use yatagarasu_core::http::trace_context::{TRACE_PARENT, TraceContext};
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::source::metered::result_of;
use yatagarasu_core::{
    Answer, Clock, Object, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest, SystemClock,
};

use super::server_span::cut;
use super::{Ended, Tracer, Tracing};

/// A source, each of whose requests is a span below that of the client's request. The span ends with the head of the
/// response.
#[derive(Debug)]
pub(crate) struct Traced {
    inner: Arc<dyn ObjectSource>,
    tracing: Arc<Tracing>,
    /// The name of the bucket in the configuration, and the URL of the bucket at S3.
    bucket: Arc<str>,
    url: String,
}

/// A request on its way. Dropping it ends its span: as one that nobody waited for, unless it was answered.
struct Running<'a> {
    source: &'a Traced,
    tracer: Arc<Tracer>,
    operation: &'static str,
    key: &'a str,
    context: TraceContext,
    parent: u64,
    begun: (SystemTime, Instant),
    /// The kind of failure and its reason, if there is no answer.
    result: Result<(), (&'static str, String)>,
    /// The status that the source answered with, if it answered.
    status: Option<StatusCode>,
}

impl Traced {
    /// Wraps `inner`. `bucket` and `url` name it in spans.
    pub(crate) fn new(
        inner: Arc<dyn ObjectSource>,
        tracing: Arc<Tracing>,
        bucket: Arc<str>,
        url: String,
    ) -> Self {
        Self { inner, tracing, bucket, url }
    }

    /// Starts the span of a request, if it is made for one that is recorded. Returns the request as it is to be sent.
    fn begin<'a>(
        &'a self,
        operation: &'static str,
        key: &'a str,
        request: &'a SourceRequest,
    ) -> (Option<Running<'a>>, Cow<'a, SourceRequest>) {
        let parent = TraceContext::of(&request.headers).filter(TraceContext::is_sampled);
        let Some((parent, tracer)) = parent.and_then(|parent| Some((parent, self.tracing.tracer()?))) else {
            return (None, Cow::Borrowed(request));
        };
        let context = TraceContext { parent_id: fastrand::u64(1..), ..parent };
        let mut request = request.clone();
        request.headers.insert(TRACE_PARENT, context.field());
        let (begun, parent) = ((SystemClock.date(), Instant::now()), parent.parent_id);
        let result = Err(("abandoned", "nobody waited for it any more".to_owned()));
        let status = None;
        let running =
            Running { source: self, tracer, operation, key, context, parent, begun, result, status };
        (Some(running), Cow::Owned(request))
    }
}

impl Running<'_> {
    /// Ends a span, if there is one, with the answer to its request. `status` tells that of an answer that is no error.
    fn end<T>(
        running: Option<Self>,
        answer: Result<T, SourceError>,
        status: impl Fn(&T) -> StatusCode,
    ) -> Result<T, SourceError> {
        if let Some(mut running) = running {
            running.status = answer.as_ref().map_or_else(SourceError::status, |answer| Some(status(answer)));
            running.result =
                answer.as_ref().map(|_| ()).map_err(|error| (result_of(error), error.to_string()));
        }
        answer
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut attributes = vec![
            KeyValue::new("rpc.system", "aws-api"),
            KeyValue::new("rpc.service", "S3"),
            KeyValue::new("rpc.method", self.operation),
            KeyValue::new("url.full", self.source.url.clone()),
            KeyValue::new("yatagarasu.bucket", self.source.bucket.to_string()),
        ];
        if !self.key.is_empty() {
            attributes.push(KeyValue::new("aws.s3.key", cut(self.key).to_owned()));
        }
        if let Some(status) = self.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        let status = match &self.result {
            Ok(()) => Status::Unset,
            Err((kind, reason)) => {
                attributes.push(KeyValue::new("error.type", *kind));
                Status::error(cut(reason).to_owned())
            }
        };
        self.tracer.take(Ended {
            name: format!("S3/{}", self.operation),
            kind: SpanKind::Client,
            context: self.context,
            parent: Some((self.parent, false)),
            begun: self.begun.0,
            duration: self.begun.1.elapsed(),
            attributes,
            status,
        });
    }
}

/// Returns the status that came with these fields.
fn status_of(meta: &ObjectMeta) -> StatusCode {
    if meta.is_partial() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value's"
)]
impl ObjectSource for Traced {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let (running, request) = self.begin("GetObject", key.as_str(), request);
        Running::end(running, self.inner.get(key, &request).await, |answer| match answer {
            Answer::Object(object) => status_of(&object.meta),
            Answer::NotModified(_) => StatusCode::NOT_MODIFIED,
        })
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        let (running, request) = self.begin("HeadObject", key.as_str(), request);
        Running::end(running, self.inner.head(key, &request).await, |answer| match answer {
            Answer::Object(meta) => status_of(meta),
            Answer::NotModified(_) => StatusCode::NOT_MODIFIED,
        })
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        let (running, request) = self.begin("Options", key.as_str(), request);
        Running::end(running, self.inner.preflight(key, &request).await, |_| StatusCode::OK)
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        let (running, request) = self.begin("ListObjectsV2", "", request);
        Running::end(running, self.inner.list(listing, &request).await, |_| StatusCode::OK)
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.inner.probe().await
    }
}
