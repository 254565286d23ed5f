//! The access log: one line for each response, written when the response has ended.
//!
//! An [`Entry`] collects what is known of a request while it is answered. A [`Format`] renders it, with
//! the [`redacted`](redact::redacted) query, and the log's [`queue`](crate::telemetry::log::queue) takes the line. The
//! lines do not go through `tracing`, which takes several times as long for one.

pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod redact;
pub(crate) mod request;
mod texts;
pub(crate) mod write;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Version};
use tokio::time::Instant;
use tracing::Level;
use yatagarasu_core::{CacheStatus, Clock, GatewayError, SourceError, SourceTrace, SystemClock};

use crate::config::LogConfig;
use crate::telemetry::counters::Counters;
use crate::telemetry::ended_span::EndedSpan;
use crate::telemetry::log;
use crate::telemetry::log::output::Destination;
use crate::telemetry::log::queue::Queue;
use crate::telemetry::recent::{LONG_BYTES, RecentError, RunningStream};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::spans::ServerSpan;
use crate::telemetry::traffic::{CacheOutcome, Ended, Origin, Traffic, method_index};

use field::{Field, Record};
use format::Format;
use request::Asked;
use texts::{Text, Texts};

/// Target of these lines in the log filter: `yatagarasu::access=off` silences them.
pub const TARGET: &str = "yatagarasu::access";

/// Number of bytes of a response that may be [taken back](Entry::unsent): more than a full pipe.
const UNSENT_MAX: u64 = 2 << 20;

/// Number of bytes of a long response that are counted at a time.
const COUNTED_STEP: u64 = 256 << 10;

/// The access log of one thread.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: Arc<Format>,
    queue: Arc<Queue>,
}

impl AccessLog {
    /// Turns the logs of the process to the places of a configuration, and opens files anew. Returns the access log, or
    /// `None` if it is filtered out, or if no log was started in this process.
    ///
    /// # Errors
    ///
    /// Returns the file that cannot be opened.
    pub(crate) fn start(config: &LogConfig) -> Result<Option<Self>, (Destination, io::Error)> {
        let Some((queue, format)) = log::turn_to(&config.output, &config.access_output)? else {
            return Ok(None);
        };
        if !tracing::enabled!(target: TARGET, Level::INFO) {
            return Ok(None);
        }
        let format = config.access_format.clone().unwrap_or_else(|| Arc::new(Format::of_log(format)));
        Ok(Some(Self { format, queue }))
    }

    /// Returns the same log for another thread.
    pub(crate) fn for_thread(&self) -> Self {
        Self { format: Arc::clone(&self.format), queue: Arc::clone(&self.queue) }
    }
}

/// The log entry of one request. Dropping it counts and logs the response, which has then ended.
#[derive(Debug)]
pub(crate) struct Entry {
    counters: Arc<Counters>,
    begun: Instant,
    /// The time from the request to the response head.
    head: Option<Duration>,
    /// The place of the method among those that are counted.
    method: usize,
    status: StatusCode,
    outcome: CacheOutcome,
    origin: Origin,
    bytes: u64,
    request_id: RequestId,
    /// The counters of the bucket. `None` if no bucket is meant.
    traffic: Option<Arc<Traffic>>,
    /// The key of the object, if the response may be long.
    key: Option<Arc<str>>,
    /// The response while it is listed as one on its way.
    stream: Option<Arc<RunningStream>>,
    /// Bytes of the body that are counted already.
    counted: u64,
    /// Whether the body was cut off, other than by the client.
    broken: bool,
    /// The failure, if the log or a span needs it.
    failure: Option<String>,
    /// The span of the request, if it is recorded.
    span: Option<Box<ServerSpan>>,
    /// `None` if the access log is off, so that nothing is collected in vain.
    line: Option<Box<Line>>,
}

/// Returns the status that is logged if the client left before its response began: 499, as in nginx.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).expect("three digits")
}

/// What only the log needs to know.
#[derive(Debug)]
struct Line {
    /// The wait for the source.
    waited: Option<Waited>,
    method: Method,
    version: Version,
    client: Option<IpAddr>,
    texts: Texts,
    cache: Option<CacheStatus>,
    body: Progress,
}

