//! Credentials that are refreshed in the background before they expire.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use yatagarasu_core::{Clock, SourceError};

use crate::credentials::CredentialsStatus;

/// Time between a refresh and the expiry of the credentials. Half of their remaining lifetime is used if that is
/// shorter.
const AHEAD: Duration = Duration::from_secs(300);

/// Timeout for fetching credentials. A credential process or metadata service that hangs must not hang the gateway.
const FETCH_MAX: Duration = Duration::from_secs(30);

/// Delay before a retry: the first value after the first failure, doubled after each further one, up to the second
/// value.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A provider of credentials.
#[async_trait]
pub(crate) trait Fetch: Send + Sync + Debug {
    /// Fetches credentials, or returns a message for operators.
    async fn fetch(&self) -> Result<Credentials, String>;
}

/// Credentials that a background task fetches when they are first needed, and again before they expire.
///
/// A request waits only for the first fetch. Later requests use the latest credentials, and fail at once if those
/// have expired.
#[derive(Debug)]
pub(crate) struct CachedCredentials {
    fetch: Box<dyn Fetch>,
    clock: Arc<dyn Clock>,
    known: watch::Sender<Known>,
    /// Whether the background task was started. The task ends when this value is dropped, when credentials do not
    /// expire, or with the runtime it was spawned on.
    begun: Mutex<bool>,
}

#[derive(Debug, Clone)]
enum Known {
    /// The first fetch has not completed.
    Nothing,
    /// The latest credentials. They may have expired.
    Some(Credentials),
    /// No fetch has succeeded. Holds the reason of the latest failure.
    Failed(String),
}

impl CachedCredentials {
    pub(crate) fn new(fetch: Box<dyn Fetch>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { fetch, clock, known: watch::Sender::new(Known::Nothing), begun: Mutex::new(false) })
    }

    /// Returns the credentials to sign with.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Credentials, SourceError> {
        self.begin();
        let mut known = self.known.subscribe();
        let known = known
            .wait_for(|known| !matches!(known, Known::Nothing))
            .await
            .expect("the sender lives as long as this value")
            .clone();
        match known {
            Known::Some(credentials) => match self.expired(&credentials) {
                None => Ok(credentials),
                Some(at) => Err(SourceError::NoCredentials(format!(
                    "they expired at {}",
                    httpdate::fmt_http_date(at)
                ))),
            },
            Known::Failed(reason) => Err(SourceError::NoCredentials(reason)),
            Known::Nothing => unreachable!("waited for otherwise"),
        }
    }

    pub(crate) fn status(&self) -> CredentialsStatus {
        match &*self.known.borrow() {
            Known::Nothing => CredentialsStatus::Settled,
            Known::Some(credentials) => match self.expired(credentials) {
                None => CredentialsStatus::Valid { until: credentials.expiry() },
                Some(at) => CredentialsStatus::Missing {
                    reason: format!("expired at {}", httpdate::fmt_http_date(at)),
                },
            },
            Known::Failed(reason) => CredentialsStatus::Missing { reason: reason.clone() },
        }
    }

    fn expired(&self, credentials: &Credentials) -> Option<SystemTime> {
        credentials.expiry().filter(|&expiry| expiry <= self.clock.now())
    }

    #[expect(clippy::disallowed_methods, reason = "ends when the credentials it refreshes are dropped")]
    fn begin(self: &Arc<Self>) {
        let mut begun = self.begun();
        if !*begun {
            *begun = true;
            tokio::spawn(refresh(Arc::downgrade(self)));
        }
    }

    fn begun(&self) -> MutexGuard<'_, bool> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches once. Returns the time until the next fetch, or `None` if the credentials do not expire.
    async fn fetch(&self, failures: &mut u32) -> Option<Duration> {
        let fetched = timeout(FETCH_MAX, self.fetch.fetch());
        let fetched = fetched.await.unwrap_or_else(|_| Err(format!("nothing came within {FETCH_MAX:?}")));
        let valid = fetched.and_then(|credentials| match self.expired(&credentials) {
            Some(at) => Err(format!("what came had expired at {}", httpdate::fmt_http_date(at))),
            None => Ok(credentials),
        });
        match valid {
            Ok(credentials) => {
                *failures = 0;
                let expiry = credentials.expiry();
                self.known.send_replace(Known::Some(credentials));
                let left = expiry?.duration_since(self.clock.now()).unwrap_or_default();
                tracing::info!(seconds = left.as_secs(), "credentials fetched");
                Some(left.saturating_sub(AHEAD.min(left / 2)).max(RETRY.0))
            }
            Err(reason) => {
                self.complain(reason);
                let wait = RETRY.0 * 2u32.saturating_pow(*failures);
                *failures += 1;
                Some(wait.min(RETRY.1))
            }
        }
    }

    fn complain(&self, reason: String) {
        match self.status() {
            CredentialsStatus::Valid { .. } => {
                tracing::warn!(%reason, "credentials could not be refreshed yet");
            }
            CredentialsStatus::Settled | CredentialsStatus::Missing { .. } => {
                tracing::error!(%reason, "no valid credentials: requests to the source fail");
            }
        }
        self.known.send_if_modified(|known| match known {
            Known::Some(_) => false,
            Known::Nothing | Known::Failed(_) => {
                *known = Known::Failed(reason);
                true
            }
        });
    }
}

/// Refreshes the credentials until they are dropped.
async fn refresh(credentials: Weak<CachedCredentials>) {
    let mut failures = 0;
    while let Some(current) = credentials.upgrade() {
        let wait = current.fetch(&mut failures).await;
        drop(current);
        match wait {
            Some(wait) => sleep(wait).await,
            // The credentials do not expire.
            None => return,
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
            let expiry = self.clock.now() + Duration::from_secs(seconds);
            Ok(Credentials::new(format!("AK{seconds}"), "SK", None, Some(expiry), "test"))
        }
    }

    fn prepared(lives: &[Result<u64, &'static str>]) -> (Arc<CachedCredentials>, ManualClock) {
        let clock = ManualClock::default();
        let prepared = Prepared { clock: clock.clone(), lives: Mutex::new(lives.iter().copied().collect()) };
        (CachedCredentials::new(Box::new(prepared), Arc::new(clock.clone())), clock)
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
    async fn expired_ones_are_not_used() {
        let (refreshed, clock) = prepared(&[Ok(3600)]);
        key(&refreshed).await.unwrap();
        pass(&clock, 3601).await;
        assert!(key(&refreshed).await.unwrap_err().contains("expired at"));
        assert!(matches!(refreshed.status(), CredentialsStatus::Missing { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_expired_is_as_good_as_nothing() {
        let (refreshed, clock) = prepared(&[Ok(0), Ok(0), Ok(60)]);
        assert!(key(&refreshed).await.unwrap_err().contains("had expired at"));
        assert!(matches!(refreshed.status(), CredentialsStatus::Missing { .. }));
        pass(&clock, 4).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK60");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missing_at_first_may_come_later() {
        let (refreshed, clock) = prepared(&[Err("no profile"), Ok(60)]);
        assert!(key(&refreshed).await.unwrap_err().contains("no profile"));
        pass(&clock, 2).await;
        assert_eq!(key(&refreshed).await.unwrap(), "AK60");
    }
}
