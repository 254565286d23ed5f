//! Credentials that are fetched in the background: before they expire, and when S3 refuses them.

use std::fmt::Debug;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use yatagarasu_core::{Clock, ErrorKind, SourceError};

use crate::credentials::CredentialsStatus;

/// Time between a refresh and the expiry of the credentials. Half of their remaining lifetime is used if that is
/// shorter.
const AHEAD: Duration = Duration::from_secs(300);

/// Timeout for fetching credentials. A credential process or metadata service that hangs must not hang the gateway.
const FETCH_MAX: Duration = Duration::from_secs(30);

/// Longest wait of a request for credentials in the place of expired or refused ones.
const RENEWAL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Shortest time between two fetches that were made because S3 refused the credentials.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// Delay before a retry: the first value after the first failure, doubled after each further one, up to the second
/// value.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A provider of credentials.
#[async_trait]
pub(crate) trait Fetch: Send + Sync + Debug {
    /// Fetches credentials, or returns a message for operators.
    async fn fetch(&self) -> Result<Credentials, String>;
}

/// Credentials that a background task fetches when they are first needed, again before they expire, and when S3
/// refuses them.
///
/// A request waits for the first fetch. Later it waits only if the credentials have expired or were refused, and nothing
/// has been fetched since. Credentials that cannot be renewed are used on: S3 decides whether they are still valid.
#[derive(Debug)]
pub(crate) struct CachedCredentials {
    /// The name of the bucket in log lines.
    bucket: Arc<str>,
    fetch: Box<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
    /// The number of fetches that are wanted by now. The background task makes more than its timer asks for.
    wanted: watch::Sender<u64>,
    /// The latest fetch that was made because S3 refused the credentials: its time, and the number of fetches before.
    renewed: Mutex<Option<(Instant, u64)>>,
    /// Whether the background task was started. The task ends when this value is dropped, or with the runtime it was
    /// spawned on.
    begun: Mutex<bool>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The latest credentials. They may have expired.
    known: Option<Credentials>,
    /// The reason why the latest fetch failed, if it did.
    failure: Option<String>,
    /// Number of fetches that have ended.
    fetches: u64,
    /// Whether the credentials had expired when the latest fetch ended.
    tried_after_expiry: bool,
}

