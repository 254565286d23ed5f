//! A body that is continued when it breaks off.

use std::fmt::Display;
use std::future::Future;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::source::Traffic;
use crate::source::body::{ObjectBody, Spliced};
use crate::source::consequences::Retry;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::resume::Continuing;
use crate::source::resume::rest::{Opened, Rest};
use crate::source::retry::{pause, respect_retry_after};
use crate::source::trace::SourceTrace;

/// The share of a short body after which it counts as one that gets on, too.
const PROGRESS_SHARE: u64 = 4;

/// Bytes after which a body that breaks off again counts as one that gets on.
const PROGRESS_BYTES: u64 = 64 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<Opened, SourceError>> + Send>>;

/// A body that asks for its rest when it breaks off.
pub(super) struct ResumedBody {
    /// `None` while the rest is asked for: a connection that has stalled is closed, so that there is one for the rest.
    body: Option<ObjectBody>,
    /// Bytes that come before `body`.
    early: Option<Bytes>,
    rest: Rest,
    /// The request for the rest, and the error that made it necessary.
    opening: Option<(Opening, SourceError)>,
    /// The argument of the last [`Spliced::widen`].
    widened: Option<usize>,
    /// Number of requests in a row that have brought too little.
    fruitless: u32,
    /// Number of continuations in a row after few bytes.
    short: u32,
    /// Number of times in a row that the source could not answer.
    refusals: u32,
    /// When the last bytes had come, while the rest is asked for.
    stopped: Option<Instant>,
    /// Bytes since the body was opened last.
    brought: u64,
    /// Bytes so far.
    arrived: u64,
    source: Arc<Continuing>,
}

impl ResumedBody {
    pub(super) fn new(body: ObjectBody, rest: Rest, source: Arc<Continuing>) -> Self {
        Self {
            body: Some(body),
            early: None,
            rest,
            opening: None,
            widened: None,
            fruitless: 0,
            short: 0,
            refusals: 0,
            stopped: None,
            brought: 0,
            arrived: 0,
            source,
        }
    }

