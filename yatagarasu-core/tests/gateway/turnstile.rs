//! A source and a cache that a test can stop at every await.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::header;
use tokio::sync::Semaphore;
use yatagarasu_core::cache::{CacheCounters, Page, Position};
use yatagarasu_core::clock::Moment;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Admission, Answer, CacheEntry, CacheKey, KeyRef, Object, ObjectBody, ObjectCache, ObjectKey, ObjectMeta,
    ObjectSource, Selector, SourceError, SourceRequest, Usage,
};
use yatagarasu_testing::{MemoryCache, MemorySource};

/// Bytes of each piece of a body.
const PIECE_BYTES: usize = 2;

/// Place before a purge of the stored objects.
pub(crate) const PURGE: &str = "before a purge";

/// Place after a purge of the stored objects.
pub(crate) const PURGED: &str = "after a purge";

/// Lets all passages through but one, which waits until the turnstile is opened.
#[derive(Debug)]
pub(crate) struct Turnstile {
    state: Mutex<State>,
    open: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    stop: Option<Stop>,
    /// Places of the passages since it was set.
    passed: Vec<&'static str>,
    reached: bool,
}

/// The passage that is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The passage with this number, counted from one.
    Nth(usize),
    /// The next passage at this place.
    At(&'static str),
}

impl Turnstile {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), open: Semaphore::new(0) })
    }

    /// Restarts the count and sets the passage to stop.
    pub(crate) fn set(&self, stop: Stop) {
        *self.state() = State { stop: Some(stop), ..State::default() };
    }

    /// Returns whether a passage has been stopped.
    pub(crate) fn is_reached(&self) -> bool {
        self.state().reached
    }

    /// Lets all passages through.
    pub(crate) fn open(&self) {
        self.state().stop = None;
        self.open.add_permits(1);
    }

    /// Returns the places of the passages since it was set.
    pub(crate) fn passed(&self) -> Vec<&'static str> {
        self.state().passed.clone()
    }

    async fn pass(&self, place: &'static str) {
        if self.stops(place) {
            self.open.acquire().await.expect("never closed").forget();
        }
    }

    fn stops(&self, place: &'static str) -> bool {
        let mut state = self.state();
        state.passed.push(place);
        let stops = match state.stop {
            Some(Stop::Nth(nth)) => nth == state.passed.len(),
            Some(Stop::At(at)) => at == place && !state.reached,
            None => false,
        };
        state.reached |= stops;
        stops
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a source tells the lengths of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lengths {
    Said,
    Unknown,
}

/// A source that passes the turnstile with every answer and every piece of a body.
///
/// It answers with the object at the time of the request, however late the answer comes.
#[derive(Debug)]
pub(crate) struct TurnstileSource {
    pub(crate) inner: MemorySource,
    pub(crate) turnstile: Arc<Turnstile>,
    pub(crate) lengths: Lengths,
}

impl TurnstileSource {
    fn slowed(&self, object: Object) -> Object {
        let Object { meta, body } = object;
        let (meta, length) = match self.lengths {
            Lengths::Said => (meta, body.remaining()),
            Lengths::Unknown => {
                let mut headers = meta.into_headers();
                headers.remove(header::CONTENT_LENGTH);
                (ObjectMeta::new(headers), None)
            }
        };
        let turnstile = Arc::clone(&self.turnstile);
        let pieces = Pieces { body, rest: Bytes::new(), turnstile, passing: None };
        Object { meta, body: ObjectBody::new(Box::pin(pieces), length) }
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for TurnstileSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.turnstile.pass("before a GET").await;
        let answer = match self.inner.get(key, request).await {
            Ok(Answer::Object(object)) => Ok(Answer::Object(self.slowed(object))),
            Ok(Answer::NotModified(meta)) => Ok(Answer::NotModified(meta)),
            Err(error) => Err(error),
        };
        self.turnstile.pass("after a GET").await;
        answer
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.turnstile.pass("before a HEAD").await;
        let answer = self.inner.head(key, request).await;
        self.turnstile.pass("after a HEAD").await;
        answer
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

/// A body that passes the turnstile before every piece, and before its end if its length is unknown.
struct Pieces {
    body: ObjectBody,
    rest: Bytes,
    turnstile: Arc<Turnstile>,
    passing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { body, rest, turnstile, passing } = self.get_mut();
        let pass = passing.get_or_insert_with(|| {
            let turnstile = Arc::clone(turnstile);
            Box::pin(async move { turnstile.pass("before a piece").await })
        });
        ready!(pass.as_mut().poll(cx));
        *passing = None;
        if rest.is_empty() {
            // The body of a memory source is always ready.
            match ready!(Pin::new(body).poll_next(cx)) {
                Some(Ok(chunk)) => *rest = chunk,
                end => return Poll::Ready(end),
            }
        }
        let next = rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(rest.split_to(next))))
    }
}

/// A cache that passes the turnstile before and after a purge. Its other operations are immediate.
#[derive(Debug)]
pub(crate) struct TurnstileCache {
    pub(crate) inner: MemoryCache,
    pub(crate) turnstile: Arc<Turnstile>,
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectCache for TurnstileCache {
    fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.inner.lookup(key)
    }

    fn store(&self, key: CacheKey, object: Arc<CacheEntry>) -> Admission {
        self.inner.store(key, object)
    }

    fn remove(&self, key: &CacheKey) {
        self.inner.remove(key);
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        self.turnstile.pass(PURGE).await;
        let purged = self.inner.purge(selector).await;
        self.turnstile.pass(PURGED).await;
        purged
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        self.turnstile.pass(PURGE).await;
        let expired = self.inner.expire(selector, now).await;
        self.turnstile.pass(PURGED).await;
        expired
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn page(&self, selector: &Selector, after: Option<&Position>) -> Page {
        self.inner.page(selector, after)
    }

    fn counters(&self) -> CacheCounters {
        self.inner.counters()
    }
}
