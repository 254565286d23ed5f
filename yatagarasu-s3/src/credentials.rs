//! The credentials that requests are signed with, and the region.
//!
//! Static credentials come from the configuration. Others come from the AWS [`chain`]; [`refresh`] fetches them when
//! they are first needed, again before they expire, and when S3 refuses them. [`region`] finds the region if the
//! configuration names none.

mod chain;
mod http;
mod refresh;
pub(crate) mod region;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use yatagarasu_core::{Clock, ErrorKind, SourceError};

use crate::config::Access;

pub(crate) use refresh::CachedCredentials;

/// The credentials of one bucket, and whether S3 accepts them.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// The name of the bucket in log lines.
    bucket: Arc<str>,
    provider: Provider,
    /// Whether S3 refused the latest signed request because of its credentials.
    is_refused: AtomicBool,
    /// The reason, for operators.
    refusal: Mutex<String>,
}

#[derive(Debug)]
enum Provider {
    /// Requests are not signed.
    Anonymous,
    /// The credentials never change.
    Static(AwsCredentials),
    /// The credentials are fetched.
    Cached(Arc<CachedCredentials>),
}

/// The state of a bucket's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsStatus {
    /// The credentials are not needed, are static, or have not been needed yet.
    Settled,
    /// The credentials are valid.
    Valid {
        /// The time of expiry, or `None` if they do not expire.
        until: Option<SystemTime>,
    },
    /// There are no usable credentials.
    Missing {
        /// The reason, for operators.
        reason: String,
    },
    /// S3 refuses the credentials.
    Refused {
        /// The reason, for operators.
        reason: String,
    },
}

impl CredentialsStatus {
    /// Returns `true` if requests can be signed and S3 has not refused the signature.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Settled | Self::Valid { .. } => true,
            Self::Missing { .. } | Self::Refused { .. } => false,
        }
    }
}

impl Credentials {
    pub(crate) fn new(bucket: &Arc<str>, access: &Access, clock: Arc<dyn Clock>) -> Self {
        let provider = match access {
            Access::Anonymous => Provider::Anonymous,
            Access::Static(given) => Provider::Static(AwsCredentials::new(
                &given.access_key,
                &given.secret_key,
                given.session_token.clone(),
                None,
                "configuration",
            )),
            Access::Chain => {
                let cached = CachedCredentials::new(Arc::clone(bucket), Box::new(chain::Chain), clock);
                Provider::Cached(cached)
            }
        };
        Self {
            bucket: Arc::clone(bucket),
            provider,
            is_refused: AtomicBool::new(false),
            refusal: Mutex::default(),
        }
    }

    /// Returns the credentials to sign with, or `None` if requests are not signed.
    pub(crate) async fn current(&self) -> Result<Option<AwsCredentials>, SourceError> {
        match &self.provider {
            Provider::Anonymous => Ok(None),
            Provider::Static(credentials) => Ok(Some(credentials.clone())),
            Provider::Cached(cached) => cached.current().await.map(Some),
        }
    }

    /// Notes that S3 accepted a signed request.
    pub(crate) fn accepted(&self) {
        // Nearly every request ends here. So the value is written only if it changes.
        if self.is_refused.load(Ordering::Relaxed) && self.is_refused.swap(false, Ordering::Relaxed) {
            tracing::info!(bucket = &*self.bucket, "the credentials are accepted again");
        }
    }

    /// Notes that S3 refused a request signed with `used`, and fetches others if that is possible. Returns `true` if
    /// there are others now.
    pub(crate) async fn refused(&self, used: &AwsCredentials, error: &SourceError) -> bool {
        let others = match &self.provider {
            Provider::Anonymous | Provider::Static(_) => false,
            Provider::Cached(cached) => cached.renew(used).await,
        };
        if !others {
            error.to_string().clone_into(&mut self.refusal());
            if !self.is_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %error,
                    bucket = &*self.bucket,
                    access_key = used.access_key_id(),
                    "the credentials are refused: check the keys, or the clock of this machine"
                );
            }
        }
        others
    }

    /// Returns the error for requests that cannot be signed, with the reason.
    pub(crate) fn missing(&self) -> SourceError {
        let error = SourceError::new(ErrorKind::NoCredentials);
        match self.status() {
            CredentialsStatus::Missing { reason } => error.because(reason),
            CredentialsStatus::Settled
            | CredentialsStatus::Valid { .. }
            | CredentialsStatus::Refused { .. } => error,
        }
    }

    /// Returns the state of the credentials. Fetches none.
    pub(crate) fn status(&self) -> CredentialsStatus {
        if self.is_refused.load(Ordering::Relaxed) {
            return CredentialsStatus::Refused { reason: self.refusal().clone() };
        }
        match &self.provider {
            Provider::Anonymous | Provider::Static(_) => CredentialsStatus::Settled,
            Provider::Cached(cached) => cached.status(),
        }
    }

    fn refusal(&self) -> MutexGuard<'_, String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
