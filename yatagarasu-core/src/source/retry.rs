//! Sends a request again that failed before its response head arrived.

mod backoff;
mod budget;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout_at};

pub(super) use backoff::{pause, respect_retry_after};
pub use budget::RetryBudget;

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::healing::Healing;
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// The least time for an attempt, as a share of the deadline.
const ATTEMPT_SHARE: u32 = 10;

/// Sends failed requests again, as far as [`RetryPolicy`](crate::source::healing::RetryPolicy) and [`RetryBudget`]
/// allow.
///
/// Only failures of the source count ([`Consequences::retry`](crate::source::consequences::Consequences::retry)):
/// connections that fail, timeouts, invalid responses, errors within the source, and answers that ask for fewer
/// requests. The pause is random ([`pause`]), or what `Retry-After` says.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn ObjectSource>,
    healing: Arc<Healing>,
}

impl Retrying {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectSource>, healing: Arc<Healing>) -> Self {
        Self { inner, healing }
    }

    async fn repeated<T, F>(&self, request: &SourceRequest, ask: impl Fn() -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let limit = self.healing.policy.deadline;
        let deadline = Instant::now() + limit;
        let (mut failures, mut earlier) = (0, None);
        loop {
            let answer = timeout_at(deadline, ask()).await;
            let is_unsent = matches!(&answer, Ok(Err(error)) if error.kind() == ErrorKind::Down);
            if failures > 0 && !is_unsent {
                request.record(SourceTrace::retried);
            }
            let error = match answer {
                Ok(Ok(answer)) => {
                    self.healing.budget.earn(failures == 0);
                    return Ok(answer);
                }
                // What the source has said before says more than that it is not asked any more.
                Ok(Err(error)) if error.kind() == ErrorKind::Down => return Err(earlier.unwrap_or(error)),
                Ok(Err(error)) => error,
                Err(_) => {
                    let late = || SourceError::timed_out(limit, "no response head (`s3.deadline`)");
                    return Err(earlier.unwrap_or_else(late));
                }
            };
            self.healing.budget.earn(failures == 0);
            failures += 1;
            let Some(pause) = self.pause_after(&error, failures, deadline) else { return Err(error) };
            self.healing.retries(&error);
            earlier = Some(error);
            sleep(pause).await;
        }
    }

    /// Returns the pause before the request is sent again, or `None` if it is not.
    fn pause_after(&self, error: &SourceError, failures: u32, deadline: Instant) -> Option<Duration> {
        let random = pause(error.retry(), failures, fastrand::f64())?;
        let pause = respect_retry_after(random, error);
        // An attempt that has no time to end helps nobody.
        let least = self.healing.policy.deadline / ATTEMPT_SHARE;
        let ends = pause.checked_add(least).and_then(|time| Instant::now().checked_add(time));
        let may = failures < self.healing.policy.attempts && ends.is_some_and(|ends| ends <= deadline);
        (may && self.healing.pay(error, failures)).then_some(pause)
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Retrying {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.repeated(request, || self.inner.get(key, request)).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.repeated(request, || self.inner.head(key, request)).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.repeated(request, || self.inner.preflight(key, request)).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.repeated(request, || self.inner.list(listing, request)).await
    }

    /// Asks once: who probes does so again and again.
    async fn probe(&self) -> Result<(), SourceError> {
        self.inner.probe().await
    }
}
