//! Renders all metrics: in OpenMetrics if the client takes it, else in the text format of Prometheus.
//!
//! Each file writes some [`families`]: [`clients`] what clients get, [`buckets`] what is stored and asked of S3, and
//! [`process`] what the process itself takes.

mod buckets;
mod clients;
mod families;
mod process;

use std::fmt;
use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::admin::State;
use crate::admin::metrics::families::Families;
use crate::server::event_queue::QueueRead;
use crate::server::reload::Reloader;
use crate::service::buckets::Buckets;

/// The media type of OpenMetrics, and the version that is written.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The sources of the metrics.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) state: Arc<State>,
    pub(crate) buckets: Arc<Buckets>,
    /// Reloads the configuration, if that comes from a file.
    pub(crate) reloader: Option<Arc<Reloader>>,
    /// The messages of the queue of `events.sqs`, if there is one.
    pub(crate) queue: Option<QueueRead>,
}

impl Collector for Metered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        clients::write(&mut families, &self.state)?;
        buckets::write(&mut families, &self.buckets)?;
        process::write(&mut families, self)
    }
}

/// Returns all metrics in the format that a request with these fields asks for, and its media type.
pub(crate) fn exposition(metered: Metered, asked: &HeaderMap) -> (HeaderValue, String) {
    let mut registry = Registry::default();
    registry.sub_registry_with_prefix("yatagarasu").register_collector(Box::new(metered));
    // Named as the Prometheus client libraries name them.
    registry.register_collector(Box::new(process::Process));
    let accepted = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut rendered = String::new();
    let (kind, result) = if accepted.flat_map(|value| value.split(',')).any(is_open_metrics) {
        (OPEN_METRICS_TEXT, text::encode(&mut rendered, &registry))
    } else {
        (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut rendered, &registry))
    };
    result.expect("a string takes what is written");
    (HeaderValue::from_static(kind), rendered)
}

/// Returns `true` if a member of `Accept` is for OpenMetrics 1 (RFC 9110 12.5.1).
fn is_open_metrics(member: &str) -> bool {
    let mut parts = member.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS));
    is_named
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| match name {
            "q" => value.parse::<f32>().is_ok_and(|weight| weight > 0.0),
            "version" => value.trim_matches('"').starts_with("1."),
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_written_for_those_who_take_it() {
        for (member, expected) in [
            ("application/openmetrics-text", true),
            (" application/openmetrics-text; version=1.0.0; q=0.5", true),
            ("application/openmetrics-text;version=\"1.0.0\";escaping=allow-utf-8", true),
            ("application/openmetrics-text;version=0.0.1", false),
            ("application/openmetrics-text;q=0", false),
            ("text/plain", false),
            ("*/*", false),
        ] {
            assert_eq!(is_open_metrics(member), expected, "{member}");
        }
    }
}
