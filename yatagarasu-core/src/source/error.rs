//! What can go wrong at a source.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::caching::cache_control::CacheControl;
use crate::caching::vary::Vary;

/// How a refusal may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// For how long.
    pub control: CacheControl,
    /// Which fields of the request it depends on.
    pub vary: Vary,
}

/// Why a source did not give an object. One variant for each thing the caller does next.
///
/// Cheap to clone, because everyone who waits for a fill shares its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// There is no such object. `code` is the source's own word for it (`NoSuchKey`, `NoSuchBucket`), empty
    /// where it gave none.
    #[error("no such object at the source ({code})")]
    NotFound {
        /// The source's error code.
        code: String,
        /// For how long and for whom the source says it.
        manner: Box<Manner>,
    },
    /// The source refuses to give this object to this gateway.
    #[error("the source denied access ({code})")]
    Denied {
        /// The source's error code.
        code: String,
        /// For how long and for whom the source says it.
        manner: Box<Manner>,
    },
    /// A condition of the request does not hold (RFC 9110 13).
    #[error("a precondition failed")]
    PreconditionFailed,
    /// No byte of the object lies in the range asked for (RFC 9110 15.5.17).
    #[error("the range lies outside the object")]
    RangeNotSatisfiable {
        /// The object's length in bytes, where the source said it.
        complete_length: Option<u64>,
    },
    /// The source asks for fewer requests.
    #[error("the source asks to slow down")]
    Throttled {
        /// The status it says that with.
        status: StatusCode,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer, or no further byte, in time.
    #[error("the source did not answer within {0:?}")]
    TimedOut(Duration),
    /// The source cannot be reached, or says that it cannot serve now.
    #[error("the source is unavailable: {reason}")]
    Unavailable {
        /// The status it says that with, where it says anything.
        status: Option<StatusCode>,
        /// What happened, in words.
        reason: String,
        /// The failure below, where there is one.
        #[source]
        cause: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// The gateway has no credentials to ask with.
    #[error("no credentials for the source: {0}")]
    NoCredentials(String),
    /// The source broke its protocol, or answered what this gateway does not understand.
    #[error("the source broke its protocol: {reason}")]
    Broken {
        /// What happened, in words.
        reason: String,
        /// The failure below, where there is one.
        #[source]
        cause: Option<Arc<dyn StdError + Send + Sync>>,
    },
}

/// What a source's refusal says of the object that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The object is missing, or this gateway may not read it.
    Object,
    /// The source refuses the gateway's keys or clock, whatever the object.
    Gateway,
    /// The source gives no reason, or one that is not known: it may be either. S3 gives none to a HEAD.
    Unexplained,
    /// The failure says nothing of the object.
    None,
}

impl SourceError {
    /// Says that the source broke its protocol.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into(), cause: None }
    }

    /// Says that the source cannot be reached or cannot serve.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { status: None, reason: reason.into(), cause: None }
    }

    /// Says that there is no such object.
    pub fn not_found(code: impl Into<String>) -> Self {
        Self::NotFound { code: code.into(), manner: Box::default() }
    }

    /// Returns what the failure says of the object (Amazon S3 API reference, "List of error codes").
    pub fn denial(&self) -> Denial {
        match self {
            Self::NotFound { .. } => Denial::Object,
            Self::Denied { code, .. } => match code.as_str() {
                "AccessDenied" => Denial::Object,
                "AccountProblem"
                | "ExpiredToken"
                | "InvalidAccessKeyId"
                | "InvalidSecurity"
                | "InvalidToken"
                | "NotSignedUp"
                | "RequestExpired"
                | "RequestTimeTooSkewed"
                | "SignatureDoesNotMatch"
                | "TokenRefreshRequired" => Denial::Gateway,
                _ => Denial::Unexplained,
            },
            Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. }
            | Self::Throttled { .. }
            | Self::TimedOut(_)
            | Self::Unavailable { .. }
            | Self::NoCredentials(_)
            | Self::Broken { .. } => Denial::None,
        }
    }

    /// Bytes that what the source said takes, beside the value itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::NotFound { code, manner } | Self::Denied { code, manner } => {
                let names: usize = match &manner.vary {
                    Vary::None | Vary::Any => 0,
                    Vary::Fields(names) => {
                        names.iter().map(|name| name.as_str().len() + size_of::<HeaderName>()).sum()
                    }
                };
                code.len() + size_of::<Manner>() + names
            }
            // None of these is remembered.
            Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. }
            | Self::Throttled { .. }
            | Self::TimedOut(_)
            | Self::Unavailable { .. }
            | Self::NoCredentials(_)
            | Self::Broken { .. } => 0,
        }
    }

    /// The status the source said it with, where it answered and that is known.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::NotFound { .. } => Some(StatusCode::NOT_FOUND),
            Self::Denied { .. } => Some(StatusCode::FORBIDDEN),
            Self::PreconditionFailed => Some(StatusCode::PRECONDITION_FAILED),
            Self::RangeNotSatisfiable { .. } => Some(StatusCode::RANGE_NOT_SATISFIABLE),
            Self::Throttled { status, .. } => Some(*status),
            Self::Unavailable { status, .. } => *status,
            Self::TimedOut(_) | Self::NoCredentials(_) | Self::Broken { .. } => None,
        }
    }

    /// Whether another client's request is to be sent after this one failed: not where the source answered as it
    /// means to, and not where it asks for fewer requests.
    pub fn is_worth_another_try(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Unavailable { .. } | Self::Broken { .. } => true,
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. }
            | Self::Throttled { .. }
            | Self::NoCredentials(_) => false,
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::TimedOut(_)
            | Self::Unavailable { .. }
            | Self::NoCredentials(_)
            | Self::Broken { .. } => true,
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. } => false,
        }
    }
}
