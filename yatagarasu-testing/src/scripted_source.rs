//! A source that a test answers request by request, for faults and timing.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot};

use yatagarasu_core::object::key::ObjectKey;
use yatagarasu_core::object::meta::ObjectMeta;
use yatagarasu_core::source::body::ObjectBody;
use yatagarasu_core::source::error::SourceError;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::source::{Answer, Object, ObjectSource, SourceRequest};

/// A source that hands each request to the test. The test answers it.
#[derive(Debug)]
pub struct ScriptedSource {
    asked: mpsc::UnboundedSender<Script>,
}

/// One request to the source, waiting for the test's response.
#[derive(Debug)]
pub struct Script {
    /// The requested key.
    pub key: ObjectKey,
    /// The rest of the request.
    pub request: SourceRequest,
    answer: oneshot::Sender<Result<Answer<Object>, SourceError>>,
}

/// The sending end of a response body. Dropping it ends the body.
#[derive(Debug)]
pub struct ScriptedBody {
    chunks: mpsc::UnboundedSender<Result<Bytes, SourceError>>,
}

impl ScriptedSource {
    /// Returns a source and the queue of its requests.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Script>) {
        let (asked, scripts) = mpsc::unbounded_channel();
        (Self { asked }, scripts)
    }

    async fn ask(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let (answer, answered) = oneshot::channel();
        let script = Script { key: key.clone(), request: request.clone(), answer };
        self.asked.send(script).expect("the test takes what the source is asked");
        answered.await.unwrap_or_else(|_| Err(SourceError::unavailable("the test gave no answer")))
    }
}

impl Script {
    /// Responds with an object. The test writes its body through the returned [`ScriptedBody`].
    pub fn open(self, headers: &[(&'static str, &str)]) -> ScriptedBody {
        let meta = meta(headers);
        let (chunks, received) = mpsc::unbounded_channel();
        let body = ObjectBody::new(Box::pin(Received(received)), meta.content_length());
        // The send fails if the request was abandoned. The test can detect that with `abandoned`.
        let _ = self.answer.send(Ok(Answer::Object(Object { meta, body })));
        ScriptedBody { chunks }
    }

    /// Responds that the object is not modified (304).
    pub fn not_modified(self, headers: &[(&'static str, &str)]) {
        let _ = self.answer.send(Ok(Answer::NotModified(meta(headers))));
    }

    /// Responds with an error.
    pub fn fail(self, error: SourceError) {
        let _ = self.answer.send(Err(error));
    }

    /// Waits until the caller drops the request.
    pub async fn abandoned(&mut self) {
        self.answer.closed().await;
    }
}

impl ScriptedBody {
    /// Sends a chunk of the body.
    pub fn send(&self, chunk: impl Into<Bytes>) {
        let _ = self.chunks.send(Ok(chunk.into()));
    }

    /// Ends the body with an error.
    pub fn fail(self, error: SourceError) {
        let _ = self.chunks.send(Err(error));
    }

    /// Waits until the reader drops the body.
    pub async fn abandoned(&self) {
        self.chunks.closed().await;
    }
}

#[async_trait]
impl ObjectSource for ScriptedSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.ask(key, request).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        Ok(match self.ask(key, request).await? {
            Answer::Object(object) => Answer::Object(object.meta),
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        match self.ask(key, request).await? {
            Answer::Object(object) => Ok(object.meta),
            Answer::NotModified(_) => Err(SourceError::broken("not modified, to a preflight")),
        }
    }

    async fn list(&self, _: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        Err(SourceError::unavailable("no test scripts a list"))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

fn meta(headers: &[(&'static str, &str)]) -> ObjectMeta {
    let fields: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().expect("a valid name"), value.parse().expect("a valid value")))
        .collect();
    ObjectMeta::new(fields)
}

struct Received(mpsc::UnboundedReceiver<Result<Bytes, SourceError>>);

impl Stream for Received {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
