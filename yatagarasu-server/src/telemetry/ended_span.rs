//! The facts about a response by which its span ends.

use std::time::Duration;

use http::StatusCode;

use crate::telemetry::request_id::RequestId;

/// A response that has ended.
#[derive(Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only spans read it"))]
pub(crate) struct EndedSpan<'a> {
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
    pub(crate) bucket: Option<&'a str>,
    /// The part that the cache had in it, as in metrics.
    pub(crate) cache: &'static str,
    /// The origin of the response, as in metrics.
    pub(crate) from: &'static str,
    pub(crate) request_id: &'a RequestId,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) duration: Duration,
    /// Whether the body was cut off, other than by the client.
    pub(crate) broken: bool,
    pub(crate) error: Option<&'a str>,
}
