//! A gateway over a test's source, and helpers to drive it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use yatagarasu_core::{
    BucketPolicy, CachePolicy, Gateway, GatewayError, Method, ObjectSource, Outcome, ReplyBody, Request,
    SourceError,
};
use yatagarasu_core::{Budget, Common};
use yatagarasu_testing::{ManualClock, MemoryCache, Script, ScriptedSource, request};

/// Length of the longest object that these gateways store, in bytes.
pub(crate) const ITEM_MAX: u64 = 1000;

pub(crate) struct Bed {
    pub(crate) gateway: Gateway,
    pub(crate) clock: ManualClock,
    pub(crate) budget: Arc<Budget>,
}

impl Bed {
    pub(crate) fn over(source: Arc<dyn ObjectSource>) -> Self {
        Self::with(source, policy())
    }

    pub(crate) fn with(source: Arc<dyn ObjectSource>, policy: BucketPolicy) -> Self {
        let clock = ManualClock::default();
        let budget = Arc::new(Budget::new(4 * ITEM_MAX));
        let gateway = Gateway::new(
            source,
            Arc::new(MemoryCache::new(1 << 20)),
            policy,
            Common::new(Arc::clone(&budget), Arc::new(clock.clone())),
        );
        Self { gateway, clock, budget }
    }

    pub(crate) fn scripted() -> (Self, mpsc::UnboundedReceiver<Script>) {
        let (source, scripts) = ScriptedSource::new();
        (Self::over(Arc::new(source)), scripts)
    }

    pub(crate) async fn get(&self, key: &str) -> Outcome {
        self.gateway.execute(&request(Method::Get, key)).await
    }

    /// Starts a GET as a client of its own.
    pub(crate) fn begin(&self, key: &str) -> tokio::task::JoinHandle<Outcome> {
        self.begin_with(request(Method::Get, key))
    }

    pub(crate) fn begin_with(&self, request: Request) -> tokio::task::JoinHandle<Outcome> {
        let gateway = self.gateway.clone();
        tokio::spawn(async move { gateway.execute(&request).await })
    }
}

fn policy() -> BucketPolicy {
    BucketPolicy { cache: Some(cache_policy()), ..BucketPolicy::default() }
}

/// Returns the cache policy of these gateways, unless a test sets another.
pub(crate) fn cache_policy() -> CachePolicy {
    CachePolicy::new(ITEM_MAX, Duration::from_secs(60))
}

/// Lets every task run until it waits for something.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until every task has ended.
pub(crate) async fn idle() {
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..100_000 {
        if metrics.num_alive_tasks() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} tasks do not end", metrics.num_alive_tasks());
}

pub(crate) fn handling(outcome: &Outcome) -> String {
    let status = outcome.reply.as_ref().map_or(http::StatusCode::BAD_GATEWAY, |reply| reply.status);
    outcome.handling.beside(status).to_string()
}

pub(crate) async fn body(outcome: Outcome) -> Result<Vec<u8>, SourceError> {
    match outcome.reply {
        Ok(reply) => read(&mut { reply.body }).await,
        Err(GatewayError::Source(error)) => Err(error),
        Err(GatewayError::OnlyIfCached) => panic!("nothing asked for what is cached only"),
    }
}

pub(crate) async fn read(body: &mut ReplyBody) -> Result<Vec<u8>, SourceError> {
    let mut content = Vec::new();
    while let Some(chunk) = body.next().await {
        content.extend_from_slice(&chunk?);
    }
    Ok(content)
}
