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
use yatagarasu_core::source::{Answer, Object, ObjectSource, SourceRequest};

/// A source that does what a test tells it, request by request.
#[derive(Debug)]
pub struct ScriptedSource {
    asked: mpsc::UnboundedSender<Script>,
}

/// One request the source was asked, waiting for the test's answer.
#[derive(Debug)]
pub struct Script {
    /// The key asked for.
    pub key: ObjectKey,
    /// The rest of the request.
    pub request: SourceRequest,
    answer: oneshot::Sender<Result<Answer<Object>, SourceError>>,
}

/// The far end of a body a test writes.
#[derive(Debug)]
pub struct ScriptedBody {
    chunks: mpsc::UnboundedSender<Result<Bytes, SourceError>>,
}

impl ScriptedSource {
    /// Makes a source, and the queue of what it is asked.
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
    /// Answers with an object whose body the test goes on to write.
    pub fn open(self, headers: &[(&'static str, &str)]) -> ScriptedBody {
        let meta = meta(headers);
        let (chunks, received) = mpsc::unbounded_channel();
        let body = ObjectBody::new(Box::pin(Received(received)), meta.content_length());
        // Nobody may be there to take it: that is for the test to find out.
        let _ = self.answer.send(Ok(Answer::Object(Object { meta, body })));
        ScriptedBody { chunks }
    }

    /// Answers that the object is what the request's conditions say.
    pub fn not_modified(self, headers: &[(&'static str, &str)]) {
        let _ = self.answer.send(Ok(Answer::NotModified(meta(headers))));
    }

    /// Answers with an error.
    pub fn fail(self, error: SourceError) {
        let _ = self.answer.send(Err(error));
    }

    /// Waits until whoever asked gives up.
    pub async fn abandoned(&mut self) {
        self.answer.closed().await;
    }
}

impl ScriptedBody {
    /// Sends bytes.
    pub fn send(&self, chunk: impl Into<Bytes>) {
        let _ = self.chunks.send(Ok(chunk.into()));
    }

    /// Breaks the body.
    pub fn fail(self, error: SourceError) {
        let _ = self.chunks.send(Err(error));
    }

    /// Waits until whoever reads the body drops it.
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
