//! Logs and counts the failures of a bucket's source, whoever meets them: clients, fills and background revalidations.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use yatagarasu_core::source::consequences::Fault;
use yatagarasu_core::{Answer, Object, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest};

/// Time between two warnings of the same failure, while it lasts.
const REPEATED_AFTER: Duration = Duration::from_secs(60);

/// The failures of one bucket's source.
///
/// A failure is logged when it begins, once a minute while it lasts, and when it ends. Requests in between are counted.
#[derive(Debug)]
pub struct Failures {
    bucket: Arc<str>,
    /// Errors by the party at fault, in the order of [`FAULTS`].
    counts: [AtomicU64; FAULTS.len()],
    /// The failure of the gateway or the source that lasts.
    lasting: Mutex<Option<Episode>>,
    /// The number of episodes that have begun and not ended: 0 or 1. Most requests read only this.
    open: AtomicU64,
}

#[derive(Debug)]
struct Episode {
    begun: Instant,
    logged: Instant,
    /// Errors since it began.
    errors: u64,
    /// Errors since the latest line.
    unlogged: u64,
}

/// The parties that may be at fault, with their names in metrics.
pub(crate) const FAULTS: [(Fault, &str); 4] = [
    (Fault::Client, "client"),
    (Fault::Object, "object"),
    (Fault::Gateway, "gateway"),
    (Fault::Source, "source"),
];

impl Failures {
    pub(crate) fn new(bucket: Arc<str>) -> Arc<Self> {
        let counts = Default::default();
        Arc::new(Self { bucket, counts, lasting: Mutex::default(), open: AtomicU64::new(0) })
    }

    /// Returns the number of errors with each party at fault, in the order of [`FAULTS`].
    pub(crate) fn counts(&self) -> [u64; FAULTS.len()] {
        [0, 1, 2, 3].map(|index| self.counts[index].load(Ordering::Relaxed))
    }

    fn lasting(&self) -> MutexGuard<'_, Option<Episode>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw<T>(&self, key: &dyn Display, answer: &Result<T, SourceError>) {
        let Err(error) = answer else { return self.succeeded() };
        let fault = error.consequences().fault;
        let index = FAULTS.iter().position(|(one, _)| *one == fault).expect("all are listed");
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        match fault {
            // The source works as it should.
            Fault::Client | Fault::Object => self.succeeded(),
            Fault::Gateway | Fault::Source => self.failed(key, error),
        }
    }

    fn failed(&self, key: &dyn Display, error: &SourceError) {
        let (mut lasting, now, bucket) = (self.lasting(), Instant::now(), &*self.bucket);
        let whose = match error.consequences().fault {
            Fault::Gateway => "the gateway's own fault",
            Fault::Client | Fault::Object | Fault::Source => "the source failed",
        };
        match &mut *lasting {
            None => {
                tracing::warn!(%error, bucket, %key, "{whose}");
                *lasting = Some(Episode { begun: now, logged: now, errors: 1, unlogged: 0 });
                self.open.store(1, Ordering::Relaxed);
            }
            Some(episode) => {
                episode.errors += 1;
                episode.unlogged += 1;
                if now.duration_since(episode.logged) >= REPEATED_AFTER {
                    let (errors, seconds) = (episode.unlogged, now.duration_since(episode.begun).as_secs());
                    tracing::warn!(%error, bucket, %key, errors, seconds, "{whose}, and still does");
                    (episode.logged, episode.unlogged) = (now, 0);
                }
            }
        }
    }

    fn succeeded(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(episode) = self.lasting().take() else { return };
        self.open.store(0, Ordering::Relaxed);
        let (errors, seconds) = (episode.errors, episode.begun.elapsed().as_secs());
        tracing::info!(bucket = &*self.bucket, errors, seconds, "the source answers again");
    }
}

/// A source whose failures are logged and counted.
#[derive(Debug)]
pub(crate) struct Reported {
    source: Arc<dyn ObjectSource>,
    failures: Arc<Failures>,
}

impl Reported {
    pub(crate) fn new(source: Arc<dyn ObjectSource>, failures: Arc<Failures>) -> Self {
        Self { source, failures }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectSource for Reported {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let answer = self.source.get(key, request).await;
        self.failures.saw(key, &answer);
        answer
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        let answer = self.source.head(key, request).await;
        self.failures.saw(key, &answer);
        answer
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        let answer = self.source.preflight(key, request).await;
        self.failures.saw(key, &answer);
        answer
    }

    /// Readiness tells of its own failures.
    async fn probe(&self) -> Result<(), SourceError> {
        self.source.probe().await
    }
}

#[cfg(test)]
mod tests {
    use yatagarasu_core::ErrorKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_lasts_until_the_source_answers() {
        let failures = Failures::new("assets".into());
        let fails = |kind| failures.saw(&"k", &Err::<(), _>(SourceError::new(kind)));
        let lasting = || failures.lasting().as_ref().map(|episode| (episode.errors, episode.unlogged));
        fails(ErrorKind::Unavailable);
        fails(ErrorKind::Unauthenticated);
        assert_eq!(lasting(), Some((2, 1)));
        tokio::time::advance(REPEATED_AFTER).await;
        fails(ErrorKind::Unavailable);
        assert_eq!(lasting(), Some((3, 0)), "a line a minute");
        fails(ErrorKind::NotFound);
        assert_eq!(lasting(), None, "a 404 is an answer");
        failures.saw(&"k", &Ok(()));
        fails(ErrorKind::Invalid(http::StatusCode::BAD_REQUEST));
        assert_eq!(failures.counts(), [1, 1, 1, 2]);
    }
}
