//! One structured line for each response, written when it has ended.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::Level;
use yatagarasu_core::{Handling, Refusal, SourceError};

use crate::http::RequestId;
use crate::metrics::Counters;

/// What the log filter calls these lines: `yatagarasu::access=off` silences them.
pub const TARGET: &str = "yatagarasu::access";

/// What is known of one request so far; written when dropped, with the body that holds it.
#[derive(Debug)]
pub(crate) struct Entry {
    counters: Arc<Counters>,
    status: StatusCode,
    bytes: u64,
    request_id: RequestId,
    bucket: Option<Arc<str>>,
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
    /// The object's key, or the path where there is no bucket.
    key: String,
    cache: Option<Handling>,
    failure: Option<String>,
    body: Progress,
}

/// How far a body got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// This many bytes are promised, or as many as come.
    Promised(Option<u64>),
    /// It came to its end.
    Ended,
    /// It was broken off: by the source, or because the client took nothing.
    Broken,
}

impl Entry {
    /// Begins with the request's head.
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

    /// Notes where the request leads.
    pub(crate) fn of(mut self, bucket: &Arc<str>, key: &str) -> Self {
        self.bucket = Some(Arc::clone(bucket));
        if let Some(line) = &mut self.line {
            key.clone_into(&mut line.key);
        }
        self
    }

    /// Notes the response, and how the cache took part.
    pub(crate) fn answered(mut self, status: StatusCode, handling: Handling) -> Self {
        self.status = status;
        if let Some(line) = &mut self.line {
            line.cache = Some(handling);
        }
        self
    }

    /// Notes why there is no object. Failures that may pass are logged by themselves as well.
    pub(crate) fn refused(mut self, refusal: &Refusal) -> Self {
        match refusal {
            Refusal::OnlyIfCached => {}
            Refusal::Source(error) => self.failed(error),
        }
        self
    }

    /// Notes how long the body will be, where that is known.
    pub(crate) fn promised(&mut self, length: Option<u64>) {
        self.progress(Progress::Promised(length));
    }

    /// Notes that the body came to its end.
    pub(crate) fn ended(&mut self) {
        self.progress(Progress::Ended);
    }

    /// Notes that the source broke the body off.
    pub(crate) fn broken(&mut self, error: &SourceError) {
        self.failed(error);
        self.progress(Progress::Broken);
    }

    /// Notes that the client has taken nothing for too long, and gets no more.
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

    /// Notes bytes on their way.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn failed(&mut self, error: &SourceError) {
        if error.is_transient() {
            let (bucket, request_id) = (self.bucket.as_deref(), &self.request_id);
            tracing::warn!(%error, bucket, %request_id, "the source failed");
        }
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
