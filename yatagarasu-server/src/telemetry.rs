//! Observability of requests: the [`log`] and the [`access_log`], the [`counters`] behind the metrics with the [`traffic`] of each
//! bucket, the [`failures`] of sources, the [`spans`] of traces, and the [`request_id`] that links a response to its log lines.
//! The dashboard also shows the [`hottest`] objects and [`recent`] errors and streams.

pub mod access_log;
pub mod counters;
pub(crate) mod ended_span;
pub(crate) mod failures;
pub(crate) mod hottest;
pub mod log;
pub(crate) mod recent;
pub(crate) mod request_id;
#[cfg(feature = "otel")]
pub(crate) mod spans;
#[cfg(not(feature = "otel"))]
#[path = "telemetry/no_spans.rs"]
pub(crate) mod spans;
pub(crate) mod traffic;
