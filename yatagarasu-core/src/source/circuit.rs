//! Asks a source no more while it is down.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::consequences::Retry;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::list::{ListPage, Listing};
use crate::source::trace::SourceTrace;
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// Number of failures in a row after which a source is suspected to be down.
const FAILURES: u32 = 10;

/// Time for which no request has to have succeeded: a moment in which many requests fail together is no outage.
const SUSPICION: Duration = Duration::from_secs(1);

/// Time between two probes of a source that is down.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// Number of probes in a row that have to fail.
const FAILED_PROBES: u32 = 2;

/// Time after which a request that nobody waits for any more counts as a failure.
const SILENCE: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time in which traffic comes back to a source that has come back, for those who have another one.
const RETURN: Duration = Duration::from_secs(2);

/// The circuit of one source. It opens when requests fail and a probe fails, too. While it is open, requests fail at
/// once ([`ErrorKind::Down`]), and a probe a second finds out when the source is back.
///
/// A probe decides because requests for one broken object say nothing about all others.
#[derive(Debug)]
pub struct Circuit {
    inner: Arc<dyn ObjectSource>,
    /// The name of the bucket in log lines.
    name: Arc<str>,
    state: Mutex<State>,
    /// Number of requests that were not sent.
    refused: AtomicU64,
}

#[derive(Debug)]
enum State {
    /// Requests pass. Failures in a row, and when a request last succeeded.
    Closed { failures: u32, succeeded: Instant },
    /// Requests pass, while probes find out whether the source is down. Holds how many have failed.
    Suspected(u32),
    /// Requests fail.
    Open { since: Instant },
    /// Requests pass again, for some time not all of those that could go elsewhere.
    Returning { since: Instant },
}

/// A source behind its circuit.
#[derive(Debug, Clone)]
pub struct Guarded(Arc<Circuit>);

impl State {
    fn closed() -> Self {
        Self::Closed { failures: 0, succeeded: Instant::now() }
    }
}

impl Circuit {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error of a request if the circuit is open.
    fn check(&self) -> Result<(), SourceError> {
        match &*self.state() {
            State::Open { .. } => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(SourceError::new(ErrorKind::Down))
            }
            State::Closed { .. } | State::Suspected(_) | State::Returning { .. } => Ok(()),
        }
    }

    /// Sends a request, and records its outcome.
    async fn ask<T>(
        self: &Arc<Self>,
        request: &SourceRequest,
        ask: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        self.check()?;
        request.record(SourceTrace::sent);
        let mut asked = Asked { circuit: self, begun: Instant::now(), answered: false };
        let answer = ask.await;
        asked.answered = true;
        match &answer {
            Err(error) if is_outage(error) => self.saw(true),
            // It says nothing of the source that there is no connection, or that there are no credentials.
            Err(error) if !is_answer(error) => {}
            Ok(_) | Err(_) => self.saw(false),
        }
        answer
    }

    /// Records the outcome of a request.
    fn saw(self: &Arc<Self>, failed: bool) {
        let mut state = self.state();
        match &mut *state {
            State::Closed { .. } | State::Suspected(_) if !failed => *state = State::closed(),
            State::Closed { failures, succeeded } => {
                *failures += 1;
                if *failures >= FAILURES && succeeded.elapsed() >= SUSPICION {
                    *state = State::Suspected(0);
                    drop(state);
                    self.watch();
                }
            }
            State::Returning { since } if since.elapsed() >= RETURN => *state = State::closed(),
            State::Suspected(_) | State::Open { .. } | State::Returning { .. } => {}
        }
    }

    /// Probes the source until it is back.
    #[expect(clippy::disallowed_methods, reason = "ends when the source is back, or the circuit is dropped")]
    fn watch(self: &Arc<Self>) {
        let circuit = Arc::downgrade(self);
        // A runtime that ends drops its requests.
        if Handle::try_current().is_err() {
            return drop(Watch(circuit));
        }
        tokio::spawn(watch(Watch(circuit)));
    }

    /// Records the result of a probe. Returns when to probe again.
    fn found(&self, probed: &Result<(), SourceError>) -> Next {
        let bucket = &*self.name;
        let mut state = self.state();
        match (&mut *state, probed) {
            (State::Closed { .. } | State::Returning { .. }, _) => Next::None,
            (State::Suspected(failed), Err(error)) if is_outage(error) => {
                *failed += 1;
                if *failed < FAILED_PROBES {
                    return Next::Now;
                }
                tracing::warn!(bucket, %error, "S3 is down: requests fail at once until it is back");
                *state = State::Open { since: Instant::now() };
                Next::InTurn
            }
            // It says nothing of S3 that there is no connection, or that there are no credentials.
            (_, Err(error)) if is_outage(error) || !is_answer(error) => Next::InTurn,
            (State::Suspected(_), _) => {
                *state = State::closed();
                Next::None
            }
            (State::Open { since }, _) => {
                let seconds = since.elapsed().as_secs();
                tracing::info!(bucket, seconds, "S3 is back");
                *state = State::Returning { since: Instant::now() };
                Next::None
            }
        }
    }
}

