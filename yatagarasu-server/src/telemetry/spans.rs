//! Traces of requests, for a collector of OpenTelemetry.
//!
//! Each sampled request has a [`ServerSpan`], which ends with its response. The request goes on with a `traceparent` that names this
//! span, and so each request to S3 that is made for it is a span below: [`source`] records those. [`export`] sends both, by
//! OTLP over HTTP. A request that another one waits for belongs to the trace of the one that began it.
//!
//! A request that is not sampled costs a look at its `traceparent` and a random number; without a collector, a look at a pointer.

mod export;
mod server_span;
pub(crate) mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use tokio::sync::mpsc::Sender;
use yatagarasu_core::ClientControl;
use yatagarasu_core::histogram::REQUEST_TIMES;
use yatagarasu_core::http::trace_context::{SAMPLED, TRACE_PARENT, TRACE_STATE, TraceContext};

use crate::config::TracingConfig;
use crate::telemetry::access_log::request::Asked;

use export::Exporting;
pub(crate) use server_span::ServerSpan;

/// The results of spans, with their names in metrics.
pub(crate) const RESULTS: [&str; 3] = ["exported", "dropped", "failed"];

const EXPORTED: usize = 0;
const DROPPED: usize = 1;
const FAILED: usize = 2;

/// The tracing of the process: on or off, as the configuration that runs says.
#[derive(Debug, Default)]
pub(crate) struct Tracing {
    tracer: ArcSwapOption<Tracer>,
    counts: Arc<Counts>,
}

/// The results of spans.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Spans in the order of [`RESULTS`].
    spans: [AtomicU64; RESULTS.len()],
    /// The times of recorded requests to the ends of their responses, each with the number of its trace.
    pub(crate) durations: Durations,
}

/// Histograms by the bucket and by [`Origin`](crate::telemetry::traffic::Origin).
pub(crate) type Durations =
    Family<[(&'static str, String); 2], HistogramWithExemplars<[(&'static str, String); 1]>>;

impl Default for Counts {
    fn default() -> Self {
        let histogram = || {
            #[expect(clippy::cast_precision_loss, reason = "the bounds are exact to a microsecond")]
            let bounds = REQUEST_TIMES.iter().map(|nanos| *nanos as f64 / 1e9);
            HistogramWithExemplars::new(bounds)
        };
        Self { spans: Default::default(), durations: Family::new_with_constructor(histogram) }
    }
}

/// Starts spans, and takes them when they have ended.
#[derive(Debug)]
pub(crate) struct Tracer {
    config: TracingConfig,
    queue: Sender<SpanData>,
    counts: Arc<Counts>,
    scope: InstrumentationScope,
    /// The task that sends the spans.
    exporting: Exporting,
}

