//! Logs and counts the failures of a bucket's source, whoever meets them: clients, fills and background revalidations.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use yatagarasu_core::source::consequences::Fault;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{Answer, Object, ObjectKey, ObjectMeta, ObjectSource, SourceError, SourceRequest};

/// Time between two warnings about the same fault, and time without a failure after which it has ended. One broken
/// object among many good ones, or one node of several, would otherwise begin and end it with every request.
const PERIOD: Duration = Duration::from_secs(60);

/// The failures of one bucket's source.
///
/// A fault is logged when it begins, once a minute while it lasts, and when requests have succeeded for a minute.
/// Failures in between are counted.
#[derive(Debug)]
pub struct Failures {
    bucket: Arc<str>,
    /// Errors by the party at fault, in the order of [`FAULTS`].
    counts: [AtomicU64; FAULTS.len()],
    lasting: Mutex<Lasting>,
    /// Whether a fault lasts. Most requests read only this.
    open: AtomicBool,
}

/// The faults that last.
#[derive(Debug, Default)]
struct Lasting {
    gateway: Option<Episode>,
    source: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    begun: Instant,
    logged: Instant,
    latest: Instant,
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

const GATEWAY: &str =
    "requests to the source fail: check this gateway's credentials, clock and configuration";
const SOURCE: &str = "requests to the source fail";

impl Failures {
    pub(crate) fn new(bucket: Arc<str>) -> Arc<Self> {
        let counts = Default::default();
        Arc::new(Self { bucket, counts, lasting: Mutex::default(), open: AtomicBool::new(false) })
    }

    /// Returns the number of errors with each party at fault, in the order of [`FAULTS`].
    pub(crate) fn counts(&self) -> [u64; FAULTS.len()] {
        [0, 1, 2, 3].map(|index| self.counts[index].load(Ordering::Relaxed))
    }

    fn lasting(&self) -> MutexGuard<'_, Lasting> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw<T>(&self, key: &str, answer: &Result<T, SourceError>) {
        match answer {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(key, error),
        }
    }

    fn failed(&self, key: &str, error: &SourceError) {
        let fault = error.consequences().fault;
        let index = FAULTS.iter().position(|(one, _)| *one == fault).expect("all are listed");
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        let mut lasting = self.lasting();
        let (episode, what) = match fault {
            Fault::Gateway => (&mut lasting.gateway, GATEWAY),
            Fault::Source => (&mut lasting.source, SOURCE),
            // The source works as it should.
            Fault::Client | Fault::Object => {
                drop(lasting);
                return self.succeeded();
            }
        };
        // The key comes from a client. As text it is quoted and escaped.
        let (now, bucket) = (Instant::now(), &*self.bucket);
        match episode {
            None => {
                tracing::warn!(%error, bucket, key, "{what}");
                *episode = Some(Episode { begun: now, logged: now, latest: now, errors: 1, unlogged: 0 });
                self.open.store(true, Ordering::Relaxed);
            }
            Some(episode) => {
                episode.errors += 1;
                episode.unlogged += 1;
                episode.latest = now;
                if now.duration_since(episode.logged) >= PERIOD {
                    let seconds = now.duration_since(episode.begun).as_secs();
                    tracing::warn!(%error, bucket, key, new_errors = episode.unlogged, seconds, "{what}");
                    (episode.logged, episode.unlogged) = (now, 0);
                }
            }
        }
    }

    /// Ends the faults that no request has met for some time.
    fn succeeded(&self) {
        if !self.open.load(Ordering::Relaxed) {
            return;
        }
        let mut lasting = self.lasting();
        let Lasting { gateway, source } = &mut *lasting;
        for episode in [&mut *gateway, &mut *source] {
            if let Some(over) = episode.take_if(|episode| episode.latest.elapsed() >= PERIOD) {
                let seconds = over.latest.duration_since(over.begun).as_secs();
                let (bucket, errors) = (&*self.bucket, over.errors);
                tracing::info!(bucket, errors, seconds, "requests to the source have succeeded for a minute");
            }
        }
        self.open.store(gateway.is_some() || source.is_some(), Ordering::Relaxed);
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
        self.failures.saw(key.as_str(), &answer);
        Ok(match answer? {
            Answer::Object(Object { meta, body }) => {
                let (failures, key) = (Arc::clone(&self.failures), key.clone());
                let body = body.on_failure(move |error| failures.failed(key.as_str(), error));
                Answer::Object(Object { meta, body })
            }
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        let answer = self.source.head(key, request).await;
        self.failures.saw(key.as_str(), &answer);
        answer
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        let answer = self.source.preflight(key, request).await;
        self.failures.saw(key.as_str(), &answer);
        answer
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        let page = self.source.list(listing, request).await;
        self.failures.saw(&listing.prefix, &page);
        page
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
    async fn a_fault_lasts_until_no_request_has_met_it_for_a_minute() {
        let failures = Failures::new("assets".into());
        let fails = |kind| failures.saw("k", &Err::<(), _>(SourceError::new(kind)));
        let episode =
            |episode: &Option<Episode>| episode.as_ref().map(|episode| (episode.errors, episode.unlogged));
        let source = || episode(&failures.lasting().source);
        let gateway = || episode(&failures.lasting().gateway);
        fails(ErrorKind::Unavailable);
        fails(ErrorKind::Unauthenticated);
        fails(ErrorKind::Broken);
        assert_eq!((source(), gateway()), (Some((2, 1)), Some((1, 0))), "each fault has its own lines");
        // A good object among bad ones ends nothing.
        failures.saw("k", &Ok(()));
        assert_eq!(source(), Some((2, 1)));
        tokio::time::advance(PERIOD / 2).await;
        fails(ErrorKind::Unavailable);
        tokio::time::advance(PERIOD / 2).await;
        fails(ErrorKind::NotFound);
        assert_eq!((source(), gateway()), (Some((3, 2)), None), "a 404 is an answer");
        fails(ErrorKind::Unavailable);
        assert_eq!(source(), Some((4, 0)), "a line a minute");
        tokio::time::advance(PERIOD).await;
        failures.saw("k", &Ok(()));
        assert_eq!(source(), None);
        fails(ErrorKind::Invalid(http::StatusCode::BAD_REQUEST));
        assert_eq!(failures.counts(), [1, 1, 1, 4]);
    }
}
