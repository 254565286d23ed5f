//! The errors of a source, and their meaning for the cache.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::caching::cache_control::CacheControl;
use crate::caching::vary::Vary;

/// How long and for which requests a refusal may be stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NegativeCaching {
    /// The `Cache-Control` of the refusal.
    pub control: CacheControl,
    /// The request fields that the refusal depends on.
    pub vary: Vary,
}

/// The reason why a source returned no object. There is one variant for each reaction of the caller.
///
/// A clone is cheap, because all requests that wait for a fill share its error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// There is no such object. `code` is the source's error code (`NoSuchKey`, `NoSuchBucket`), empty if it sent
    /// none.
    #[error("no such object at the source ({code})")]
    NotFound {
        /// The source's error code.
        code: String,
        /// How the refusal may be stored.
        caching: Box<NegativeCaching>,
    },
    /// The source denies this gateway access to the object.
    #[error("the source denied access ({code})")]
    Denied {
        /// The source's error code.
        code: String,
        /// How the refusal may be stored.
        caching: Box<NegativeCaching>,
    },
    /// A condition of the request is false (RFC 9110 13).
    #[error("a precondition failed")]
    PreconditionFailed,
    /// No byte of the object lies in the requested range (RFC 9110 15.5.17).
    #[error("the range lies outside the object")]
    RangeNotSatisfiable {
        /// The object's length in bytes, if the source sent it.
        complete_length: Option<u64>,
    },
    /// The source asks for fewer requests.
    #[error("the source asks to slow down")]
    Throttled {
        /// The source's status.
        status: StatusCode,
        /// How long the source asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer, or no further byte, within this time.
    #[error("the source did not answer within {0:?}")]
    TimedOut(Duration),
    /// The source cannot be reached, or reports that it cannot serve now.
    #[error("the source is unavailable: {reason}")]
    Unavailable {
        /// The source's status, if it answered.
        status: Option<StatusCode>,
        /// A description of the failure.
        reason: String,
        /// The underlying error, if any.
        #[source]
        cause: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// The gateway has no credentials for its request.
    #[error("no credentials for the source: {0}")]
    NoCredentials(String),
    /// The source violated its protocol, or sent a response that this gateway does not understand.
    #[error("the source broke its protocol: {reason}")]
    Broken {
        /// A description of the failure.
        reason: String,
        /// The underlying error, if any.
        #[source]
        cause: Option<Arc<dyn StdError + Send + Sync>>,
    },
}

/// The meaning of a source's refusal for the requested object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The object is missing, or this gateway may not read it.
    Object,
    /// The source refuses the gateway's keys or clock, regardless of the object.
    Gateway,
    /// The source gives no reason or an unknown one, so it may be either. S3 gives none in answer to a HEAD.
    Unexplained,
    /// The error says nothing about the object.
    None,
}

impl SourceError {
    /// Returns an error for a violation of the protocol.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into(), cause: None }
    }

    /// Returns an error for a source that cannot be reached or cannot serve.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { status: None, reason: reason.into(), cause: None }
    }

    /// Returns an error for an object that does not exist.
    pub fn not_found(code: impl Into<String>) -> Self {
        Self::NotFound { code: code.into(), caching: Box::default() }
    }

    /// Returns the meaning of the error for the object (Amazon S3 API reference, "List of error codes").
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

    /// Returns the memory in bytes that the error's code and caching take besides the value itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::NotFound { code, caching } | Self::Denied { code, caching } => {
                let names: usize = match &caching.vary {
                    Vary::None | Vary::Any => 0,
                    Vary::Fields(names) => {
                        names.iter().map(|name| name.as_str().len() + size_of::<HeaderName>()).sum()
                    }
                };
                code.len() + size_of::<NegativeCaching>() + names
            }
            // These errors are never stored.
            Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. }
            | Self::Throttled { .. }
            | Self::TimedOut(_)
            | Self::Unavailable { .. }
            | Self::NoCredentials(_)
            | Self::Broken { .. } => 0,
        }
    }

    /// Returns the source's status, if the source answered and the status is known.
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

    /// Returns `true` if a joined request should send its own source request after this error. It should not if
    /// the source answered deliberately, or asks for fewer requests.
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

    /// Returns `true` if the same request may succeed shortly.
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