/// A span that has ended.
#[derive(Debug)]
struct Ended {
    name: String,
    kind: SpanKind,
    context: TraceContext,
    /// The number of the span above it, if there is one, and whether it is another program's.
    parent: Option<(u64, bool)>,
    begun: SystemTime,
    duration: Duration,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Tracing {
    /// Turns to the tracing of a configuration. What has been traced before is still sent, if the collector takes it soon. Needs
    /// the runtime of the thread.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the last requests to the collector, which have a time limit"
    )]
    pub(crate) fn turn_to(&self, config: &TracingConfig) {
        let running = self.tracer.load_full();
        if running.as_ref().map_or_else(|| config.endpoint.is_none(), |running| running.config == *config) {
            return;
        }
        let next = config.endpoint.as_deref().and_then(|url| {
            let started = Tracer::start(config, url, &self.counts);
            started.inspect_err(|error| tracing::error!(%error, url, "requests cannot be traced")).ok()
        });
        self.tracer.store(next.map(Arc::new));
        if let Some(earlier) = running {
            tokio::spawn(async move { earlier.exporting.finish().await });
        }
    }

    /// Sends what has been traced, if the collector takes it soon, and traces no more.
    pub(crate) async fn stop(&self) {
        if let Some(tracer) = self.tracer.swap(None) {
            tracer.exporting.finish().await;
        }
    }

    /// Starts the span of a request, if it is to be recorded.
    pub(crate) fn span(&self, asked: &Asked<'_>) -> Option<Box<ServerSpan>> {
        self.tracer.load().as_ref().and_then(|tracer| ServerSpan::begin(tracer, asked))
    }

    /// Sets the `traceparent` of a request to its span, which the requests to S3 for it then belong to. Without a span, removes that
    /// of the client if the traces of clients do not count.
    pub(crate) fn mark(&self, span: Option<&ServerSpan>, headers: &mut HeaderMap) {
        match (span, &*self.tracer.load()) {
            (Some(span), _) => span.mark(headers),
            (None, Some(tracer)) if tracer.config.parent == ClientControl::Ignore => {
                headers.remove(TRACE_PARENT);
                headers.remove(TRACE_STATE);
            }
            (None, _) => {}
        }
    }

    /// Returns the tracer, if requests are traced.
    fn tracer(&self) -> Option<Arc<Tracer>> {
        self.tracer.load_full()
    }

    /// Returns the results of spans, or `None` if requests are not traced.
    pub(crate) fn counts(&self) -> Option<&Counts> {
        self.tracer.load().as_ref().map(|_| &*self.counts)
    }
}

impl Counts {
    /// Returns the number of spans by result, in the order of [`RESULTS`].
    pub(crate) fn spans(&self) -> [u64; RESULTS.len()] {
        self.spans.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn add(&self, result: usize, spans: u64) {
        self.spans[result].fetch_add(spans, Ordering::Relaxed);
    }
}

impl Tracer {
    fn start(config: &TracingConfig, url: &str, counts: &Arc<Counts>) -> Result<Self, export::NoExporter> {
        let (queue, exporting) = export::start(url, &config.service, counts)?;
        let scope =
            InstrumentationScope::builder("yatagarasu").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { config: config.clone(), queue, counts: Arc::clone(counts), scope, exporting })
    }

    /// Returns the trace that a request with this `traceparent` belongs to, and whether it is recorded. A trace of its own has no
    /// parent.
    fn context(&self, given: Option<TraceContext>) -> (TraceContext, Option<u64>) {
        let parent = match self.config.parent {
            ClientControl::Respect => given,
            ClientControl::Ignore => None,
        };
        let own_id = || std::iter::repeat_with(|| fastrand::u64(..)).find(|id| *id != 0).unwrap_or(1);
        if let Some(parent) = parent {
            return (TraceContext { parent_id: own_id(), ..parent }, Some(parent.parent_id));
        }
        let flags = if fastrand::f64() < self.config.ratio { SAMPLED } else { 0 };
        // All bits are random: systems further on may decide by some of them whether they record the trace.
        let trace_id = (u128::from(own_id()) << 64) | u128::from(fastrand::u64(..));
        (TraceContext { trace_id, parent_id: own_id(), flags }, None)
    }

    /// Takes a span that has ended. Drops it if the exporter has no room for it.
    fn take(&self, ended: Ended) {
        let Ended { name, kind, context, parent, begun, duration, attributes, status } = ended;
        let (trace_id, own_id) = (TraceId::from(context.trace_id), SpanId::from(context.parent_id));
        let state = TraceState::default();
        let span = SpanData {
            span_context: SpanContext::new(trace_id, own_id, TraceFlags::SAMPLED, false, state),
            parent_span_id: parent.map_or(SpanId::INVALID, |(id, _)| SpanId::from(id)),
            parent_span_is_remote: parent.is_some_and(|(_, is_remote)| is_remote),
            span_kind: kind,
            name: name.into(),
            start_time: begun,
            end_time: begun + duration,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        };
        if self.queue.try_send(span).is_err() {
            self.counts.add(DROPPED, 1);
        }
    }
}
