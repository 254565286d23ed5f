//! Whom requests are signed for, now.

mod chain;
mod refresh;
pub(crate) mod region;

use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use yatagarasu_core::{Clock, SourceError};

use crate::config::Access;

pub(crate) use refresh::CachedCredentials;

/// Where a bucket's credentials come from.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// There are none, and none are needed.
    Anonymous,
    /// They never change.
    Static(AwsCredentials),
    /// They are fetched when first needed, and again before they expire.
    Cached(Arc<CachedCredentials>),
}

/// How a bucket's credentials stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsStatus {
    /// None are needed, or they are static, or they have not been needed yet.
    Settled,
    /// They are valid until then, or for good.
    Valid {
        /// When they expire.
        until: Option<SystemTime>,
    },
    /// There are none that could be used.
    Missing {
        /// Why.
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

    /// The credentials to sign with; `None` where requests are not signed.
    pub(crate) async fn current(&self) -> Result<Option<AwsCredentials>, SourceError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Static(credentials) => Ok(Some(credentials.clone())),
            Self::Cached(refreshed) => refreshed.current().await.map(Some),
        }
    }

    /// How they stand, without asking for any.
    pub(crate) fn status(&self) -> CredentialsStatus {
        match self {
            Self::Anonymous | Self::Static(_) => CredentialsStatus::Settled,
            Self::Cached(refreshed) => refreshed.status(),
        }
    }
}