impl CachedCredentials {
    pub(crate) fn new(bucket: Arc<str>, fetch: Box<dyn Fetch>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            bucket,
            fetch,
            clock,
            state: watch::Sender::default(),
            wanted: watch::Sender::default(),
            renewed: Mutex::default(),
            begun: Mutex::default(),
        })
    }

    /// Returns the credentials to sign with.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Credentials, SourceError> {
        self.begin();
        let mut state = self.state.borrow().clone();
        if state.fetches == 0 {
            state = self.fetched_after(0).await;
        } else if let Some(known) = &state.known
            && self.expired(known).is_some()
            && !state.tried_after_expiry
            && state.failure.is_none()
        {
            // The background task should have fetched others by now: the machine slept. A provider that fails is not
            // waited for.
            self.want_after(state.fetches);
            let fetched = timeout(RENEWAL_WAIT_MAX, self.fetched_after(state.fetches)).await;
            state = fetched.unwrap_or(state);
        }
        // The reason is in the log once, and in the readiness. It is too long for a line of each request.
        state.known.ok_or_else(|| SourceError::new(ErrorKind::NoCredentials))
    }

    /// Fetches others in the place of `used`, which S3 refused. Returns `true` if there are others now.
    pub(crate) async fn renew(self: &Arc<Self>, used: &Credentials) -> bool {
        let fetches = {
            let state = self.state.borrow();
            if differ(state.known.as_ref(), used) {
                return true;
            }
            state.fetches
        };
        let awaited = {
            let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            match *renewed {
                // The latest fetch for this reason still runs, or has ended in vain.
                Some((at, awaited)) if at.elapsed() < RENEWAL_PAUSE => awaited,
                Some(_) | None => {
                    *renewed = Some((Instant::now(), fetches));
                    self.want_after(fetches);
                    fetches
                }
            }
        };
        let state = timeout(RENEWAL_WAIT_MAX, self.fetched_after(awaited)).await;
        state.is_ok_and(|state| differ(state.known.as_ref(), used))
    }

    /// Has the background task fetch, unless it has since the fetch number `fetches`.
    fn want_after(&self, fetches: u64) {
        self.wanted.send_if_modified(|wanted| {
            let more = *wanted <= fetches;
            *wanted = (*wanted).max(fetches + 1);
            more
        });
    }

    /// Waits until more than `fetches` fetches have ended.
    async fn fetched_after(&self, fetches: u64) -> State {
        let mut changes = self.state.subscribe();
        let state = changes.wait_for(|state| state.fetches > fetches).await;
        state.expect("the sender lives as long as this value").clone()
    }

    pub(crate) fn status(&self) -> CredentialsStatus {
        let State { known, failure, .. } = self.state.borrow().clone();
        match (known, failure) {
            (None, None) => CredentialsStatus::Settled,
            (None, Some(reason)) => CredentialsStatus::Missing { reason },
            (Some(credentials), _) => match self.expired(&credentials) {
                None => CredentialsStatus::Valid { until: credentials.expiry() },
                Some(at) => CredentialsStatus::Missing {
                    reason: format!("expired at {}", httpdate::fmt_http_date(at)),
                },
            },
        }
    }

    fn expired(&self, credentials: &Credentials) -> Option<SystemTime> {
        credentials.expiry().filter(|&expiry| expiry <= self.clock.date())
    }

    #[expect(clippy::disallowed_methods, reason = "ends when the credentials it refreshes are dropped")]
    fn begin(self: &Arc<Self>) {
        let mut begun = self.begun();
        if !*begun {
            *begun = true;
            tokio::spawn(refresh(Arc::downgrade(self), self.wanted.subscribe()));
        }
    }

    fn begun(&self) -> MutexGuard<'_, bool> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches once. Returns the time until the next fetch, or `None` if the credentials do not expire.
    async fn fetch(&self, failures: &mut u32) -> Option<Duration> {
        let fetched = timeout(FETCH_MAX, self.fetch.fetch());
        let fetched = fetched
            .await
            .unwrap_or_else(|_| Err(format!("the credential chain returned nothing within {FETCH_MAX:?}")));
        let valid = fetched.and_then(|credentials| match self.expired(&credentials) {
            Some(at) => Err(format!(
                "the credentials that the chain returned had expired at {}",
                httpdate::fmt_http_date(at)
            )),
            None => Ok(credentials),
        });
        match valid {
            Ok(credentials) => {
                *failures = 0;
                let expiry = credentials.expiry();
                let left = expiry.map(|expiry| expiry.duration_since(self.clock.date()).unwrap_or_default());
                tracing::info!(
                    access_key = credentials.access_key_id(),
                    bucket = &*self.bucket,
                    expires_in_seconds = left.map(|left| left.as_secs()),
                    "credentials fetched"
                );
                self.ended(Ok(credentials));
                left.map(|left| left.saturating_sub(AHEAD.min(left / 2)).max(RETRY.0))
            }
            Err(reason) => {
                self.complain(&reason);
                self.ended(Err(reason));
                let wait = RETRY.0 * 2u32.saturating_pow(*failures);
                *failures = failures.saturating_add(1);
                Some(wait.min(RETRY.1))
            }
        }
    }

    fn ended(&self, fetched: Result<Credentials, String>) {
        self.state.send_modify(|state| {
            state.fetches += 1;
            match fetched {
                Ok(credentials) => (state.known, state.failure) = (Some(credentials), None),
                Err(reason) => state.failure = Some(reason),
            }
            state.tried_after_expiry =
                state.known.as_ref().is_some_and(|known| self.expired(known).is_some());
        });
    }

    fn complain(&self, reason: &str) {
        let (known, bucket) = (self.state.borrow().known.clone(), &*self.bucket);
        match known {
            None => tracing::error!(bucket, reason, "no credentials: requests to S3 are answered with 502"),
            Some(known) if self.expired(&known).is_some() => {
                tracing::warn!(
                    bucket,
                    reason,
                    "the credentials have expired and cannot be renewed: they stay in use until S3 refuses them"
                );
            }
            Some(known) => {
                let left = known.expiry().and_then(|expiry| expiry.duration_since(self.clock.date()).ok());
                let expires_in_seconds = left.map(|left| left.as_secs());
                tracing::warn!(bucket, reason, expires_in_seconds, "the credentials cannot be renewed yet");
            }
        }
    }
}

/// Returns `true` if there are credentials, and others than `used`.
fn differ(known: Option<&Credentials>, used: &Credentials) -> bool {
    known.is_some_and(|known| {
        known.access_key_id() != used.access_key_id()
            || known.secret_access_key() != used.secret_access_key()
            || known.session_token() != used.session_token()
    })
}

