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
use crate::server::reload::Reloader;
use crate::service::buckets::Buckets;

/// The media type of OpenMetrics, and the version that is written.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What metrics are read from.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) state: Arc<State>,
    pub(crate) buckets: Arc<Buckets>,
    /// Reloads the configuration, if that comes from a file.
    pub(crate) reloader: Option<Arc<Reloader>>,
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
    // These have the names that the libraries of Prometheus give them everywhere.
    registry.register_collector(Box::new(process::Process));
    let mut accepted = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut rendered = String::new();
    let (kind, result) = if accepted.any(|value| value.contains(OPEN_METRICS)) {
        (OPEN_METRICS_TEXT, text::encode(&mut rendered, &registry))
    } else {
        (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut rendered, &registry))
    };
    result.expect("a string takes what is written");
    (HeaderValue::from_static(kind), rendered)
}
