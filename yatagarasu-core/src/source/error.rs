//! The errors of a source.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

use crate::source::consequences::{Consequences, Retry, consequences};

/// The reason why a source returned no object.
///
/// A clone is cheap, because all requests that wait for a fill share its error.
#[derive(Clone)]
pub struct SourceError(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    /// A description, for operators. Empty if the kind says it all.
    reason: String,
    response: Option<ErrorResponse>,
    /// The fields that the client's response has as well.
    shown: HeaderMap,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of errors. There is one for each reaction of the caller; [`SourceError::consequences`] lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such object.
    NotFound,
    /// A policy denies access to the object.
    Denied,
    /// The object is in an archive and cannot be read before it is restored.
    Archived,
    /// The source refuses without a reason, as in answer to a HEAD: the object, the gateway or the client may be at
    /// fault. Holds the status for the client.
    Unexplained(StatusCode),
    /// The client asks for something that the source cannot do. Holds the status for the client.
    Invalid(StatusCode),
    /// A condition of the request is false (RFC 9110 13).
    PreconditionFailed,
    /// No byte of the object lies in the requested range (RFC 9110 15.5.17).
    RangeNotSatisfiable {
        /// The object's length in bytes, if the source sent it.
        complete_length: Option<u64>,
    },
    /// The gateway has no credentials for its request.
    NoCredentials,
    /// The source refuses the gateway's credentials or clock.
    Unauthenticated,
    /// The gateway is configured for another source: the region, the endpoint, the bucket's name or the certificates are
    /// wrong.
    Misconfigured,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The source asks for fewer requests.
    Throttled {
        /// How long the source asks to wait.
        retry_after: Option<Duration>,
    },
    /// The gateway has as many connections to the source as it may have.
    Saturated,
    /// Nothing came from the source within this time.
    TimedOut(Duration),
    /// The source has failed for some time, and is not asked until it is back.
    Down,
    /// The source cannot be reached, or reports that it cannot serve now.
    Unavailable,
    /// The source violated its protocol, or sent a response that this gateway does not understand.
    Broken,
}

/// The response of a source that an error comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The source's status.
    pub status: StatusCode,
    /// The source's error code, such as `NoSuchKey`. Empty if it sent none.
    pub code: String,
    /// The source's message. Empty if it sent none.
    pub message: String,
    /// The ids that the source gave the request. Empty if it sent none.
    pub request_id: String,
    /// The fields that a client gets as well ([`shown_with_errors`]), and those that limit how long the error holds.
    pub headers: HeaderMap,
}

/// Fields that say how an error may be stored (RFC 9111 3, 4.2).
const LIFETIME: [HeaderName; 5] =
    [header::AGE, header::CACHE_CONTROL, header::DATE, header::EXPIRES, header::VARY];

/// Returns `true` for a field that a browser needs with an error, too: without the CORS fields, the page that asked
/// cannot even see the status (Fetch, "CORS check").
pub fn shown_with_errors(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("access-control-") || matches!(text, "vary" | "timing-allow-origin")
}

impl ErrorResponse {
    /// Returns a response with those of `headers` that an error keeps.
    pub fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let kept = headers.iter().filter(|(name, _)| shown_with_errors(name) || LIFETIME.contains(name));
        let headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { status, headers, ..Self::default() }
    }

    /// Returns the memory that it takes besides the value itself, in bytes.
    fn weight(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.code.len() + self.message.len() + self.request_id.len() + fields
    }
}

impl SourceError {
    /// Returns an error of this kind.
    pub fn new(kind: ErrorKind) -> Self {
        Self(Arc::new(Inner {
            kind,
            reason: String::new(),
            response: None,
            shown: HeaderMap::new(),
            cause: None,
        }))
    }

