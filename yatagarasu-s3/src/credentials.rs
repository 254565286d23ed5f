//! The credentials that requests are signed with, and the region.
//!
//! Static credentials come from the configuration. Others come from the AWS [`chain`]; [`refresh`] fetches them when
//! they are first needed, and again before they expire. [`region`] finds the region if the configuration names none.

mod chain;
mod refresh;
pub(crate) mod region;

use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use yatagarasu_core::{Clock, SourceError};

use crate::config::Access;

pub(crate) use refresh::CachedCredentials;

/// The credentials of one bucket.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// Requests are not signed.
    Anonymous,
    /// The credentials never change.
    Static(AwsCredentials),
    /// The credentials are fetched when first needed, and again before they expire.
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
}

impl Credentials {
    pub(crate) fn new(access: &Access, clock: Arc<dyn Clock>) -> Self {
        match access {
            Access::Anonymous => Self::Anonymous,
            Access::Static(given) => Self::Static(AwsCredentials::new(
                &given.access_key,
                &given.secret_key,
                given.session_token.clone(),
                None,
                "configuration",
            )),
            Access::Chain => Self::Cached(CachedCredentials::new(Box::new(chain::Chain), clock)),
        }
    }

    /// Returns the credentials to sign with, or `None` if requests are not signed.
    pub(crate) async fn current(&self) -> Result<Option<AwsCredentials>, SourceError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Static(credentials) => Ok(Some(credentials.clone())),
            Self::Cached(refreshed) => refreshed.current().await.map(Some),
        }
    }

    /// Returns the state of the credentials. Fetches none.
    pub(crate) fn status(&self) -> CredentialsStatus {
        match self {
            Self::Anonymous | Self::Static(_) => CredentialsStatus::Settled,
            Self::Cached(refreshed) => refreshed.status(),
        }
    }
}
