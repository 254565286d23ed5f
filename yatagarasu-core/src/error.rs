//! What can go wrong at a source.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

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
    },
    /// The source refuses to give this object to this gateway.
    #[error("the source denied access ({code})")]
    Denied {
        /// The source's error code.
        code: String,
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
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer, or no further byte, in time.
    #[error("the source did not answer within {0:?}")]
    TimedOut(Duration),
    /// The source cannot be reached, or says that it cannot serve now.
    #[error("the source is unavailable: {reason}")]
    Unavailable {
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

impl SourceError {
    /// Says that the source broke its protocol.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into(), cause: None }
    }

    /// Says that the source cannot be reached or cannot serve.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), cause: None }
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
