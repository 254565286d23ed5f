//! One structured line for each response, written when it has ended.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use tracing::Level;
use yatagarasu_core::{Handling, ObjectKey, Outcome, SourceError};

use crate::metrics::Metrics;

/// What the log filter calls these lines: `yatagarasu::access=off` silences them.
pub const TARGET: &str = "yatagarasu::access";

/// What is known of one request so far; written when dropped, with the body that holds it.
#[derive(Debug)]
pub(crate) struct Entry {
    metrics: Arc<Metrics>,
    status: StatusCode,
    bytes: u64,
    /// Nothing is put together for a line that nobody reads.
    line: Option<Box<Line>>,
}

/// What is logged for a client that left before its response began: 499, as nginx has it.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).expect("three digits")
}

#[derive(Debug)]
struct Line {
    begun: Instant,
    method: Method,
    bucket: Option<Arc<str>>,
    /// The object's key, or the path where there is no bucket.
    key: String,
    request_id: HeaderValue,
    cache: Option<Handling>,
    failure: Option<String>,
    expected: Option<u64>,
}

impl Entry {
    /// Begins with the request's head.
    pub(crate) fn begin(
        method: &Method,
        path: &str,
        request_id: &HeaderValue,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let line = tracing::enabled!(target: TARGET, Level::INFO).then(|| {
            Box::new(Line {
                begun: Instant::now(),
                method: method.clone(),
                bucket: None,
                key: path.to_owned(),
                request_id: request_id.clone(),
                cache: None,
                failure: None,
                expected: None,
            })
        });
        Self { metrics: Arc::clone(metrics), status: client_left(), bytes: 0, line }
    }

    /// Notes where the request leads.
    pub(crate) fn of(mut self, bucket: &Arc<str>, key: &ObjectKey) -> Self {
        if let Some(line) = &mut self.line {
            line.bucket = Some(Arc::clone(bucket));
            line.key = key.to_string();
        }
        self
    }

    /// Notes what became of it. Failures of the source are logged by themselves as well, with their cause.
    pub(crate) fn handled(mut self, outcome: &Outcome) -> Self {
        if let Err(error) = &outcome.reply {
            self.failed(error);
        }
        if let Some(line) = &mut self.line {
            line.cache = Some(outcome.handling);
            line.expected = outcome.reply.as_ref().ok().and_then(|reply| reply.body.remaining());
        }
        self
    }

    /// Notes the status.
    pub(crate) fn status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Notes bytes on their way.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Notes a failure of the source.
    pub(crate) fn failed(&mut self, error: &SourceError) {
        if error.is_transient() {
            tracing::warn!(error = %error, "the source failed");
        }
        if let Some(line) = &mut self.line {
            line.failure = Some(error.to_string());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.metrics.responded(self.status, self.bytes);
        let Some(line) = &self.line else { return };
        let whole = line.failure.is_none() && line.expected.is_none_or(|expected| expected == self.bytes);
        tracing::info!(
            target: TARGET,
            method = %line.method,
            bucket = line.bucket.as_deref(),
            key = line.key,
            status = self.status.as_u16(),
            bytes = self.bytes,
            duration_ms = u64::try_from(line.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            cache = line.cache.map(|cache| cache.to_string()),
            request_id = line.request_id.to_str().unwrap_or_default(),
            error = line.failure,
            whole,
            "response"
        );
    }
}
