//! Metrics of responses, connections and TLS.

use std::fmt;
use std::time::SystemTime;

use yatagarasu_core::cache::retired::retired_bytes;

use crate::admin::State;
use crate::admin::metrics::families::Families;
use crate::connection::admission::Excess;
use crate::connection::splice::spliced_bytes;
use crate::connection::state::Look;
use crate::telemetry::counters::{Counters, Handshake, Metrics, Multiplexed};
#[cfg(feature = "otel")]
use crate::telemetry::spans::{RESULTS, Tracing};
use crate::telemetry::traffic::{CLASSES, CacheOutcome, METHODS, Origin, TrafficSum};
use crate::tls::certificate::Certificate;

/// The places of GET and of 5xx, and what the cache did for the errors that clients get.
const GET: usize = 0;
const SERVER_ERRORS: usize = 4;
const ERRORS: [CacheOutcome; 3] = [CacheOutcome::Joined, CacheOutcome::Pass, CacheOutcome::Own];

pub(super) fn write(families: &mut Families<'_>, state: &State) -> fmt::Result {
    responses(families, &state.metrics)?;
    #[cfg(feature = "otel")]
    traces(families, &state.memory.tracing)?;
    memory(families, state)?;
    connections(families, state)?;
    tls(families, state)
}

/// Returns the labels and the counts of the responses that have been, and of the errors that a GET may get: a rule sees no
/// growth from nothing. All that are possible would be many.
fn counted(sum: &TrafficSum) -> impl Iterator<Item = ([(&str, String); 4], u64)> {
    (0..METHODS.len()).flat_map(move |method| {
        (0..CLASSES).flat_map(move |class| {
            CacheOutcome::ALL.iter().filter_map(move |(outcome, cache)| {
                let count = sum.responses[method][class][*outcome as usize];
                let labels = [
                    ("bucket", sum.bucket.to_string()),
                    ("method", METHODS[method].to_owned()),
                    ("status", format!("{}xx", class + 1)),
                    ("cache", (*cache).to_owned()),
                ];
                let is_error = method == GET && class == SERVER_ERRORS && ERRORS.contains(outcome);
                (count > 0 || is_error).then_some((labels, count))
            })
        })
    })
}

fn responses(families: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let traffic: Vec<TrafficSum> = metrics.traffic().into_values().collect();
    families.counters("requests", "Responses that have ended.", traffic.iter().flat_map(counted))?;
    let bytes = traffic.iter().flat_map(|sum| {
        let outcomes = CacheOutcome::ALL.iter().zip(sum.body_bytes).filter(|(_, bytes)| *bytes > 0);
        outcomes.map(|((_, cache), bytes)| ([("bucket", &*sum.bucket), ("cache", *cache)], bytes))
    });
    families.counters("response_body_bytes", "Bytes of response bodies sent to clients.", bytes)?;
    let first_byte = traffic.iter().flat_map(|sum| {
        let origins = Origin::ALL.iter().zip(&sum.first_byte);
        origins.map(|((_, from), times)| ([("bucket", &*sum.bucket), ("from", *from)], times.clone()))
    });
    let help = "Time from the head of a request to the head of its response.";
    families.histograms("time_to_first_byte", help, first_byte)?;
    let duration = traffic.iter().flat_map(|sum| {
        let origins = Origin::ALL.iter().zip(&sum.duration);
        origins.map(|((_, from), times)| ([("bucket", &*sum.bucket), ("from", *from)], times.clone()))
    });
    let help = "Time from the head of a request to the end of its response.";
    families.histograms("request_duration", help, duration)?;
    let running = metrics.sum(Counters::running);
    families.gauge("requests_running", "Requests whose responses have not ended.", running)?;
    let help = "Bytes of responses that were moved past the process.";
    families.counter("spliced_bytes", help, spliced_bytes())?;
    let help = "Connections and streams ended because their clients took nothing.";
    families.counter("send_timeouts", help, metrics.sum(|thread| thread.send_timeouts.read()))
}

#[cfg(feature = "otel")]
fn traces(families: &mut Families<'_>, tracing: &Tracing) -> fmt::Result {
    let Some(counts) = tracing.counts() else { return Ok(()) };
    let spans = RESULTS.iter().zip(counts.spans()).map(|(result, count)| ([("result", *result)], count));
    families.counters("spans", "Spans of traced requests, by what has become of them.", spans)?;
    let help =
        "Time from the head of a traced request to the end of its response, with the trace as exemplar.";
    families.counted_histograms("traced_request_duration", help, &counts.durations)
}

