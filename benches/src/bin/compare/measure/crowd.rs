//! Crowds of streams at a pace, and hits beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::hits::cores;
use super::latency::micros;
use super::prepare::filled;
use super::{alone, median_of};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, Prober, Response, Spent, Wanted, Window, spent};
use crate::peer::{Installed, Peer};
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::statistics::{percentile, real};

/// A crowd, and the cases that are measured with it.
pub(super) struct Shape {
    /// Number of streaming clients.
    streams: u32,
    /// Bytes that each of them takes in a second.
    rate: u64,
    peers: &'static [Peer],
    cases: &'static [(Case, Figure)],
}

/// Returns a figure of a measured crowd.
type Figure = fn(&Crowd) -> f64;

/// Varnish holds a thread for each stream, and breaks them off.
const STREAMERS: &[Peer] = &[Peer::Yatagarasu, Peer::Nginx, Peer::Haproxy];

/// The proxy that the bounds are about.
const FASTEST: &[Peer] = &[Peer::Yatagarasu, Peer::Haproxy];

pub(super) const THOUSAND: Shape = Shape {
    streams: 1_000,
    rate: 1_000_000,
    peers: STREAMERS,
    cases: &[
        (Case::CrowdP50, |crowd| crowd.p50_ms),
        (Case::CrowdP99, |crowd| crowd.p99_ms),
        (Case::CrowdCpu, |crowd| crowd.cpu),
        (Case::CrowdFair, |crowd| crowd.fair),
    ],
};

pub(super) const FULL: Shape = Shape {
    streams: 2_000,
    rate: 1_000_000,
    peers: FASTEST,
    cases: &[(Case::CrowdFullP99, |crowd| crowd.p99_ms), (Case::CrowdFullCpu, |crowd| crowd.cpu)],
};

pub(super) const FAST: Shape = Shape {
    streams: 100,
    rate: 10_000_000,
    peers: FASTEST,
    cases: &[(Case::CrowdFastCpu, |crowd| crowd.cpu)],
};

pub(super) const MANY: Shape = Shape {
    streams: 4_000,
    rate: 100_000,
    peers: FASTEST,
    cases: &[(Case::CrowdManyCpu, |crowd| crowd.cpu)],
};

/// Most bytes a streaming client reads at a time.
const PIECE: usize = 64 * 1024;

/// Time over which the streams begin, one after the other. `STEP` is the time they get to settle before a sample.
const RAMP: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(1);

/// Length of a sample of hits.
const MEASURED: Duration = Duration::from_secs(2);

/// Hits a second.
const HITS: u32 = 500;

const GIB: f64 = 1_073_741_824.0;

/// A measured crowd.
struct Crowd {
    /// Latencies of hits beside the streams, in milliseconds.
    p50_ms: f64,
    p99_ms: f64,
    /// CPU seconds per GiB of the streams.
    cpu: f64,
    /// Bytes of the slowest tenth of the streams, as a part of those of the fastest tenth.
    fair: f64,
    detail: String,
}

/// A sample.
struct Timed {
    spent: Spent,
    p50: Duration,
    p99: Duration,
    queued: bool,
}

/// Measures hits of 10 KiB at a steady rate beside the streams. Every byte of the streams is checked.
pub(super) async fn measure(bench: &Bench, shape: &Shape) -> Vec<Outcome> {
    let measured =
        alone(bench, shape.peers, async |installed: &Installed| one(bench, installed, shape).await).await;
    shape.cases.iter().map(|(case, figure)| outcome(*case, &measured, *figure)).collect()
}

fn outcome(case: Case, measured: &[(Peer, anyhow::Result<Crowd>)], figure: Figure) -> Outcome {
    let cell = |measured: &anyhow::Result<Crowd>| match measured {
        Ok(crowd) => Cell::Measured { value: figure(crowd), detail: crowd.detail.clone() },
        Err(error) => Cell::Failed(format!("{error:#}")),
    };
    Outcome { case, cells: measured.iter().map(|(peer, measured)| (*peer, cell(measured))).collect() }
}

