//! No traces: this build has no feature `otel`.

use http::HeaderMap;

use crate::config::TracingConfig;
use crate::telemetry::access_log::request::Asked;
use crate::telemetry::ended_span::EndedSpan;

/// Nothing is traced.
#[derive(Debug, Default)]
pub(crate) struct Tracing;

/// There is none.
#[derive(Debug)]
pub(crate) enum ServerSpan {}

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
