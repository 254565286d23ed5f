//! A source and a cache at whose every await a test can hold up whoever comes by.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::header;
use tokio::sync::Semaphore;
use yatagarasu_core::{
    Admission, Answer, CacheKey, KeyRef, Lookup, Object, ObjectBody, ObjectCache, ObjectKey, ObjectMeta,
    ObjectSource, Selector, SourceError, SourceRequest, StoredObject, Usage,
};
use yatagarasu_testing::{MemoryCache, MemorySource};

/// Bytes of a body that come at a time.
const PIECE_BYTES: usize = 2;

/// Where a store begins.
pub(crate) const STORE: &str = "before a store";

/// Where a purge begins with what is stored.
pub(crate) const PURGE: &str = "before a purge";

/// Lets everyone pass but one, who waits until it is opened.
#[derive(Debug)]
pub(crate) struct Turnstile {
    state: Mutex<State>,
    open: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    stop: Option<Stop>,
    /// Where there were passages since it was set.
    passed: Vec<&'static str>,
    reached: bool,
}

/// Who is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The passage of this number, the first of which is one.
    Nth(usize),
    /// The next one here.
    At(&'static str),
}

impl Turnstile {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), open: Semaphore::new(0) })
    }

    /// Counts from one again and stops one.
    pub(crate) fn set(&self, stop: Stop) {
        *self.state() = State { stop: Some(stop), ..State::default() };
    }

    /// Whether it has stopped anyone.
    pub(crate) fn is_reached(&self) -> bool {
        self.state().reached
    }

    /// Lets everyone through.
    pub(crate) fn open(&self) {
        self.state().stop = None;
        self.open.add_permits(1);
    }

    /// Where there were passages since it was set.
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

/// Whether a source says how long its objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lengths {
    Said,
    Unknown,
}

/// A source at whose turnstile every answer and every piece of a body arrives. What it answers is what there was when
/// it was asked, however late it comes.
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

    async fn probe(&self) -> Result<(), SourceError> {
        self.inner.probe().await
    }
}

/// A body whose every piece passes the turnstile, its end too where that is not known before.
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
            // The bodies of a memory source are never waited for.
            match ready!(Pin::new(body).poll_next(cx)) {
                Some(Ok(chunk)) => *rest = chunk,
                end => return Poll::Ready(end),
            }
        }
        let next = rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(rest.split_to(next))))
    }
}

/// A cache at whose turnstile everything arrives before it is done, and all but purges after it.
#[derive(Debug)]
pub(crate) struct TurnstileCache {
    pub(crate) inner: MemoryCache,
    pub(crate) turnstile: Arc<Turnstile>,
}

#[async_trait]
impl ObjectCache for TurnstileCache {
    fn lookup<'a>(&'a self, key: KeyRef<'a>) -> Lookup<'a> {
        Lookup::Pending(Box::pin(async move {
            self.turnstile.pass("before a lookup").await;
            let found = self.inner.lookup(key).await;
            self.turnstile.pass("after a lookup").await;
            found
        }))
    }

    async fn store(&self, key: CacheKey, object: Arc<StoredObject>) -> Admission {
        self.turnstile.pass(STORE).await;
        let admission = self.inner.store(key, object).await;
        self.turnstile.pass("after a store").await;
        admission
    }

    async fn remove(&self, key: &CacheKey) {
        self.turnstile.pass("before a removal").await;
        self.inner.remove(key).await;
        self.turnstile.pass("after a removal").await;
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        self.turnstile.pass(PURGE).await;
        self.inner.purge(selector).await
    }

    async fn expire(&self, selector: &Selector, now: SystemTime) -> u64 {
        self.turnstile.pass(PURGE).await;
        self.inner.expire(selector, now).await
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}
