//! The access log: one structured line for each response, written when the response has ended.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::Level;
use yatagarasu_core::{CacheStatus, GatewayError, SourceError};

use crate::telemetry::counters::Counters;
use crate::telemetry::request_id::RequestId;

/// Target of these lines in the log filter: `yatagarasu::access=off` silences them.
pub const TARGET: &str = "yatagarasu::access";

/// The log entry of one request. Dropping it counts and logs the response, which has then ended.
#[derive(Debug)]
pub(crate) struct Entry {
    counters: Arc<Counters>,
    status: StatusCode,
    bytes: u64,
    request_id: RequestId,
    bucket: Option<Arc<str>>,
    /// `None` if the filter silences the line, so that nothing is collected in vain.
    line: Option<Box<Line>>,
}

/// Returns the status that is logged if the client left before its response began: 499, as in nginx.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).expect("three digits")
}

#[derive(Debug)]
struct Line {
    begun: Instant,
    method: Method,
    /// The object's key, or the path if it leads to no bucket.
    key: String,
    cache: Option<CacheStatus>,
    failure: Option<String>,
    body: Progress,
}

/// Progress of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Has this length, or an unknown one if `None`. Not known to have ended.
    Promised(Option<u64>),
    /// Came to its end.
    Ended,
    /// Was cut off: the source failed, or the client took nothing.
    Broken,
}

impl Entry {
    /// Starts the entry of a request when its head is complete.
    pub(crate) fn begin(
        method: &Method,
        path: &str,
        request_id: &RequestId,
        counters: &Arc<Counters>,
    ) -> Self {
        let line = tracing::enabled!(target: TARGET, Level::INFO).then(|| {
            Box::new(Line {
                begun: Instant::now(),
                method: method.clone(),
                key: path.to_owned(),
                cache: None,
                failure: None,
                body: Progress::Promised(None),
            })
        });
        let (counters, request_id) = (Arc::clone(counters), request_id.clone());
        Self { counters, status: client_left(), bytes: 0, request_id, bucket: None, line }
    }

    /// Records the bucket and the key that the request leads to.
    pub(crate) fn of(mut self, bucket: &Arc<str>, key: &str) -> Self {
        self.bucket = Some(Arc::clone(bucket));
        if let Some(line) = &mut self.line {
            key.clone_into(&mut line.key);
        }
        self
    }

    /// Records the status of the response and the part the cache had in it.
    pub(crate) fn answered(mut self, status: StatusCode, handling: CacheStatus) -> Self {
        self.status = status;
        if let Some(line) = &mut self.line {
            line.cache = Some(handling);
        }
        self
    }

    /// Records why the request itself is at fault.
    pub(crate) fn invalid(mut self, reason: &str) -> Self {
        if let Some(line) = &mut self.line {
            line.failure = Some(reason.to_owned());
        }
        self
    }

    /// Records why there is no object.
    pub(crate) fn refused(mut self, refusal: &GatewayError) -> Self {
        match refusal {
            GatewayError::OnlyIfCached => {}
            GatewayError::Source(error) => self.failed(error),
        }
        self
    }

    /// Records the length of the body, if it is known.
    pub(crate) fn promised(&mut self, length: Option<u64>) {
        self.progress(Progress::Promised(length));
    }

    /// Records that the body came to its end.
    pub(crate) fn ended(&mut self) {
        self.progress(Progress::Ended);
    }

    /// Records that the source failed before the end of the body.
    pub(crate) fn broken(&mut self, error: &SourceError) {
        self.failed(error);
        self.progress(Progress::Broken);
    }

    /// Records that the response was cut off because the client took nothing for too long.
    pub(crate) fn cut(&mut self) {
        if let Some(line) = &mut self.line {
            line.failure = Some("the client took nothing for `server.send_timeout`".to_owned());
            line.body = Progress::Broken;
        }
    }

    fn progress(&mut self, body: Progress) {
        if let Some(line) = &mut self.line {
            line.body = body;
        }
    }

    /// Adds body bytes that were handed to the connection.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn failed(&mut self, error: &SourceError) {
        if let Some(line) = &mut self.line {
            line.failure = Some(error.to_string());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.counters.responded(self.status, self.bytes);
        let Some(line) = &self.line else { return };
        let whole = match line.body {
            Progress::Promised(length) => length == Some(self.bytes),
            Progress::Ended => true,
            Progress::Broken => false,
        };
        tracing::info!(
            target: TARGET,
            method = %line.method,
            bucket = self.bucket.as_deref(),
            key = line.key,
            status = self.status.as_u16(),
            bytes = self.bytes,
            duration_ms = u64::try_from(line.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            cache = line.cache.map(|cache| cache.to_string()),
            request_id = %self.request_id,
            error = line.failure,
            whole,
            "response"
        );
    }
}