/// When a source is probed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// At once.
    Now,
    /// When its turn comes.
    InTurn,
    /// Not again: it is back.
    None,
}

/// A request on its way.
struct Asked<'a> {
    circuit: &'a Arc<Circuit>,
    begun: Instant,
    answered: bool,
}

impl Drop for Asked<'_> {
    /// Counts a request that nobody waits for any more: the client, or its deadline, may have less patience than the
    /// timeouts.
    fn drop(&mut self) {
        if !self.answered && self.begun.elapsed() >= SILENCE {
            self.circuit.saw(true);
        }
    }
}

/// The task that probes a source. Its end closes the circuit, however it ends: nobody else would.
struct Watch(Weak<Circuit>);

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(circuit) = self.0.upgrade() else { return };
        let mut state = circuit.state();
        if matches!(*state, State::Suspected(_) | State::Open { .. }) {
            *state = State::closed();
        }
    }
}

type Probe = Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Probes on their way.
#[derive(Default)]
struct Probes(Vec<Probe>);

impl Probes {
    fn begin(&mut self, circuit: Arc<Circuit>) {
        self.0.push(Box::pin(async move {
            let probed = timeout(PROBE_TIMEOUT, circuit.inner.probe()).await;
            probed.unwrap_or_else(|_| Err(SourceError::timed_out(PROBE_TIMEOUT, "a probe")))
        }));
    }

    /// Waits for the next one that ends.
    async fn ended(&mut self) -> Result<(), SourceError> {
        poll_fn(|cx| {
            let ended =
                self.0.iter_mut().enumerate().find_map(|(index, probe)| match probe.as_mut().poll(cx) {
                    Poll::Ready(probed) => Some((index, probed)),
                    Poll::Pending => None,
                });
            let Some((index, probed)) = ended else { return Poll::Pending };
            drop(self.0.swap_remove(index));
            Poll::Ready(probed)
        })
        .await
    }
}

/// Probes a source: at once, and every second while it is down. None waits for the one before, which was perhaps sent
/// to a source that was silent and is back.
async fn watch(watch: Watch) {
    let (mut probes, mut next) = (Probes::default(), Instant::now());
    loop {
        let probed = tokio::select! {
            biased;
            probed = probes.ended() => Some(probed),
            () = sleep_until(next) => None,
        };
        let Some(circuit) = watch.0.upgrade() else { return };
        match probed.map(|probed| circuit.found(&probed)) {
            Some(Next::None) => return,
            Some(Next::Now) => next = Instant::now(),
            Some(Next::InTurn) => {}
            None => {
                probes.begin(circuit);
                next += PROBE_PERIOD;
            }
        }
    }
}

/// Returns `true` if the source has answered with an error.
fn is_answer(error: &SourceError) -> bool {
    error.response().is_some()
}

/// Returns `true` for an error that all requests would meet now. A source that asks for fewer requests is not down, nor
/// is one that answers in a way that asking again would not change.
fn is_outage(error: &SourceError) -> bool {
    error.retry() == Retry::Soon
}

impl Guarded {
    /// Puts `inner` behind a circuit. `name` is the name of the bucket in log lines.
    pub fn new(inner: Arc<dyn ObjectSource>, name: Arc<str>) -> Self {
        let refused = AtomicU64::default();
        Self(Arc::new(Circuit { inner, name, state: Mutex::new(State::closed()), refused }))
    }

    /// Returns `true` if the source is down, and not asked.
    pub fn is_open(&self) -> bool {
        matches!(*self.0.state(), State::Open { .. })
    }

    /// Returns the number of requests that were not sent because the circuit was open.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Returns `true` if a request that may go elsewhere had better do so. Of those that come soon after the source is
    /// back, more and more do not.
    pub fn yields(&self) -> bool {
        match &*self.0.state() {
            State::Open { .. } => true,
            State::Returning { since } => since.elapsed() < RETURN.mul_f64(fastrand::f64()),
            State::Closed { .. } | State::Suspected(_) => false,
        }
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper that inherits a method bypasses the wrapped value\'s"
)]
impl ObjectSource for Guarded {
    async fn get(&self, key: &ObjectKey, request: &SourceRequest) -> Result<Answer<Object>, SourceError> {
        self.0.ask(request, self.0.inner.get(key, request)).await
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.0.ask(request, self.0.inner.head(key, request)).await
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.0.ask(request, self.0.inner.preflight(key, request)).await
    }

    async fn list(&self, listing: &Listing, request: &SourceRequest) -> Result<ListPage, SourceError> {
        self.0.ask(request, self.0.inner.list(listing, request)).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.0.inner.probe().await
    }
}