/// Refreshes the credentials until they are dropped.
async fn refresh(credentials: Weak<CachedCredentials>, mut wanted: watch::Receiver<u64>) {
    let mut failures = 0;
    while let Some(current) = credentials.upgrade() {
        let wait = current.fetch(&mut failures).await;
        let fetches = current.state.borrow().fetches;
        drop(current);
        let earlier = wanted.wait_for(|wanted| *wanted > fetches);
        // Credentials that do not expire have no time at which to fetch others.
        let due = async { if let Some(wait) = wait { sleep(wait).await } else { pending().await } };
        tokio::select! {
            () = due => {}
            earlier = earlier => if earlier.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use yatagarasu_testing::ManualClock;

    use super::*;

    /// A provider with prepared results: the lifetime in seconds of each set of credentials, or an error.
    #[derive(Debug)]
    struct Prepared {
        clock: ManualClock,
        lives: Mutex<VecDeque<Result<u64, &'static str>>>,
    }

    #[async_trait]
    impl Fetch for Prepared {
        async fn fetch(&self) -> Result<Credentials, String> {
            let mut lives = self.lives.lock().unwrap();
            let seconds = lives.pop_front().unwrap_or(Err("no more"))?;
            let expiry = self.clock.date() + Duration::from_secs(seconds);
            Ok(Credentials::new(format!("AK{seconds}"), "SK", None, Some(expiry), "test"))
        }
    }

    fn prepared(lives: &[Result<u64, &'static str>]) -> (Arc<CachedCredentials>, ManualClock) {
        let clock = ManualClock::default();
        let prepared = Prepared { clock: clock.clone(), lives: Mutex::new(lives.iter().copied().collect()) };
        (CachedCredentials::new("assets".into(), Box::new(prepared), Arc::new(clock.clone())), clock)
    }

    async fn key(refreshed: &Arc<CachedCredentials>) -> Result<String, String> {
        let current = refreshed.current().await;
        current.map(|credentials| credentials.access_key_id().to_owned()).map_err(|error| error.to_string())
    }

    async fn pass(clock: &ManualClock, seconds: u64) {
        clock.advance(Duration::from_secs(seconds));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_fetched_when_needed_and_again_before_they_expire() {
        let (refreshed, clock) = prepared(&[Ok(3600), Ok(7200)]);
        assert_eq!(refreshed.status(), CredentialsStatus::Settled);
        assert_eq!(key(&refreshed).await.unwrap(), "AK3600");
        pass(&clock, 3299).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK3600");
        pass(&clock, 2).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK7200");
        assert!(matches!(refreshed.status(), CredentialsStatus::Valid { until: Some(_) }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_refresh_is_repeated_and_does_no_harm_while_the_old_ones_last() {
        let (refreshed, clock) = prepared(&[Ok(3600), Err("down"), Err("down"), Ok(60)]);
        key(&refreshed).await.unwrap();
        pass(&clock, 3301).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK3600");
        pass(&clock, 10).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK60");
    }

    #[tokio::test(start_paused = true)]
    async fn expired_ones_are_used_on_if_there_are_no_others() {
        let (refreshed, clock) = prepared(&[Ok(3600)]);
        key(&refreshed).await.unwrap();
        pass(&clock, 3601).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK3600");
        assert!(matches!(refreshed.status(), CredentialsStatus::Missing { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_meet_expired_ones_wait_for_one_fetch() {
        let (refreshed, clock) = prepared(&[Ok(120), Ok(3600), Ok(7200)]);
        key(&refreshed).await.unwrap();
        // The machine sleeps: its timers stand still.
        clock.advance(Duration::from_secs(600));
        let asked = futures_util::future::join_all((0..50).map(|_| key(&refreshed))).await;
        assert!(asked.iter().all(|key| key.as_deref() == Ok("AK3600")), "{asked:?}");
        assert_eq!(refreshed.state.borrow().fetches, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_ones_are_fetched_anew_once_for_all() {
        let (refreshed, _) = prepared(&[Ok(3600), Ok(7200), Err("down"), Ok(60)]);
        let used = refreshed.current().await.unwrap();
        let (one, other) = tokio::join!(refreshed.renew(&used), refreshed.renew(&used));
        assert!(one && other);
        assert_eq!(key(&refreshed).await.unwrap(), "AK7200");
        assert!(refreshed.renew(&used).await, "others have come since");
        let used = refreshed.current().await.unwrap();
        sleep(RENEWAL_PAUSE).await;
        assert!(!refreshed.renew(&used).await);
        assert!(!refreshed.renew(&used).await, "not again within the pause");
        assert_eq!(refreshed.state.borrow().fetches, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_them_ends_the_task() {
        let (refreshed, _) = prepared(&[Ok(3600)]);
        key(&refreshed).await.unwrap();
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
        drop(refreshed);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_expired_is_as_good_as_nothing() {
        let (refreshed, clock) = prepared(&[Ok(0), Ok(0), Ok(60)]);
        key(&refreshed).await.unwrap_err();
        let status = refreshed.status();
        assert!(
            matches!(&status, CredentialsStatus::Missing { reason } if reason.contains("had expired at")),
            "{status:?}"
        );
        pass(&clock, 4).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK60");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missing_at_first_may_come_later() {
        let (refreshed, clock) = prepared(&[Err("no profile"), Ok(60)]);
        key(&refreshed).await.unwrap_err();
        assert_eq!(refreshed.status(), CredentialsStatus::Missing { reason: "no profile".to_owned() });
        pass(&clock, 2).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK60");
    }
}
