//! One backend in front of an origin that answers as a test says.

use std::sync::Arc;

use yatagarasu_core::{Answer, Object, ObjectKey, ObjectSource, SourceError, SourceRequest, SystemClock};
use yatagarasu_s3::{SourceBackend, SourceConfig, build};
use yatagarasu_testing::origin::{Exchange, Origin, Reply};

/// Returns every backend that is compiled in.
pub(crate) fn backends() -> Vec<SourceBackend> {
    let all = [SourceBackend::Native, SourceBackend::Rusoto];
    all.into_iter().filter(|backend| backend.compiled().is_ok()).collect()
}

/// A source, and the origin that it sends its requests to.
pub(crate) struct Bed {
    pub(crate) origin: Origin,
    pub(crate) source: Arc<dyn ObjectSource>,
}

impl Bed {
    /// Starts both. The test answers the requests.
    pub(crate) async fn by_hand(backend: SourceBackend) -> Self {
        let origin = Origin::by_hand().await;
        let source = source(&origin.source_config("bucket", backend)).await;
        Self { origin, source }
    }

    /// Starts both. The origin answers each request with these bytes and closes the connection.
    pub(crate) async fn saying(backend: SourceBackend, text: &str) -> Self {
        let origin = Origin::start().await;
        origin.answer("k", [Reply::raw(text.to_owned())]);
        let source = source(&origin.source_config("bucket", backend)).await;
        Self { origin, source }
    }

    /// Answers the request of the next connection.
    pub(crate) async fn answer(&self, text: &str) -> Exchange {
        let mut exchange = self.origin.next().await;
        exchange.write(text).await;
        exchange
    }

    pub(crate) async fn get(&self) -> Result<Object, SourceError> {
        get(&*self.source, &SourceRequest::default()).await
    }

    /// Returns the whole content.
    pub(crate) async fn whole(&self) -> Result<String, SourceError> {
        let mut object = self.get().await?;
        let mut content = Vec::new();
        while let Some(chunk) = object.body.next().await {
            content.extend_from_slice(&chunk?);
        }
        Ok(String::from_utf8(content).unwrap())
    }
}

pub(crate) async fn source(config: &SourceConfig) -> Arc<dyn ObjectSource> {
    build(config, Arc::new(SystemClock)).await.unwrap().source
}

/// Asks for the object `k`, without a condition that its validators fulfil.
pub(crate) async fn get(source: &dyn ObjectSource, request: &SourceRequest) -> Result<Object, SourceError> {
    match source.get(&ObjectKey::parse("k").unwrap(), request).await? {
        Answer::Object(object) => Ok(object),
        Answer::NotModified(_) => panic!("the object has not been there before"),
    }
}