fn memory(families: &mut Families<'_>, state: &State) -> fmt::Result {
    let help = "Bytes of objects that responses hold and no cache does any more.";
    families.gauge("response_memory_bytes", help, retired_bytes())?;
    let max = state.limits.borrow().response_memory;
    families.gauge("response_memory_bytes_max", "Limit of these bytes.", max)?;
    let cuts = state.metrics.sum(|thread| thread.response_memory_cuts.read());
    families.counter("response_memory_cuts", "Responses ended because of `server.response_memory`.", cuts)?;
    let (fills, sockets) = (&state.memory.fills, &state.memory.sockets);
    families.gauge("fill_bytes", "Bytes reserved for objects being fetched.", fills.reserved())?;
    families.gauge("fill_bytes_max", "Limit of these bytes.", fills.bytes_max())?;
    let help = "Bytes reserved for the sockets of fast streams.";
    families.gauge("wide_socket_bytes", help, sockets.reserved())?;
    families.gauge("wide_socket_bytes_max", "Limit of these bytes.", sockets.bytes_max())
}

fn connections(families: &mut Families<'_>, state: &State) -> fmt::Result {
    let metrics = &state.metrics;
    let multiplexed =
        Multiplexed::ALL.map(|(protocol, name)| (name, metrics.sum(|thread| thread.speaking(protocol))));
    let all = metrics.sum(Counters::open);
    let of_http1 = all.saturating_sub(multiplexed.iter().map(|(_, count)| count).sum());
    let samples = [("http1", of_http1)].into_iter().chain(multiplexed);
    let samples = samples.map(|(protocol, count)| ([("protocol", protocol)], count));
    let help = "Open client connections. A connection without a request yet counts as one of HTTP/1.";
    families.gauges("connections", help, samples)?;
    let states = Look::ALL.map(|(look, name)| ([("state", name)], metrics.sum(|thread| thread.found(look))));
    let help = "Open client connections by what their latest look has found, a second ago at most.";
    families.gauges("connections_by_state", help, states)?;
    let max = state.limits.borrow().connections_max as u64;
    families.gauge("connections_max", "Limit of open client connections.", max)?;
    let refused = Excess::ALL.iter().zip(state.admission.refused());
    let refused = refused.map(|((_, limit), count)| ([("limit", *limit)], count));
    let help = "Connections refused or ended because they exceeded a limit.";
    families.counters("connections_refused", help, refused)
}

fn tls(families: &mut Families<'_>, state: &State) -> fmt::Result {
    let handshakes = Handshake::ALL.iter().enumerate().map(|(index, (_, end))| {
        ([("result", *end)], state.metrics.sum(|thread| thread.handshakes[index].read()))
    });
    families.counters("tls_handshakes", "TLS handshakes of clients by their end.", handshakes)?;
    certificates(families, state)?;
    let with_tls = state.listeners.iter().filter(|listener| listener.config().tls.is_some());
    let reads = with_tls.flat_map(|listener| {
        let [read, failed] = listener.renewals();
        let results = [("read", read), ("failed", failed)];
        results.map(|(result, count)| {
            ([("listener", listener.config().key.clone()), ("result", result.to_owned())], count)
        })
    });
    let help = "Changed certificate files that were read again, by result.";
    families.counters("tls_certificate_reads", help, reads)
}

fn certificates(families: &mut Families<'_>, state: &State) -> fmt::Result {
    let times = |time: fn(&Certificate) -> SystemTime| {
        state.listeners.iter().flat_map(move |listener| {
            let (config, terms) = (listener.config(), listener.terms());
            let times: Vec<SystemTime> =
                terms.tls.iter().flat_map(|tls| tls.certificates.all()).map(time).collect();
            times.into_iter().enumerate().map(move |(index, at)| {
                let labels = [("listener", config.key.clone()), ("certificate", index.to_string())];
                (labels, unix_seconds(at))
            })
        })
    };
    let name = "tls_certificate_expiry_timestamp_seconds";
    families.gauges(name, "End of each certificate shown to clients.", times(Certificate::ends))?;
    let name = "tls_certificate_start_timestamp_seconds";
    families.gauges(name, "Start of each certificate shown to clients.", times(Certificate::begins))
}

/// Returns the seconds of Unix time.
pub(super) fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
