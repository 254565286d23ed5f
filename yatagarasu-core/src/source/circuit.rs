//! Asks a source no more while it is down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::consequences::Fault;
use crate::source::error::{ErrorKind, SourceError};
use crate::source::{Answer, Object, ObjectSource, SourceRequest};

/// Number of failures in a row after which a source is suspected to be down.
const FAILURES: u32 = 10;

/// Time for which no request has to have succeeded: a moment in which many requests fail together is no outage.
const SUSPICION: Duration = Duration::from_secs(1);

/// Time between two probes of a source that is down.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time in which traffic comes back to a source that has come back, for those who have another one.
const RETURN: Duration = Duration::from_secs(2);

/// The circuit of one source. It opens when requests fail and a probe fails, too. While it is open, requests fail at once
/// ([`ErrorKind::Down`]), and a probe a second finds out when the source is back.
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
    /// Requests pass, while a probe finds out whether the source is down.
    Suspected,
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
            State::Closed { .. } | State::Suspected | State::Returning { .. } => Ok(()),
        }
    }

    /// Records the outcome of a request.
    fn saw<T>(self: &Arc<Self>, answer: &Result<T, SourceError>) {
        let failed = answer.as_ref().is_err_and(is_outage);
        let mut state = self.state();
        match &mut *state {
            State::Closed { .. } if !failed => *state = State::closed(),
            State::Closed { failures, succeeded } => {
                *failures += 1;
                if *failures >= FAILURES && succeeded.elapsed() >= SUSPICION {
                    *state = State::Suspected;
                    drop(state);
                    self.watch();
                }
            }
            State::Returning { since } if since.elapsed() >= RETURN => *state = State::closed(),
            State::Suspected | State::Open { .. } | State::Returning { .. } => {}
        }
    }

    /// Probes the source until it is back.
    #[expect(clippy::disallowed_methods, reason = "ends when the source is back, or the circuit is dropped")]
    fn watch(self: &Arc<Self>) {
        let circuit = Arc::downgrade(self);
        tokio::spawn(watch(circuit));
    }

    fn found(&self, down: Option<&SourceError>) {
        let bucket = &*self.name;
        let mut state = self.state();
        match (&*state, down) {
            (State::Suspected, None) => *state = State::closed(),
            (State::Suspected, Some(error)) => {
                tracing::warn!(bucket, %error, "S3 is down: requests fail at once until it is back");
                *state = State::Open { since: Instant::now() };
            }
            (State::Open { since }, None) => {
                let seconds = since.elapsed().as_secs();
                tracing::info!(bucket, seconds, "S3 is back");
                *state = State::Returning { since: Instant::now() };
            }
            (State::Open { .. } | State::Closed { .. } | State::Returning { .. }, _) => {}
        }
    }
}

/// Probes a source: at once, and every second while it is down.
async fn watch(circuit: Weak<Circuit>) {
    loop {
        let Some(circuit) = circuit.upgrade() else { return };
        let probed = timeout(PROBE_TIMEOUT, circuit.inner.probe()).await;
        let probed = probed.unwrap_or_else(|_| Err(SourceError::timed_out(PROBE_TIMEOUT, "a probe")));
        let down = probed.err().filter(is_outage);
        circuit.found(down.as_ref());
        if down.is_none() {
            return;
        }
        drop(circuit);
        sleep(PROBE_PERIOD).await;
    }
}

/// Returns `true` for an error that all requests would meet now. A source that asks for fewer requests is not down.
fn is_outage(error: &SourceError) -> bool {
    match error.kind() {
        ErrorKind::TimedOut(_) | ErrorKind::Unavailable | ErrorKind::Broken => true,
        ErrorKind::Throttled { .. } | ErrorKind::Down => false,
        _ => {
            debug_assert!(error.consequences().fault != Fault::Source);
            false
        }
    }
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
            State::Closed { .. } | State::Suspected => false,
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
        self.0.check()?;
        let answer = self.0.inner.get(key, request).await;
        self.0.saw(&answer);
        answer
    }

    async fn head(
        &self,
        key: &ObjectKey,
        request: &SourceRequest,
    ) -> Result<Answer<ObjectMeta>, SourceError> {
        self.0.check()?;
        let answer = self.0.inner.head(key, request).await;
        self.0.saw(&answer);
        answer
    }

    async fn preflight(&self, key: &ObjectKey, request: &SourceRequest) -> Result<ObjectMeta, SourceError> {
        self.0.check()?;
        let answer = self.0.inner.preflight(key, request).await;
        self.0.saw(&answer);
        answer
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.0.inner.probe().await
    }
}
