//! Counts the requests to a source, and the time and the bytes of their answers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::histogram::{Distribution, Histogram, REQUEST_TIMES};
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::list::{ListPage, Listing};
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// The kinds of requests, with their names in metrics.
pub const OPERATIONS: [(Operation, &str); 5] = [
    (Operation::Get, "get"),
    (Operation::Head, "head"),
    (Operation::List, "list"),
    (Operation::Preflight, "preflight"),
    (Operation::Probe, "probe"),
];

/// A kind of request to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`ObjectSource::get`].
    Get,
    /// [`ObjectSource::head`].
    Head,
    /// [`ObjectSource::list`].
    List,
    /// [`ObjectSource::preflight`].
    Preflight,
    /// [`ObjectSource::probe`].
    Probe,
}

/// Names of request results in metrics. The last one is for requests whose callers left.
pub const RESULTS: [&str; 14] = [
    "ok",
    "not_modified",
    "not_found",
    "denied",
    "archived",
    "invalid",
    "precondition_failed",
    "unauthenticated",
    "misconfigured",
    "throttled",
    "timed_out",
    "unavailable",
    "broken",
    "abandoned",
];

/// Number of results at the front of [`RESULTS`] that are no failures of the source or the gateway.
const ANSWERS: usize = 7;

/// Returns `true` if a result is a failure of the source or of the gateway, or that nobody waited for it.
pub fn is_failure(result: &str) -> bool {
    RESULTS[ANSWERS..].contains(&result)
}

const OK: usize = 0;
const NOT_MODIFIED: usize = 1;
const ABANDONED: usize = RESULTS.len() - 1;

/// Returns the result of a request that ended in this error: one of [`RESULTS`].
pub fn result_of(error: &SourceError) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "not_found",
        ErrorKind::Denied | ErrorKind::Unexplained(_) => "denied",
        ErrorKind::Archived => "archived",
        ErrorKind::Invalid(_) | ErrorKind::RangeNotSatisfiable { .. } => "invalid",
        ErrorKind::PreconditionFailed => "precondition_failed",
        ErrorKind::NoCredentials | ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::Misconfigured | ErrorKind::NoSuchBucket => "misconfigured",
        ErrorKind::Throttled { .. } => "throttled",
        ErrorKind::TimedOut(_) => "timed_out",
        ErrorKind::Saturated | ErrorKind::Down | ErrorKind::Unavailable => "unavailable",
        ErrorKind::Broken => "broken",
    }
}

/// Returns the place of an error in [`RESULTS`].
fn result(error: &SourceError) -> usize {
    let name = result_of(error);
    RESULTS.iter().position(|result| *result == name).expect("all are listed")
}

/// Counters and histograms of one source.
#[derive(Debug)]
pub struct SourceMeters {
    /// Requests by operation and result.
    requests: [[AtomicU64; RESULTS.len()]; OPERATIONS.len()],
    running: AtomicU64,
    body_bytes: AtomicU64,
    first_byte: Histogram<{ REQUEST_TIMES.len() }>,
    duration: Histogram<{ REQUEST_TIMES.len() }>,
}

impl Default for SourceMeters {
    fn default() -> Self {
        let (requests, [running, body_bytes]) = (Default::default(), Default::default());
        let [first_byte, duration] = [const { Histogram::new(&REQUEST_TIMES) }; 2];
        Self { requests, running, body_bytes, first_byte, duration }
    }
}

impl SourceMeters {
    /// Returns the number of requests that have ended, by operation and result, in the order of [`OPERATIONS`] and
    /// [`RESULTS`]. A GET counts as soon as its response head is there.
    pub fn requests(&self) -> [[u64; RESULTS.len()]; OPERATIONS.len()] {
        self.requests.each_ref().map(|results| results.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Returns the numbers of all requests and of those that failed by no fault of the client. Probes are not included.
    pub fn totals(&self) -> (u64, u64) {
        let requests = self.requests();
        let clients = OPERATIONS.iter().zip(&requests).filter(|((one, _), _)| *one != Operation::Probe);
        clients.fold((0, 0), |(all, failed), (_, results)| {
            let of_source: u64 = results[ANSWERS..ABANDONED].iter().sum();
            (all + results.iter().sum::<u64>(), failed + of_source)
        })
    }

    /// Returns the number of requests that wait for their answers, or whose bodies have not ended.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes of bodies that have arrived.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Returns the times from a request to its response head, its failure, or its cancellation.
    pub fn first_byte(&self) -> Distribution {
        self.first_byte.read()
    }

    /// Returns the times from a GET to the end of its body.
    pub fn duration(&self) -> Distribution {
        self.duration.read()
    }
}

/// Counts the requests to the source that it wraps.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn ObjectSource>,
    meters: Arc<SourceMeters>,
}

impl Metered {
    /// Wraps `inner`, and counts in `meters`.
    pub fn new(inner: Arc<dyn ObjectSource>, meters: Arc<SourceMeters>) -> Self {
        Self { inner, meters }
    }

    /// Sends a request, and records its result, which `ok` names if it is an answer.
    async fn ask<T>(
        &self,
        operation: Operation,
        ask: impl Future<Output = Result<T, SourceError>>,
        ok: impl FnOnce(&T) -> usize,
    ) -> Result<(T, Running), SourceError> {
        let running = Running::begin(&self.meters);
        let mut asked = Asked { meters: &self.meters, operation, result: ABANDONED, begun: running.begun };
        let answer = ask.await;
        asked.result = answer.as_ref().map_or_else(result, ok);
        drop(asked);
        Ok((answer?, running))
    }
}

/// Returns the place of an answer in [`RESULTS`].
fn answered<T>(answer: &Answer<T>) -> usize {
    match answer {
        Answer::Object(_) => OK,
        Answer::NotModified(_) => NOT_MODIFIED,
    }
}

/// A request on its way. Dropping it counts its result and its time.
struct Asked<'a> {
    meters: &'a SourceMeters,
    operation: Operation,
    result: usize,
    begun: Instant,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let results = &self.meters.requests[self.operation as usize];
        results[self.result].fetch_add(1, Ordering::Relaxed);
        self.meters.first_byte.record(self.begun.elapsed());
    }
}

