//! No traces: this build has no feature `otel`.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::config::TracingConfig;
use crate::telemetry::access_log::request::Asked;
use crate::telemetry::request_id::RequestId;

/// Nothing is traced.
#[derive(Debug, Default)]
pub(crate) struct Tracing;

/// There is none.
#[derive(Debug)]
pub(crate) enum ServerSpan {}

/// What is known of a response that has ended.
#[derive(Debug)]
#[expect(dead_code, reason = "there is no span that it ends")]
pub(crate) struct EndedSpan<'a> {
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) cache: &'static str,
    pub(crate) from: &'static str,
    pub(crate) request_id: &'a RequestId,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) duration: Duration,
    pub(crate) broken: bool,
    pub(crate) error: Option<&'a str>,
}

impl Tracing {
    /// Does nothing: a configuration with a collector is refused.
    pub(crate) fn turn_to(&self, _: &TracingConfig) {}

    /// Does nothing.
    #[expect(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn stop(&self) {}

    /// Returns `None`.
    pub(crate) fn span(&self, _: &Asked<'_>) -> Option<Box<ServerSpan>> {
        None
    }

    /// Does nothing.
    pub(crate) fn mark(&self, _: Option<&ServerSpan>, _: &mut HeaderMap) {}
}

impl ServerSpan {
    /// Is not called.
    pub(crate) fn trace_id(&self) -> String {
        match *self {}
    }

    /// Is not called.
    pub(crate) fn end(self, _: &EndedSpan<'_>) {
        match self {}
    }
}