async fn one(bench: &Bench, installed: &Installed, shape: &Shape) -> anyhow::Result<Crowd> {
    let Shape { streams: count, rate, .. } = *shape;
    bench.may_open(u64::from(count) * 2 + 200)?;
    let running = filled(bench, installed, &["10k".to_owned()]).await?;
    let received: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let mut streams = JoinSet::new();
    let begin = Instant::now();
    for turn in 0..count {
        sleep_until(begin + RAMP * turn / count).await;
        let connection = Connection::open(running.address).await?;
        streams.spawn(stream(connection, rate, Arc::clone(&received), turn as usize));
    }
    sleep_until(Instant::now() + STEP).await;
    let before = each(&received);
    let mut timed = Vec::new();
    for _ in 0..bench.samples {
        timed.push(sample(&running, &received).await);
    }
    let fair = fairness(&before, &each(&received));
    let mut broken = Vec::new();
    while let Some(ended) = streams.try_join_next() {
        broken.extend(ended.context("a client panicked")?.err());
    }
    if let Some(first) = broken.first() {
        bail!("{} of {count} streams broke, the first because: {first:#}", broken.len());
    }
    let timed = timed.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let median = |figure: fn(&Timed) -> f64| median_of(&timed, figure).context("no sample");
    Ok(Crowd {
        p50_ms: median(|timed| micros(timed.p50) / 1e3)?,
        p99_ms: median(|timed| micros(timed.p99) / 1e3)?,
        cpu: median(|timed| timed.spent.proxy.as_secs_f64() * GIB / real(timed.spent.counted.max(1)))?,
        fair,
        detail: detail(&timed, u64::from(count) * rate),
    })
}

fn each(received: &[AtomicU64]) -> Vec<u64> {
    received.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect()
}

/// Returns the bytes that the slowest tenth of the streams received in the meantime, as a part of the fastest tenth's.
fn fairness(before: &[u64], after: &[u64]) -> f64 {
    let mut taken: Vec<u64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    taken.sort_unstable();
    let tenth = (taken.len() / 10).max(1);
    let sum = |taken: &[u64]| real(taken.iter().sum());
    sum(&taken[..tenth]) / sum(&taken[taken.len() - tenth..]).max(1.0)
}

/// Times hits while the streams go on.
async fn sample(running: &Running, received: &[AtomicU64]) -> anyhow::Result<Timed> {
    let group = running.group()?;
    let window = Window::after(STEP, MEASURED);
    let prober = Prober::start(running.address, &Wanted::new("10k"), HITS, window)?;
    let spent = spent(window, &group, || each(received).iter().sum()).await;
    let mut probed = prober.probed().await?;
    let mut at = |per_mille| percentile(&mut probed.latencies, per_mille).context("no hit was timed");
    Ok(Timed { spent, p50: at(500)?, p99: at(990)?, queued: probed.queued })
}

fn detail(timed: &[Timed], rate: u64) -> String {
    let median = |figure: fn(&Timed) -> f64| median_of(timed, figure).unwrap_or_default();
    let (p50, p99) = (median(|timed| micros(timed.p50) / 1e3), median(|timed| micros(timed.p99) / 1e3));
    let worst = timed.iter().map(|timed| timed.p99).max().unwrap_or_default();
    let reached = median(|timed| real(timed.spent.counted) / 1e6 / timed.spent.elapsed.as_secs_f64());
    let queued = timed.iter().any(|timed| timed.queued);
    let queued = if queued { "; without chrt: the load's own waiting is in the figure" } else { "" };
    format!(
        "hits: p50 {p50:.2} ms, p99 {p99:.2}, the largest of a sample {:.2}; all bytes right, {reached:.0} of {:.0} MB/s; {}{queued}",
        micros(worst) / 1e3,
        real(rate) / 1e6,
        cores(timed, |timed| timed.spent),
    )
}

/// Reads the large object at its pace, for longer than the measurement, and counts the bytes.
///
/// Reads are due by the bytes received so far, so a proxy that falls behind may catch up.
async fn stream(
    mut connection: Connection,
    rate: u64,
    received: Arc<[AtomicU64]>,
    index: usize,
) -> anyhow::Result<()> {
    let wanted = Wanted::new("large");
    connection.send(&wanted).await?;
    let begun = Instant::now();
    let mut response = Response::new(wanted.object, Checking::Bytes);
    let mut whole = false;
    while !whole {
        let before = response.body_bytes();
        sleep_until(begun + Duration::from_micros(before * 1_000_000 / rate)).await;
        whole = connection.receive(PIECE, &mut response).await?;
        received[index].fetch_add(response.body_bytes() - before, Ordering::Relaxed);
    }
    bail!("it ended before its time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_of_the_tenths() {
        let before: Vec<u64> = (0..20).collect();
        let equal: Vec<u64> = (0..20).map(|bytes| bytes + 100).collect();
        assert!((fairness(&before, &equal) - 1.0).abs() < 1e-9);
        let mut unequal = equal;
        (unequal[0], unequal[1]) = (50, 51);
        assert!((fairness(&before, &unequal) - 0.5).abs() < 1e-9);
    }
}