/// How long a request waited for the source, and what the source was asked meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Waited {
    pub(crate) time: Duration,
    pub(crate) trace: Arc<SourceTrace>,
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
    pub(crate) fn begin(asked: &Asked<'_>, request_id: &RequestId, counters: &Arc<Counters>) -> Self {
        let line = counters.access_log.load().as_ref().map(|log| Box::new(Line::begin(asked, &log.format)));
        counters.begun();
        Self {
            counters: Arc::clone(counters),
            begun: asked.begun,
            head: None,
            method: method_index(asked.method),
            status: client_left(),
            outcome: CacheOutcome::Own,
            origin: Origin::Gateway,
            bytes: 0,
            request_id: request_id.clone(),
            traffic: None,
            key: None,
            stream: None,
            counted: 0,
            broken: false,
            failure: None,
            span: counters.tracing.span(asked),
            line,
        }
    }

    /// Has the requests that are made for this one belong to its span. Without one, removes the trace of a client that does not
    /// count.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        self.counters.tracing.mark(self.span.as_deref(), headers);
    }

    /// Records the bucket and the key that the request leads to.
    pub(crate) fn of(mut self, bucket: &Arc<Traffic>, key: &str) -> Self {
        self.counters.hottest.count(&bucket.bucket, key, self.begun);
        self.traffic = Some(Arc::clone(bucket));
        if let Some(line) = &mut self.line {
            line.texts.set(Text::Key, key);
        }
        self
    }

    /// Lists the response as running, under the key of its object, if it is long.
    pub(crate) fn listed_as(mut self, key: Arc<str>) -> Self {
        self.key = Some(key);
        self
    }

    /// Records that the request waits for the source, in case the client leaves.
    pub(crate) fn awaits_source(&mut self) {
        self.origin = Origin::Source;
    }

    /// Records the wait for the source.
    pub(crate) fn waited(mut self, waited: Option<&Waited>) -> Self {
        if let Some(line) = &mut self.line {
            line.waited = waited.cloned();
        }
        self
    }

    /// Records the status of the response and the part the cache had in it.
    pub(crate) fn answered(mut self, status: StatusCode, handling: CacheStatus) -> Self {
        self.status = status;
        self.head = Some(self.begun.elapsed());
        (self.outcome, self.origin) = (CacheOutcome::of(&handling), Origin::of(&handling));
        if let Some(line) = &mut self.line {
            line.cache = Some(handling);
        }
        self
    }

    /// Records why the request itself is at fault.
    pub(crate) fn invalid(mut self, reason: &str) -> Self {
        self.note(|| reason.to_owned());
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
        let is_long = length.is_none_or(|length| length >= LONG_BYTES);
        if let (Some(traffic), Some(key)) = (&self.traffic, self.key.take_if(|_| is_long)) {
            let client = self.line.as_ref().and_then(|line| line.client);
            let name = [Arc::clone(&traffic.bucket), key];
            self.stream = Some(self.counters.recent.begin(name, client, self.begun, length));
        }
        self.progress(Progress::Promised(length));
    }

    /// Records that the body came to its end.
    pub(crate) fn ended(&mut self) {
        self.progress(Progress::Ended);
    }

    /// Records that the source failed before the end of the body.
    pub(crate) fn broken(&mut self, error: &SourceError) {
        self.failed(error);
        self.broken = true;
        self.progress(Progress::Broken);
    }

    /// Records that the response was cut off, for this reason.
    pub(crate) fn cut(&mut self, reason: &str) {
        self.note(|| reason.to_owned());
        self.broken = true;
        self.progress(Progress::Broken);
    }

    fn progress(&mut self, body: Progress) {
        if let Some(line) = &mut self.line {
            line.body = body;
        }
    }

    /// Adds body bytes that were handed to the connection.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let (Some(stream), Some(traffic)) = (&self.stream, &self.traffic) {
            stream.set_sent(self.bytes);
            // Counted as they go: a stream may take hours.
            let sure = self.bytes.saturating_sub(UNSENT_MAX);
            if sure >= self.counted + COUNTED_STEP {
                traffic.sent(self.outcome, sure - self.counted);
                self.counted = sure;
            }
        }
    }

    /// Takes back body bytes that were handed to the connection and never reached the client's socket.
    pub(crate) fn unsent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        // What was to be the end did not get there.
        if bytes > 0 {
            self.progress(Progress::Broken);
        }
    }

    fn failed(&mut self, error: &SourceError) {
        self.note(|| error.to_string());
    }

    /// Keeps the failure for the log and the span, if there is either.
    fn note(&mut self, failure: impl FnOnce() -> String) {
        if self.line.is_some() || self.span.is_some() {
            self.failure = Some(failure());
        }
    }

    fn error(&self) -> RecentError {
        let line = self.line.as_ref();
        RecentError {
            at: SystemClock.date(),
            status: self.status,
            request_id: self.request_id.to_string(),
            bucket: self.traffic.as_ref().map(|traffic| Arc::clone(&traffic.bucket)),
            method: line.map(|line| line.method.to_string()),
            path: line.and_then(|line| line.texts.get(Text::Path)).map(str::to_owned),
            error: self.failure.clone(),
        }
    }

    fn log(&self, line: &Line, duration: Duration) {
        let log = self.counters.access_log.load();
        let Some(log) = log.as_ref() else { return };
        let whole = match line.body {
            Progress::Promised(length) => length == Some(self.bytes),
            Progress::Ended => true,
            Progress::Broken => false,
        };
        let trace_id = self.span.as_ref().map(|span| span.trace_id());
        let record = Record {
            at: SystemClock.date(),
            client: line.client,
            method: &line.method,
            version: line.version,
            path: line.texts.get(Text::Path).unwrap_or_default(),
            query: line.texts.get(Text::Query),
            host: line.texts.get(Text::Host),
            referer: line.texts.get(Text::Referer),
            user_agent: line.texts.get(Text::UserAgent),
            bucket: self.traffic.as_ref().map(|traffic| &*traffic.bucket),
            key: line.texts.get(Text::Key),
            status: self.status,
            bytes: self.bytes,
            duration,
            first_byte: self.head,
            source: line.waited.as_ref().map(|waited| (waited.time, waited.trace.counts())),
            cache: line.cache,
            request_id: &self.request_id,
            trace_id: trace_id.as_deref(),
            error: self.failure.as_deref(),
            whole,
        };
        log.format.with_line(&record, |line| log.queue.push(line));
    }
}

