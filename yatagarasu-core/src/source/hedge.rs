//! Sends a second request where the first one takes unusually long.

mod latencies;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::consequences::Retry;
use crate::source::error::SourceError;
use crate::source::healing::Healing;
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;
use crate::source::{Answer, Object, ObjectSource, SourceRequest};
use latencies::Latencies;

/// What a second request costs. Each request earns 1, so that at most one in twenty is sent twice.
const COST: u64 = 20;

/// Most that can be saved: five second requests.
const SAVED_MAX: u64 = 5 * COST;

/// Sends a second GET if the first one has no response head after a time that 95 of 100 requests of the last minutes
/// did not need. The first answer counts, and the other request is cancelled.
///
/// S3 answers a few requests late because of a slow disk or server; another one is rarely as slow.
#[derive(Debug)]
pub struct Hedging {
    inner: Arc<dyn ObjectSource>,
    healing: Arc<Healing>,
    latencies: Latencies,
    saved: AtomicU64,
}

impl Hedging {
    /// Wraps `inner`. `healing` counts the second requests.
    pub fn new(inner: Arc<dyn ObjectSource>, healing: Arc<Healing>) -> Self {
        Self { inner, healing, latencies: Latencies::default(), saved: AtomicU64::default() }
    }

    async fn hedged<T, F>(&self, request: &SourceRequest, ask: impl Fn() -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let begun = Instant::now();
        self.earn();
        let mut first = pin!(ask());
        let answer = match self.latencies.unusual(begun) {
            None => first.await,
            Some(unusual) => tokio::select! {
                biased;
                answer = &mut first => answer,
                () = sleep(unusual), if self.can_spend() => {
                    if !self.spend() {
                        return first.await;
                    }
                    self.healing.hedges();
                    request.record(SourceTrace::hedged);
                    let mut second = pin!(ask());
                    // One that has failed leaves the answer to the other.
                    let (answer, is_second) = tokio::select! {
                        biased;
                        answer = &mut first => match answer {
                            Err(error) if error.retry() != Retry::Never => (second.await.or(Err(error)), true),
                            answer => (answer, false),
                        },
                        answer = &mut second => match answer {
                            Err(error) if error.retry() != Retry::Never => (first.await, false),
                            answer => (answer, true),
                        },
                    };
                    if is_second && answer.is_ok() {
                        self.healing.hedge_wins();
                    }
                    answer
                }
            },
        };
        if answer.is_ok() {
            self.latencies.record(begun.elapsed());
        }
        answer
    }

    fn earn(&self) {
        let _ = self.saved.try_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
            (saved < SAVED_MAX).then_some(saved + 1)
        });
    }

    fn can_spend(&self) -> bool {
        self.saved.load(Ordering::Relaxed) >= COST
    }

    fn spend(&self) -> bool {
        let spent = |saved: u64| saved.checked_sub(COST);
        self.saved.try_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Hedging {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.hedged(request, || self.inner.get(key, request)).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.inner.head(key, request).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.inner.preflight(key, request).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.inner.list(listing, request).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.inner.probe().await
    }
}