/// Counts a request as running until dropped.
struct Running {
    meters: Arc<SourceMeters>,
    begun: Instant,
}

impl Running {
    fn begin(meters: &Arc<SourceMeters>) -> Self {
        meters.running.fetch_add(1, Ordering::Relaxed);
        Self { meters: Arc::clone(meters), begun: Instant::now() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meters.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the bytes of one body. Dropping it records how long the request took.
pub(super) struct BodyMeter(Running);

impl BodyMeter {
    /// Counts bytes that have arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.0.meters.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for BodyMeter {
    fn drop(&mut self) {
        self.0.meters.duration.record(self.0.begun.elapsed());
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value's"
)]
impl ObjectSource for Metered {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        let (answer, running) = self.ask(Operation::Get, self.inner.get(key, request), answered).await?;
        Ok(match answer {
            Answer::Object(Object { meta, body }) => {
                Answer::Object(Object { meta, body: body.metered(BodyMeter(running)) })
            }
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.ask(Operation::Head, self.inner.head(key, request), answered).await.map(|(answer, _)| answer)
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        let asked = self.ask(Operation::Preflight, self.inner.preflight(key, request), |_| OK);
        asked.await.map(|(answer, _)| answer)
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        let asked = self.ask(Operation::List, self.inner.list(listing, request), |_| OK);
        asked.await.map(|(answer, _)| answer)
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.ask(Operation::Probe, self.inner.probe(), |()| OK).await.map(|(answer, _)| answer)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures_core::Stream;

    use crate::source::body::ObjectBody;

    use super::*;

    struct Pieces(Vec<Bytes>);

    impl Stream for Pieces {
        type Item = Result<Bytes, SourceError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    /// Answers with a body of ten bytes in two pieces, or with an error.
    #[derive(Debug)]
    struct Source(Option<ErrorKind>);

    #[async_trait]
    impl ObjectSource for Source {
        async fn get(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<Object>, SourceError> {
            if let Some(kind) = self.0 {
                return Err(SourceError::new(kind));
            }
            let pieces = vec![Bytes::from_static(b"456789"), Bytes::from_static(b"0123")];
            let body = ObjectBody::new(Box::pin(Pieces(pieces)), Some(10));
            Ok(Answer::Object(Object { meta: ObjectMeta::default(), body }))
        }

        async fn head(&self, _: &ObjectKey, _: &SourceRequest) -> Result<Answer<ObjectMeta>, SourceError> {
            Ok(Answer::NotModified(ObjectMeta::default()))
        }

        async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
            std::future::pending().await
        }

        async fn list(&self, _: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
            Err(SourceError::new(ErrorKind::Denied))
        }

        async fn probe(&self) -> Result<(), SourceError> {
            Ok(())
        }
    }

    fn count(meters: &SourceMeters, operation: Operation, result: &str) -> u64 {
        let index = RESULTS.iter().position(|one| *one == result).expect("a result");
        meters.requests()[operation as usize][index]
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_with_their_results_and_bytes() {
        let meters = Arc::new(SourceMeters::default());
        let metered = |kind| Metered::new(Arc::new(Source(kind)), Arc::clone(&meters));
        let (key, request) = (ObjectKey::parse("a").unwrap(), SourceRequest::default());
        let source = metered(None);
        let Ok(Answer::Object(mut object)) = source.get(&key, &request).await else { panic!("an object") };
        assert_eq!((count(&meters, Operation::Get, "ok"), meters.running()), (1, 1));
        assert!(object.body.next().await.unwrap().is_ok());
        assert_eq!((meters.body_bytes(), meters.duration().count()), (4, 0));
        assert!(object.body.next().await.unwrap().is_ok());
        drop(object);
        assert_eq!((meters.body_bytes(), meters.running(), meters.duration().count()), (10, 0, 1));

        source.head(&key, &request).await.unwrap();
        source.list(&Listing::default(), &request).await.unwrap_err();
        source.probe().await.unwrap();
        let limit = std::time::Duration::from_secs(1);
        tokio::time::timeout(limit, source.preflight(&key, &request)).await.unwrap_err();
        metered(Some(ErrorKind::Broken)).get(&key, &request).await.unwrap_err();
        for (operation, result) in [
            (Operation::Head, "not_modified"),
            (Operation::List, "denied"),
            (Operation::Probe, "ok"),
            (Operation::Preflight, "abandoned"),
            (Operation::Get, "broken"),
        ] {
            assert_eq!(count(&meters, operation, result), 1, "{operation:?} {result}");
        }
        assert_eq!((meters.totals(), meters.running()), ((5, 1), 0));
        let waits = meters.first_byte();
        assert_eq!((waits.count(), waits.sum), (6, 1_000_000_000), "one was waited for in vain");
    }

    #[test]
    fn operations_stand_in_their_order() {
        for (index, (operation, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, index);
        }
        assert_eq!(
            (RESULTS[OK], RESULTS[NOT_MODIFIED], RESULTS[ABANDONED]),
            ("ok", "not_modified", "abandoned")
        );
        assert_eq!(RESULTS[ANSWERS], "unauthenticated");
    }
}