impl Line {
    fn begin(asked: &Asked<'_>, format: &Format) -> Self {
        let mut texts = Texts::new();
        texts.set(Text::Path, asked.path);
        if let Some(query) = asked.query.filter(|_| format.has(&[Field::Query, Field::Target])) {
            texts.set(Text::Query, &redact::redacted(query));
        }
        if let Some(host) = asked.host().filter(|_| format.has(&[Field::Host])) {
            texts.set(Text::Host, &host);
        }
        let field = |field, name| if format.has(&[field]) { asked.fields.get(name) } else { None };
        if let Some(url) = field(Field::Referer, &http::header::REFERER) {
            texts.set(Text::Referer, &redact::redacted_url(&url));
        }
        if let Some(agent) = field(Field::UserAgent, &http::header::USER_AGENT) {
            texts.set(Text::UserAgent, &agent);
        }
        Self {
            waited: None,
            method: asked.method.clone(),
            version: asked.version,
            client: if format.has(&[Field::Client]) { asked.client() } else { None },
            texts,
            cache: None,
            body: Progress::Promised(None),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let ended = Ended {
            method: self.method,
            status: self.status,
            outcome: self.outcome,
            origin: self.origin,
            body_bytes: self.bytes.saturating_sub(self.counted),
            first_byte: self.head,
            duration,
        };
        self.counters.ended(self.traffic.as_deref(), &ended);
        if self.status.is_server_error() || self.broken {
            self.counters.recent.failed(self.error());
        }
        if let Some(line) = &self.line {
            self.log(line, duration);
        }
        if let Some(span) = self.span.take() {
            span.end(&EndedSpan {
                status: self.status,
                bytes: self.bytes,
                bucket: self.traffic.as_ref().map(|traffic| &*traffic.bucket),
                cache: self.outcome.name(),
                from: self.origin.name(),
                request_id: &self.request_id,
                first_byte: self.head,
                duration,
                broken: self.broken,
                error: self.failure.as_deref(),
            });
        }
    }
}
