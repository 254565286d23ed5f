//! Latency of a hit at a rate that all proxies can sustain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::hits::{self, CONNECTIONS};
use super::{SLACK, WARM, bounded, in_turn, median_of, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Connection, Wanted, Window, open};
use crate::peer::Peer;
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::statistics::percentile;

/// Requested rate, as a fraction of the reference's peak.
const PART: f64 = 0.7;

/// A sample.
#[derive(Debug)]
struct Latencies {
    p50: Duration,
    p99: Duration,
}

/// Measures all proxies at the same rate: 70 % of the peak measured just before. The peak is that of nginx, or of the
/// first proxy if nginx is absent.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Outcome {
    let wanted = Wanted::new("10k");
    let (reference, rate) = match reference(bench, running, &wanted).await {
        Ok((reference, peak)) => (reference.label(), PART * peak),
        Err(error) => {
            let failed = |running: &Running| (running.peer, Cell::Failed(format!("{error:#}")));
            return Outcome { case: Case::P99, cells: running.iter().map(failed).collect() };
        }
    };
    let taken =
        in_turn(bench, running, async |running: &Running| sample(bench, running, &wanted, rate).await).await;
    let detail = |samples: &[Latencies]| {
        let p50 = median_of(samples, |latencies| micros(latencies.p50)).unwrap_or_default();
        format!("p50 {p50:.0} us at {rate:.0} requests/s, 70 % of the peak of {reference}")
    };
    outcome(Case::P99, &taken, |latencies| micros(latencies.p99), detail)
}

/// Returns the proxy that sets the rate, and its peak in requests per second.
async fn reference(bench: &Bench, running: &[Running], wanted: &Wanted) -> anyhow::Result<(Peer, f64)> {
    let nginx = running.iter().find(|running| running.peer == Peer::Nginx);
    let reference = nginx.or(running.first()).ok_or_else(|| anyhow!("nothing runs"))?;
    let wanted: Arc<[Wanted]> = [wanted.clone()].into();
    let hits = bounded(bench, SLACK, hits::sample(bench, reference, &wanted)).await;
    let hits = hits.with_context(|| format!("the peak of {}", reference.peer.label()))?;
    Ok((reference.peer, hits.per_second))
}

async fn sample(
    bench: &Bench,
    running: &Running,
    wanted: &Wanted,
    per_second: f64,
) -> anyhow::Result<Latencies> {
    let connections = Connection::open_many(running.address, CONNECTIONS).await?;
    let window = Window::after(WARM, bench.duration);
    let mut latencies = open(connections, wanted, per_second, window).await?;
    let mut at = |per_mille| percentile(&mut latencies, per_mille).context("no answer in time");
    Ok(Latencies { p50: at(500)?, p99: at(990)? })
}

/// Returns `duration` in microseconds.
pub(super) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