    /// Returns an error for a violation of the protocol.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Broken).because(reason)
    }

    /// Returns an error for a source that cannot be reached or cannot serve.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable).because(reason)
    }

    /// Returns the error if nothing came within `limit`. `limited` names what was waited for, and the setting.
    pub fn timed_out(limit: Duration, limited: &str) -> Self {
        Self::new(ErrorKind::TimedOut(limit)).because(limited)
    }

    /// Returns the error for a false condition, evaluated against an object with these fields.
    pub fn precondition_failed(object: &HeaderMap) -> Self {
        let response = ErrorResponse::new(StatusCode::PRECONDITION_FAILED, object);
        Self::new(ErrorKind::PreconditionFailed).answered(response)
    }

    /// Returns the error for a range outside an object of `length` bytes with these fields.
    pub fn range_not_satisfiable(object: &HeaderMap, length: u64) -> Self {
        let response = ErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, object);
        Self::new(ErrorKind::RangeNotSatisfiable { complete_length: Some(length) }).answered(response)
    }

    /// Returns the same error as one of another kind.
    #[must_use]
    pub fn of_kind(self, kind: ErrorKind) -> Self {
        Self(Arc::new(Inner { kind, ..self.into_inner() }))
    }

    /// Adds a description, for operators.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self(Arc::new(Inner { reason: reason.into(), ..self.into_inner() }))
    }

    /// Adds the response of the source that the error comes from.
    #[must_use]
    pub fn answered(self, response: ErrorResponse) -> Self {
        let shown = response.headers.iter().filter(|(name, _)| shown_with_errors(name));
        let shown = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self(Arc::new(Inner { response: Some(response), shown, ..self.into_inner() }))
    }

    /// Sets the fields that the client's response has as well.
    #[must_use]
    pub fn showing(self, shown: HeaderMap) -> Self {
        Self(Arc::new(Inner { shown, ..self.into_inner() }))
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(self, cause: Arc<dyn StdError + Send + Sync>) -> Self {
        Self(Arc::new(Inner { cause: Some(cause), ..self.into_inner() }))
    }

    fn into_inner(self) -> Inner {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            reason: shared.reason.clone(),
            response: shared.response.clone(),
            shown: shared.shown.clone(),
            cause: shared.cause.clone(),
        })
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the source's response, if the error comes from one.
    pub fn response(&self) -> Option<&ErrorResponse> {
        self.0.response.as_ref()
    }

    /// Returns the fields that the client's response has as well: the CORS fields, and `Vary`.
    pub fn shown(&self) -> &HeaderMap {
        &self.0.shown
    }

    /// Returns the source's status, if the error comes from a response.
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(|response| response.status)
    }

    /// Returns what follows from the error.
    pub fn consequences(&self) -> Consequences {
        consequences(self.kind())
    }

    /// Returns whether the source is asked again. A response that is not understood would come again, and so would the
    /// page of a filter before it.
    pub fn retry(&self) -> Retry {
        let is_filter = |status: StatusCode| matches!(status.as_u16(), 403 | 404 | 407);
        match (self.kind(), self.status()) {
            (ErrorKind::Broken, Some(_)) => Retry::Never,
            (ErrorKind::Unavailable, Some(status)) if is_filter(status) => Retry::Never,
            _ => self.consequences().retry,
        }
    }

    /// Returns the memory in bytes that it takes besides the value itself.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Inner>() + self.0.reason.len() + self.response().map_or(0, ErrorResponse::weight)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no such object at the source",
            Self::Denied => "the source denied access to the object",
            Self::Archived => "the object is archived at the source",
            Self::Unexplained(_) => "the source refused without a reason",
            Self::Invalid(_) => "the source rejected the client's request",
            Self::PreconditionFailed => "a precondition failed",
            Self::RangeNotSatisfiable { .. } => "the range lies outside the object",
            Self::NoCredentials => "no credentials for the source",
            Self::Unauthenticated => "the source refused the gateway's credentials or clock",
            Self::Misconfigured => "the gateway's configuration does not fit the source",
            Self::NoSuchBucket => "the bucket does not exist at the source",
            Self::Throttled { .. } => "the source asks to slow down",
            Self::Saturated => "the gateway has no free connection to the source",
            Self::TimedOut(limit) => return write!(f, "nothing came from the source within {limit:?}"),
            Self::Down => "the source is down, and is not asked until it is back",
            Self::Unavailable => "the source is unavailable",
            Self::Broken => "the response of the source is incomplete or invalid",
        })
    }
}

/// Writes the kind, the description, and what the source said in parentheses.
impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        if !self.0.reason.is_empty() {
            write!(f, ": {}", self.0.reason)?;
        }
        let Some(response) = self.response() else { return Ok(()) };
        write!(f, " ({}", response.status.as_u16())?;
        for (before, text) in
            [(" ", &response.code), (": ", &response.message), ("; request id ", &response.request_id)]
        {
            if !text.is_empty() {
                write!(f, "{before}{text}")?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} \"{self}\"", self.0.kind)
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_has_what_the_source_said() {
        let error = SourceError::new(ErrorKind::NotFound);
        assert_eq!(error.to_string(), "no such object at the source");
        let response = ErrorResponse {
            status: StatusCode::NOT_FOUND,
            code: "NoSuchKey".to_owned(),
            message: "The specified key does not exist.".to_owned(),
            request_id: "4442587FB7D0A2F9".to_owned(),
            headers: HeaderMap::new(),
        };
        assert_eq!(
            error.answered(response.clone()).to_string(),
            "no such object at the source (404 NoSuchKey: The specified key does not exist.; request id \
             4442587FB7D0A2F9)"
        );
        let bare = ErrorResponse { code: String::new(), message: String::new(), ..response };
        let bare = SourceError::broken("why").answered(ErrorResponse { request_id: String::new(), ..bare });
        assert_eq!(bare.to_string(), "the response of the source is incomplete or invalid: why (404)");
    }

    #[test]
    fn a_response_keeps_the_fields_for_browsers_and_caches() {
        let mut headers = HeaderMap::new();
        for name in
            ["access-control-allow-origin", "vary", "expires", "content-type", "x-amz-meta-a", "server"]
        {
            headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
        }
        let kept = ErrorResponse::new(StatusCode::NOT_FOUND, &headers).headers;
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["access-control-allow-origin", "expires", "vary"]);
    }
}
