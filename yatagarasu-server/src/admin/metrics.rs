//! Renders all metrics in the text format of Prometheus.

use std::fmt::Write;
use std::time::SystemTime;

use yatagarasu_core::cache::retired::retired_bytes;
use yatagarasu_s3::CredentialsStatus;

use crate::admin::State;
use crate::build::origin::Origin;
use crate::connection::admission::Excess;
use crate::server::reload::Reloader;
use crate::service::buckets::{Bucket, Buckets};
use crate::telemetry::counters::{Counters, Handshake};
use crate::telemetry::failures::FAULTS;
use crate::telemetry::log::panics;
use crate::telemetry::log::queue::lines_dropped;

/// Writes the metrics of TLS towards clients.
fn tls(text: &mut Exposition, state: &State) {
    let handshakes = "yatagarasu_tls_handshakes_total";
    text.family(handshakes, "counter", "TLS handshakes of clients by their end.");
    for (index, (_, end)) in Handshake::ALL.iter().enumerate() {
        let count = state.metrics.sum(|thread| thread.handshakes[index].read());
        text.sample(handshakes, &format!("result=\"{end}\""), count);
    }
    let expiry = "yatagarasu_tls_certificate_expiry_seconds";
    text.family(expiry, "gauge", "End of each certificate shown to clients, in seconds of Unix time.");
    for listener in &*state.listeners {
        let (config, terms) = (listener.config(), listener.terms());
        for (index, certificate) in terms.tls.iter().flat_map(|tls| tls.certificates.all()).enumerate() {
            let labels = format!("listener=\"{}\",certificate=\"{index}\"", config.key);
            let since = certificate.ends().duration_since(SystemTime::UNIX_EPOCH);
            text.sample(expiry, &labels, since.map_or(0, |since| since.as_secs()));
        }
    }
    let renewals = "yatagarasu_tls_certificate_reads_total";
    text.family(renewals, "counter", "Changed certificate files that were read again, by result.");
    for listener in state.listeners.iter().filter(|listener| listener.config().tls.is_some()) {
        let [read, failed] = listener.renewals();
        for (result, count) in [("read", read), ("failed", failed)] {
            let labels = format!("listener=\"{}\",result=\"{result}\"", listener.config().key);
            text.sample(renewals, &labels, count);
        }
    }
}

/// Returns all metrics in the text format of Prometheus.
pub(crate) fn exposition(state: &State, buckets: &Buckets, reloader: Option<&Reloader>) -> String {
    let State { metrics, memory, admission, limits, .. } = state;
    let mut text = Exposition(String::new());
    text.family("yatagarasu_responses_total", "counter", "Responses by class of status.");
    for class in 0..5 {
        let responses = metrics.sum(|thread| thread.responses[class].read());
        text.sample("yatagarasu_responses_total", &format!("class=\"{}xx\"", class + 1), responses);
    }
    text.family("yatagarasu_response_body_bytes_total", "counter", "Bytes of response bodies.");
    text.sample("yatagarasu_response_body_bytes_total", "", metrics.sum(|thread| thread.body_bytes.read()));
    text.family(
        "yatagarasu_send_timeouts_total",
        "counter",
        "Connections and streams ended because their clients took nothing.",
    );
    text.sample("yatagarasu_send_timeouts_total", "", metrics.sum(|thread| thread.send_timeouts.read()));
    let name = "yatagarasu_response_bytes";
    text.family(name, "gauge", "Bytes of objects that responses hold and no cache does any more.");
    text.sample(name, "", retired_bytes());
    let name = "yatagarasu_response_memory_cuts_total";
    text.family(name, "counter", "Responses ended because of `server.response_memory`.");
    text.sample(name, "", metrics.sum(|thread| thread.response_memory_cuts.read()));
    text.family("yatagarasu_connections", "gauge", "Open client connections.");
    let connections = metrics.sum(Counters::open);
    text.sample("yatagarasu_connections", "", connections);
    text.family("yatagarasu_connections_max", "gauge", "Limit of open client connections.");
    text.sample("yatagarasu_connections_max", "", limits.borrow().connections_max as u64);
    let refused = "yatagarasu_connections_refused_total";
    text.family(refused, "counter", "Connections refused or ended because they exceeded a limit.");
    for ((_, limit), count) in Excess::ALL.iter().zip(admission.refused()) {
        text.sample(refused, &format!("limit=\"{limit}\""), count);
    }
    tls(&mut text, state);
    text.family("yatagarasu_fill_bytes", "gauge", "Bytes reserved for objects being fetched.");
    text.sample("yatagarasu_fill_bytes", "", memory.fills.reserved());
    text.family("yatagarasu_wide_socket_bytes", "gauge", "Bytes reserved for the sockets of fast streams.");
    text.sample("yatagarasu_wide_socket_bytes", "", memory.sockets.reserved());
    text.family("yatagarasu_log_lines_dropped_total", "counter", "Log lines that could not be written.");
    text.sample("yatagarasu_log_lines_dropped_total", "", lines_dropped());
    text.family(
        "yatagarasu_panics_total",
        "counter",
        "Faults of this program, each of which has ended a request.",
    );
    text.sample("yatagarasu_panics_total", "", panics());
    if let Some((succeeded, failed, at)) = reloader.map(Reloader::history) {
        let name = "yatagarasu_config_reloads_total";
        text.family(name, "counter", "Reloads of the configuration.");
        text.sample(name, "result=\"success\"", succeeded);
        text.sample(name, "result=\"failure\"", failed);
        let name = "yatagarasu_config_loaded_timestamp_seconds";
        text.family(name, "gauge", "When the configuration that runs was loaded.");
        text.sample(name, "", at);
    }
    write_buckets(&mut text, buckets);
    write_origins(&mut text, buckets);
    text.0
}

