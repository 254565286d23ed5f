//! The model test's source, which records its answers, and a cache with random pauses.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::header::{self, HeaderMap, HeaderValue};
use yatagarasu_core::cache::{CacheCounters, Page, Position};
use yatagarasu_core::clock::Moment;
use yatagarasu_core::source::list::{ListPage, Listing};
use yatagarasu_core::{
    Admission, Answer, CacheEntry, CacheKey, Clock, ErrorKind, KeyRef, Method, Object, ObjectBody,
    ObjectCache, ObjectKey, ObjectMeta, ObjectSource, Selector, SourceError, SourceRequest, Usage,
};
use yatagarasu_testing::{ManualClock, MemoryCache};

use super::dice::Dice;
use super::edition::{Asker, Edition, FillMode};

/// Bytes of each piece of a body.
const PIECE_BYTES: usize = 400;

/// The objects of the source, and its answers so far.
#[derive(Debug, Default)]
pub(super) struct World {
    /// All editions of this run, in order.
    pub(super) editions: Vec<Edition>,
    pub(super) current: HashMap<ObjectKey, usize>,
    pub(super) log: Vec<Entry>,
    /// Number of requests that are going to fail.
    pub(super) failing: u64,
    /// Number of bodies that are going to break.
    pub(super) tearing: u64,
    pub(super) step: u64,
    /// Whether only one client asks in this step.
    pub(super) alone: bool,
    ticks: u64,
}

/// A request that the source has answered.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) asker: Asker,
    /// Time of the request, in ticks.
    pub(super) asked: u64,
    /// Time of the answer, in seconds.
    pub(super) at: u64,
    pub(super) step: u64,
    pub(super) alone: bool,
    pub(super) said: Said,
}

/// An answer, with the edition it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Whole(usize),
    Part(usize),
    /// A body that breaks.
    Torn(usize),
    /// RFC 9111 304
    Same(usize),
    /// The answer to a HEAD.
    Fields(usize),
    /// RFC 9111 416
    Outside(usize),
    Missing,
    Failed,
}

impl World {
    /// Counts an event and returns its number, which orders the events.
    pub(super) fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

/// A source that answers from a [`World`] and evaluates ranges and conditions itself.
#[derive(Debug, Clone)]
pub(super) struct ModelSource {
    world: Arc<Mutex<World>>,
    clock: ManualClock,
    pauses: Arc<Pauses>,
}

impl ModelSource {
    pub(super) fn new(clock: ManualClock, pauses: Arc<Pauses>) -> Self {
        Self { world: Arc::default(), clock, pauses }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time in seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.clock.date().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    async fn ask(
        &self,
        method: Method,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<Object>, SourceError> {
        let asked = self.world().tick();
        self.pauses.pause().await;
        let asker = Asker::of(&request.headers);
        let (said, answer) = self.decide(method, key, &request.headers, &asker);
        let at = self.now();
        self.pauses.pause().await;
        // Recorded only now, because a client that has left by now receives no answer.
        let mut world = self.world();
        let (step, alone) = (world.step, world.alone);
        world.log.push(Entry { key: key.clone(), asker, asked, at, step, alone, said });
        answer
    }

    fn decide(
        &self,
        method: Method,
        key: &ObjectKey,
        asked: &HeaderMap,
        asker: &Asker,
    ) -> (Said, Result<Answer<Object>, SourceError>) {
        let mut world = self.world();
        if world.failing > 0 {
            world.failing -= 1;
            return (Said::Failed, Err(SourceError::unavailable("as the model wants it")));
        }
        let Some(edition) = world.current.get(key).map(|&id| world.editions[id].clone()) else {
            return (Said::Missing, Err(SourceError::new(ErrorKind::NotFound)));
        };
        let mut headers = edition.fields(asker, self.now());
        if edition.is_known(asked, &asker.language) {
            return (Said::Same(edition.id), Ok(Answer::NotModified(ObjectMeta::new(headers))));
        }
        let length = edition.length;
        let sent = edition.sends_length.then_some(length);
        let (part, said, promised) = match (method, edition.wanted(asked, &asker.language)) {
            (Method::Head, _) => (0..0, Said::Fields(edition.id), sent),
            (Method::Get, FillMode::Whole) => (0..length, Said::Whole(edition.id), sent),
            (Method::Get, FillMode::Part(part)) => {
                let field = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                headers.insert(header::CONTENT_RANGE, field.parse().unwrap());
                let promised = Some(part.len());
                (part, Said::Part(edition.id), promised)
            }
            (Method::Get, FillMode::Nothing) => {
                let error = SourceError::range_not_satisfiable(&headers, length as u64);
                return (Said::Outside(edition.id), Err(error));
            }
        };
        if let Some(promised) = promised {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
        }
        let torn = world.tearing > 0 && !part.is_empty();
        world.tearing -= u64::from(torn);
        let mut rest = edition.content(&asker.language).slice(part);
        let said = if torn {
            rest.truncate(rest.len() / 2);
            Said::Torn(edition.id)
        } else {
            said
        };
        let pieces = Pieces { rest, torn, waits: 0, pauses: Arc::clone(&self.pauses) };
        let body = ObjectBody::new(Box::pin(pieces), promised.map(|promised| promised as u64));
        (said, Ok(Answer::Object(Object { meta: ObjectMeta::new(headers), body })))
    }
}

#[async_trait]
impl ObjectSource for ModelSource {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.ask(Method::Get, key, request).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        Ok(match self.ask(Method::Head, key, request).await? {
            Answer::Object(object) => Answer::Object(object.meta),
            Answer::NotModified(meta) => Answer::NotModified(meta),
        })
    }

    async fn preflight(&self, _: &ObjectKey, _: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        Err(SourceError::unavailable("no page asks the model"))
    }

    async fn list(&self, _: &Listing, _: &SourceRequest) -> Result<ListPage, SourceError> {
        Err(SourceError::unavailable("nobody lists the model"))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Content in pieces, with pauses between them.
struct Pieces {
    rest: Bytes,
    /// Whether it ends with an error.
    torn: bool,
    waits: u64,
    pauses: Arc<Pauses>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.waits > 0 {
            self.waits -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waits = self.pauses.count();
        if self.rest.is_empty() {
            let torn = std::mem::take(&mut self.torn);
            return Poll::Ready(torn.then(|| Err(SourceError::broken("as the model wants it"))));
        }
        let next = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(next))))
    }
}

/// Points at which tasks let others go first, at random.
#[derive(Debug)]
pub(super) struct Pauses(Mutex<Dice>);

impl Pauses {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(Dice::new(seed)))
    }

    fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).below(3)
    }

    async fn pause(&self) {
        for _ in 0..self.count() {
            tokio::task::yield_now().await;
        }
    }
}

/// A cache that pauses before and after each purge.
#[derive(Debug)]
pub(super) struct DawdlingCache {
    inner: MemoryCache,
    pauses: Arc<Pauses>,
}

impl DawdlingCache {
    pub(super) fn new(capacity: u64, pauses: Arc<Pauses>) -> Self {
        Self { inner: MemoryCache::new(capacity), pauses }
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectCache for DawdlingCache {
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
        self.pauses.pause().await;
        let purged = self.inner.purge(selector).await;
        self.pauses.pause().await;
        purged
    }

    async fn expire(&self, selector: &Selector, now: Moment) -> u64 {
        self.pauses.pause().await;
        let expired = self.inner.expire(selector, now).await;
        self.pauses.pause().await;
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
