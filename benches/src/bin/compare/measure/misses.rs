//! Misses per second, many at once, into a full cache.
//!
//! A cache that misses at these rates is full after seconds, and each object that it takes puts others out. While it
//! fills, what the kernel takes for fresh pages is measured instead.

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hits::{CONNECTIONS, cores};
use super::{SLACK, WARM, bounded, failed, in_turn, median_of, outcome};
use crate::bench::{Bench, Unseen};
use crate::case::Case;
use crate::load::{Checking, Connection, Spent, Wanted, Window, spent};
use crate::peer::Installed;
use crate::process::{Running, Setting};
use crate::report::Outcome;
use crate::statistics::real;

/// Bound of the caches in MiB.
const CACHE_MB: u64 = 64;

/// Number of misses that fill a cache.
const FILLING: u64 = CACHE_MB * 1024 / 10;

/// A sample.
#[derive(Debug)]
struct Misses {
    per_second: f64,
    answers: u64,
    spent: Spent,
}

/// Measures requests for objects of 10 KiB that have not been requested before.
pub(super) async fn measure(bench: &Bench) -> Outcome {
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for installed in &bench.peers {
        match bounded(bench, SLACK, full(bench, installed)).await {
            Ok(full) => running.push(full),
            Err(error) => absent.push((installed.peer, format!("{error:#}"))),
        }
    }
    let taken = in_turn(bench, &running, async |running: &Running| sample(bench, running).await).await;
    let mut outcome = outcome(Case::Misses, &taken, |misses| misses.per_second, detail);
    failed(std::slice::from_mut(&mut outcome), &absent);
    outcome
}

/// Starts a proxy and fills its cache.
async fn full(bench: &Bench, installed: &Installed) -> anyhow::Result<Running> {
    let setting = Setting { cache_mb: Some(CACHE_MB), ..bench.setting() };
    let running = Running::start(installed, &setting).await?;
    let mut filled = 0;
    while filled < FILLING {
        let connections = Connection::open_many(running.address, CONNECTIONS).await?;
        let window = Window::after(WARM, bench.duration);
        filled += load(connections, bench.unseen(), window).await?.all;
    }
    Ok(running)
}

async fn sample(bench: &Bench, running: &Running) -> anyhow::Result<Misses> {
    let connections = Connection::open_many(running.address, CONNECTIONS).await?;
    let group = running.group()?;
    let before = bench.source.requests();
    let window = Window::after(WARM, bench.duration);
    let (answers, spent) =
        tokio::join!(load(connections, bench.unseen(), window), spent(window, &group, || 0));
    let Answers { counted, all } = answers?;
    let forwarded = bench.source.requests() - before;
    ensure!(forwarded == all, "{all} misses were {forwarded} requests to the source");
    Ok(Misses { per_second: real(counted) / window.length().as_secs_f64(), answers: counted, spent })
}

/// Numbers of responses: those within the window, and all.
#[derive(Debug, Default)]
struct Answers {
    counted: u64,
    all: u64,
}

async fn load(connections: Vec<Connection>, keys: Unseen, window: Window) -> anyhow::Result<Answers> {
    let mut clients = JoinSet::new();
    for connection in connections {
        clients.spawn(client(connection, keys.clone(), window));
    }
    let mut sum = Answers::default();
    while let Some(ended) = clients.join_next().await {
        let Answers { counted, all } = ended.context("a client panicked")??;
        (sum.counted, sum.all) = (sum.counted + counted, sum.all + all);
    }
    Ok(sum)
}

async fn client(mut connection: Connection, keys: Unseen, window: Window) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    loop {
        connection.exchange(&Wanted::new(&keys.next()), Checking::Length).await?;
        answers.all += 1;
        let now = Instant::now();
        if now >= window.end {
            return Ok(answers);
        }
        answers.counted += u64::from(window.holds(now));
    }
}

fn detail(samples: &[Misses]) -> String {
    let cpu_us = |misses: &Misses| misses.spent.proxy.as_secs_f64() * 1e6 / real(misses.answers.max(1));
    let per_miss = median_of(samples, cpu_us).unwrap_or_default();
    format!("{per_miss:.1} us of CPU a miss; {}", cores(samples, |misses| misses.spent))
}