    /// Waits for the rest if it was asked for.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        while let Some((opening, _)) = &mut self.opening {
            let opened = ready!(opening.as_mut().poll(cx));
            let (_, cause) = self.opening.take().expect("it was there");
            match opened {
                Ok(Opened::Rest(early, body)) => {
                    let body = self.body.insert(body);
                    if let Some(bytes) = self.widened {
                        body.widen(bytes);
                    }
                    (self.early, self.brought) = (early, 0);
                    self.source.healing.resumes(&cause, self.rest.range.start, self.arrived);
                    self.rest.request.record(SourceTrace::resumed);
                }
                Ok(Opened::Impossible(reason)) => return Poll::Ready(Err(self.given_up(&cause, &reason))),
                Ok(Opened::Broken(error)) => self.ask_for_the_rest(&error, cause)?,
                Err(error) => match self.pause_after(&error) {
                    Some(pause) => self.open_after(pause, cause),
                    None => return Poll::Ready(Err(self.given_up(&cause, &error))),
                },
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the pause before the rest is asked for again if the source could not answer. Returns `None` if it has
    /// refused the rest, or if the client has waited for long.
    ///
    /// A client with half of an object waits longer than one that has nothing yet.
    fn pause_after(&mut self, error: &SourceError) -> Option<Duration> {
        // These requests were not sent.
        let is_own = matches!(error.kind(), ErrorKind::Down | ErrorKind::Saturated);
        if error.retry() == Retry::Never && !is_own {
            return None;
        }
        self.refusals += 1;
        let random = pause(Retry::Later, self.refusals, fastrand::f64())?;
        let pause = respect_retry_after(random, error);
        // It is not paid for: the pauses grow, and a client would lose what it has waited for.
        let waited = self.stopped.map_or(Duration::ZERO, |stopped| stopped.elapsed());
        let deadline = self.source.healing.policy.deadline;
        waited.checked_add(pause).is_some_and(|wait| wait < deadline).then_some(pause)
    }

    /// Asks for the rest after `error`. `cause` is why the body broke off.
    ///
    /// # Errors
    ///
    /// Returns `cause` if that has been tried often enough.
    fn ask_for_the_rest(&mut self, error: &SourceError, cause: SourceError) -> Result<(), SourceError> {
        self.body = None;
        let left = self.rest.range.end - self.rest.range.start;
        // One continuation of a short body is free, or a body that brings much.
        self.short = if self.brought >= PROGRESS_BYTES { 0 } else { self.short + 1 };
        let is_free = self.short == 0 || (self.short == 1 && self.brought > 0);
        let gets_on = self.brought >= PROGRESS_BYTES.min((left + self.brought) / PROGRESS_SHARE).max(1);
        self.fruitless = if gets_on { 1 } else { self.fruitless + 1 };
        self.brought = 0;
        self.stopped.get_or_insert_with(Instant::now);
        let pause = pause(error.retry(), self.fruitless, fastrand::f64());
        let healing = &self.source.healing;
        let may = pause.is_some()
            && self.fruitless < healing.policy.attempts
            && (is_free || healing.pay(error, self.fruitless));
        let Some(pause) = pause.filter(|_| may) else {
            healing.breaks();
            return Err(cause);
        };
        self.open_after(pause, cause);
        Ok(())
    }

    fn open_after(&mut self, pause: Duration, cause: SourceError) {
        let (rest, source) = (self.rest.clone(), Arc::clone(&self.source));
        let limit = source.healing.policy.deadline;
        let until = self.stopped.unwrap_or_else(Instant::now) + limit;
        let opening = async move {
            sleep(pause).await;
            let opened = timeout_at(until, rest.open(&*source.inner)).await;
            opened
                .unwrap_or_else(|_| Err(SourceError::timed_out(limit, "no rest of the body (`s3.deadline`)")))
        };
        self.opening = Some((Box::pin(opening), cause));
    }

    fn given_up(&self, cause: &SourceError, why: &dyn Display) -> SourceError {
        self.source.healing.breaks();
        let at = self.rest.range.start;
        SourceError::broken(format!("{cause}; it could not be continued at byte {at}: {why}"))
    }

    /// Records bytes that have arrived.
    fn advance(&mut self, bytes: usize) {
        self.rest.range.start += bytes as u64;
        self.brought += bytes as u64;
        self.arrived += bytes as u64;
        (self.stopped, self.refusals) = (None, 0);
    }
}

impl Stream for ResumedBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_opened(cx))?;
            let item = match this.early.take() {
                Some(early) => Some(Ok(early)),
                None => match &mut this.body {
                    Some(body) => ready!(Pin::new(body).poll_next(cx)),
                    None => None,
                },
            };
            match item {
                Some(Ok(chunk)) => {
                    this.advance(chunk.len());
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Some(Err(error)) => this.ask_for_the_rest(&error.clone(), error)?,
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Spliced for ResumedBody {
    fn is_movable(&self) -> bool {
        self.early.is_none() && self.body.as_ref().is_some_and(ObjectBody::is_movable)
    }

    fn awaits_turn(&self) -> bool {
        self.body.as_ref().is_some_and(ObjectBody::awaits_turn)
    }

    fn widen(mut self: Pin<&mut Self>, bytes: usize) {
        self.widened = Some(bytes);
        if let Some(body) = &mut self.body {
            body.widen(bytes);
        }
    }

    fn dedicate(mut self: Pin<&mut Self>) -> bool {
        self.rest.request.traffic = Traffic::Alone;
        self.body.as_mut().is_none_or(ObjectBody::dedicate)
    }

    fn poll_splice(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        limit: usize,
    ) -> Poll<Option<Result<usize, SourceError>>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_opened(cx))?;
            if this.early.is_some() {
                return Poll::Ready(None);
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match ready!(body.poll_splice(cx, pipe, limit)) {
                Some(Ok(moved)) => {
                    this.advance(moved);
                    return Poll::Ready(Some(Ok(moved)));
                }
                Some(Err(error)) => this.ask_for_the_rest(&error.clone(), error)?,
                None => return Poll::Ready(None),
            }
        }
    }
}
