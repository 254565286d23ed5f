//! The span of a client's request.

use std::sync::Arc;
use std::time::SystemTime;

use http::Version;
use http::header::{self, HeaderMap};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};
use yatagarasu_core::http::trace_context::{TRACE_PARENT, TRACE_STATE, TraceContext};
use yatagarasu_core::{Clock, SystemClock};

use crate::telemetry::access_log::redact::redacted;
use crate::telemetry::access_log::request::Asked;
use crate::telemetry::ended_span::EndedSpan;

use super::{Ended, Tracer};

/// Methods that are named as they are (OpenTelemetry Semantic Conventions for HTTP, `http.request.method`).
const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];

/// Maximum length of a text in a span, in bytes: clients write some of them.
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// Returns the beginning of a text that is too long for a span.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, cut(value).to_owned())
}

/// The span of a client's request, from its head to the end of the response.
#[derive(Debug)]
pub(crate) struct ServerSpan {
    tracer: Arc<Tracer>,
    context: TraceContext,
    /// The span of the client, if it has one.
    parent: Option<u64>,
    begun: SystemTime,
    method: &'static str,
    attributes: Vec<KeyValue>,
}

impl ServerSpan {
    /// Starts the span of a request, if it is to be recorded.
    pub(super) fn begin(tracer: &Arc<Tracer>, asked: &Asked<'_>) -> Option<Box<Self>> {
        let given = asked.fields.all(&TRACE_PARENT);
        let given = if let [one] = given[..] { TraceContext::parse(one) } else { None };
        let (context, parent) = tracer.context(given);
        if !context.is_sampled() {
            return None;
        }
        let method = METHODS.iter().find(|one| **one == asked.method.as_str());
        let mut attributes = Vec::with_capacity(16);
        attributes.push(text("http.request.method", method.unwrap_or(&"_OTHER")));
        if method.is_none() {
            attributes.push(text("http.request.method_original", asked.method.as_str()));
        }
        attributes.push(text("url.scheme", if asked.is_secure { "https" } else { "http" }));
        attributes.push(text("url.path", asked.path));
        if let Some(query) = asked.query {
            attributes.push(text("url.query", &redacted(query)));
        }
        if let Some(host) = asked.host() {
            let (name, port) = split_port(&host);
            attributes.push(text("server.address", name));
            if let Some(port) = port {
                attributes.push(KeyValue::new("server.port", i64::from(port)));
            }
        }
        attributes.push(text("network.protocol.version", version(asked.version)));
        if let Some(client) = asked.client() {
            attributes.push(text("client.address", &client.to_string()));
        }
        if let Some(agent) = asked.fields.get(&header::USER_AGENT) {
            attributes.push(text("user_agent.original", &agent));
        }
        let (tracer, begun) = (Arc::clone(tracer), SystemClock.date());
        Some(Box::new(Self { tracer, context, parent, begun, method: method.unwrap_or(&"HTTP"), attributes }))
    }

    /// Has the requests that are made for this one belong to the span.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(TRACE_PARENT, self.context.field());
        if self.parent.is_none() {
            headers.remove(TRACE_STATE);
        }
    }

    /// Returns the number of the trace, as it is written.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.context.trace_id)
    }

    /// Ends the span with the response.
    pub(crate) fn end(self, ended: &EndedSpan<'_>) {
        let Self { tracer, context, parent, begun, method, mut attributes } = self;
        let status = i64::from(ended.status.as_u16());
        attributes.push(KeyValue::new("http.response.status_code", status));
        attributes
            .push(KeyValue::new("http.response.body.size", i64::try_from(ended.bytes).unwrap_or(i64::MAX)));
        attributes.push(KeyValue::new("yatagarasu.cache", ended.cache));
        attributes.push(KeyValue::new("yatagarasu.request_id", ended.request_id.to_string()));
        if let Some(bucket) = ended.bucket {
            attributes.push(KeyValue::new("yatagarasu.bucket", bucket.to_owned()));
        }
        if let Some(first_byte) = ended.first_byte {
            attributes.push(KeyValue::new("yatagarasu.first_byte", first_byte.as_secs_f64()));
        }
        let labels =
            [("bucket", ended.bucket.unwrap_or_default().to_owned()), ("from", ended.from.to_owned())];
        let exemplar = [("trace_id", format!("{:032x}", context.trace_id))];
        let durations = tracer.counts.durations.get_or_create(&labels);
        durations.observe(ended.duration.as_secs_f64(), Some(exemplar), Some(SystemClock.date()));
        drop(durations);
        let has_failed = ended.status.is_server_error() || ended.broken;
        let status = if has_failed {
            let kind = if ended.broken { "broken".to_owned() } else { status.to_string() };
            attributes.push(KeyValue::new("error.type", kind));
            Status::error(cut(ended.error.unwrap_or_default()).to_owned())
        } else {
            Status::Unset
        };
        let name = ended.bucket.map_or_else(|| method.to_owned(), |bucket| format!("{method} {bucket}"));
        let (kind, parent, duration) = (SpanKind::Server, parent.map(|id| (id, true)), ended.duration);
        tracer.take(Ended { name, kind, context, parent, begun, duration, attributes, status });
    }
}

/// Returns the name and the port of a host.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

/// Returns a version as traces name it.
fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_and_may_have_a_port() {
        for (host, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:8080", ("a.example", Some(8080))),
            ("[::1]:80", ("[::1]", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("a:b", ("a:b", None)),
            (":80", (":80", None)),
        ] {
            assert_eq!(split_port(host), expected, "{host}");
        }
    }
}
