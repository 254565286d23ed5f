//! Hits beside a thousand streams.

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
use crate::peer::Installed;
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::statistics::{percentile, real};

/// Number of streaming clients.
const STREAMS: u32 = 1_000;

/// Most bytes a streaming client reads at a time, at a rate of one byte per microsecond.
const PIECE: usize = 64 * 1024;

/// Time over which the streams begin, one after the other. `STEP` is the time they get to settle before a sample.
const RAMP: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(1);

/// Length of a sample of hits.
const MEASURED: Duration = Duration::from_secs(2);

/// Hits a second.
const HITS: u32 = 500;

/// Latency of hits in milliseconds, and a text about the streams.
struct Crowd {
    p99_ms: f64,
    detail: String,
}

/// A sample.
struct Timed {
    spent: Spent,
    p50: Duration,
    p99: Duration,
    queued: bool,
}

/// Measures hits of 10 KiB at a steady rate beside streams of 1 MB/s each. Every byte of the streams is checked.
pub(super) async fn measure(bench: &Bench) -> Vec<Outcome> {
    let measured = alone(bench, async |installed: &Installed| one(bench, installed).await).await;
    let cell = |measured: anyhow::Result<Crowd>| match measured {
        Ok(Crowd { p99_ms, detail }) => Cell::Measured { value: p99_ms, detail },
        Err(error) => Cell::Failed(format!("{error:#}")),
    };
    let cells = measured.into_iter().map(|(peer, measured)| (peer, cell(measured))).collect();
    vec![Outcome { case: Case::CrowdP99, cells }]
}

async fn one(bench: &Bench, installed: &Installed) -> anyhow::Result<Crowd> {
    bench.may_open(u64::from(STREAMS) * 2 + 200)?;
    let running = filled(bench, installed, &["10k".to_owned()]).await?;
    let received = Arc::new(AtomicU64::new(0));
    let mut streams = JoinSet::new();
    let begin = Instant::now();
    for turn in 0..STREAMS {
        sleep_until(begin + RAMP * turn / STREAMS).await;
        let connection = Connection::open(running.address).await?;
        streams.spawn(stream(connection, Arc::clone(&received)));
    }
    let mut timed = Vec::new();
    for _ in 0..bench.samples {
        timed.push(sample(&running, &received).await);
    }
    let mut broken = Vec::new();
    while let Some(ended) = streams.try_join_next() {
        broken.extend(ended.context("a client panicked")?.err());
    }
    if let Some(first) = broken.first() {
        bail!("{} of {STREAMS} streams broke, the first because: {first:#}", broken.len());
    }
    let timed = timed.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let p99_ms = median_of(&timed, |timed| micros(timed.p99) / 1e3).context("no sample")?;
    Ok(Crowd { p99_ms, detail: detail(&timed) })
}

/// Times hits while the streams go on.
async fn sample(running: &Running, received: &AtomicU64) -> anyhow::Result<Timed> {
    let group = running.group()?;
    let window = Window::after(STEP, MEASURED);
    let prober = Prober::start(running.address, &Wanted::new("10k"), HITS, window)?;
    let spent = spent(window, &group, || received.load(Ordering::Relaxed)).await;
    let mut probed = prober.probed().await?;
    let mut at = |per_mille| percentile(&mut probed.latencies, per_mille).context("no hit was timed");
    Ok(Timed { spent, p50: at(500)?, p99: at(990)?, queued: probed.queued })
}

fn detail(timed: &[Timed]) -> String {
    let median = |figure: fn(&Timed) -> f64| median_of(timed, figure).unwrap_or_default();
    let p50 = median(|timed| micros(timed.p50) / 1e3);
    let worst = timed.iter().map(|timed| timed.p99).max().unwrap_or_default();
    let reached = median(|timed| real(timed.spent.counted) / 1e6 / timed.spent.elapsed.as_secs_f64());
    let queued = timed.iter().any(|timed| timed.queued);
    let queued = if queued { "; without chrt: the load's own waiting is in the figure" } else { "" };
    format!(
        "p50 {p50:.2} ms, the largest p99 of a sample {:.2}; all bytes right, {reached:.0} of {STREAMS} MB/s; {}{queued}",
        micros(worst) / 1e3,
        cores(timed, |timed| timed.spent),
    )
}

/// Reads the large object at its pace, for longer than the measurement, and counts the bytes.
///
/// Reads are due by the bytes received so far, so a proxy that falls behind may catch up.
async fn stream(mut connection: Connection, received: Arc<AtomicU64>) -> anyhow::Result<()> {
    let wanted = Wanted::new("large");
    connection.send(&wanted).await?;
    let begun = Instant::now();
    let mut response = Response::new(wanted.object, Checking::Bytes);
    let mut whole = false;
    while !whole {
        let before = response.body_bytes();
        sleep_until(begun + Duration::from_micros(before)).await;
        whole = connection.receive(PIECE, &mut response).await?;
        received.fetch_add(response.body_bytes() - before, Ordering::Relaxed);
    }
    bail!("it ended before its time")
}