/// The name, the type and the meaning of a family of samples, and how one is read.
type Family<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

fn write_buckets(text: &mut Exposition, buckets: &Buckets) {
    let families: [Family<Bucket>; 9] = [
        ("hits_total", "counter", "Requests answered from the cache.", |bucket| bucket.gateway.stats().hits),
        ("forwards_total", "counter", "Requests that went to S3, or joined one that did.", |bucket| {
            bucket.gateway.stats().forwards
        }),
        ("collapsed_total", "counter", "Forwarded requests that joined the fill of another one.", |bucket| {
            bucket.gateway.stats().collapsed
        }),
        (
            "revalidated_total",
            "counter",
            "Requests answered from memory after S3 had confirmed the object.",
            |bucket| bucket.gateway.stats().revalidated,
        ),
        ("stale_total", "counter", "Requests answered with a stale object.", |bucket| {
            bucket.gateway.stats().stale
        }),
        ("stored_total", "counter", "Objects, and parts of objects, stored.", |bucket| {
            bucket.gateway.stats().stored
        }),
        ("errors_total", "counter", "Requests answered with an error.", |bucket| {
            bucket.gateway.stats().errors
        }),
        ("cache_objects", "gauge", "Objects in the cache.", |bucket| bucket.gateway.usage().objects),
        ("cache_bytes", "gauge", "Bytes in the cache, bookkeeping included.", |bucket| {
            bucket.gateway.usage().bytes
        }),
    ];
    for (name, kind, help, read) in families {
        let name = format!("yatagarasu_{name}");
        text.family(&name, kind, help);
        for bucket in buckets.all() {
            text.sample(&name, &label(bucket), read(bucket));
        }
    }
    let name = "yatagarasu_source_errors_total";
    text.family(name, "counter", "Errors of requests to the source, by the party at fault.");
    for bucket in buckets.all() {
        for ((_, fault), errors) in FAULTS.iter().zip(bucket.failures.counts()) {
            text.sample(name, &format!("{},fault=\"{fault}\"", label(bucket)), errors);
        }
    }
    let failover = "yatagarasu_source_failover_total";
    text.family(failover, "counter", "Requests that a fallback has answered.");
    for bucket in buckets.all().iter().filter(|bucket| bucket.origins.len() > 1) {
        text.sample(failover, &label(bucket), bucket.failover.answered());
    }
}

/// Writes the state of all sources, and what was done to heal their faults.
fn write_origins(text: &mut Exposition, buckets: &Buckets) {
    let families: [Family<Origin>; 10] = [
        ("source_retries_total", "counter", "Requests sent to S3 again.", |origin| {
            origin.healing.stats().retried
        }),
        (
            "source_retries_refused_total",
            "counter",
            "Requests not sent again, because a fifth of all already were.",
            |origin| origin.healing.stats().exhausted,
        ),
        ("source_resumed_total", "counter", "Bodies of S3 that broke off and were continued.", |origin| {
            origin.healing.stats().resumed
        }),
        (
            "source_resumed_bytes_total",
            "counter",
            "Bytes of continued bodies that were not sent a second time.",
            |origin| origin.healing.stats().resumed_bytes,
        ),
        (
            "source_broken_total",
            "counter",
            "Bodies of S3 that broke off and could not be continued.",
            |origin| origin.healing.stats().broken,
        ),
        ("source_hedged_total", "counter", "Second requests, because the first ones took long.", |origin| {
            origin.healing.stats().hedged
        }),
        ("source_hedges_won_total", "counter", "Second requests that were answered first.", |origin| {
            origin.healing.stats().hedges_won
        }),
        ("source_refused_total", "counter", "Requests not sent because S3 is down.", |origin| {
            origin.circuit.refused()
        }),
        ("source_up", "gauge", "0 while S3 is down and is not asked, else 1.", |origin| {
            u64::from(!origin.circuit.is_open())
        }),
        ("credentials_valid", "gauge", "0 if there are no credentials, or S3 refuses them.", |origin| {
            u64::from(origin.built.credentials().is_usable())
        }),
    ];
    let origins = || buckets.all().iter().flat_map(|bucket| &bucket.origins);
    for (name, kind, help, read) in families {
        let name = format!("yatagarasu_{name}");
        text.family(&name, kind, help);
        for origin in origins() {
            text.sample(&name, &named(&origin.name), read(origin));
        }
    }
    let name = "yatagarasu_credentials_expiry_timestamp_seconds";
    text.family(name, "gauge", "When the credentials expire.");
    for origin in origins() {
        if let CredentialsStatus::Valid { until: Some(until) } = origin.built.credentials() {
            let seconds = until.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            text.sample(name, &named(&origin.name), seconds);
        }
    }
}

fn label(bucket: &Bucket) -> String {
    named(&bucket.name)
}

fn named(name: &str) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("bucket=\"{name}\"")
}

struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string takes what is written");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        writeln!(self.0, "{name}{labels} {value}").expect("a string takes what is written");
    }
}
