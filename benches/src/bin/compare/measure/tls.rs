//! Hits over TLS, and handshakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hits::{self, CONNECTIONS, Hits, cores, detail};
use super::{WARM, in_turn, median_of, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, Spent, Wanted, Window, closed, spent};
use crate::peer::Peer;
use crate::process::Running;
use crate::report::Outcome;
use crate::statistics::real;

/// Clients that connect again and again.
const CLIENTS: usize = 16;

/// Measures hits of two sizes, and connections with a request each, with and without resuming sessions. The figures are
/// CPU times, because the load takes as much of it as the proxies. Varnish speaks no TLS.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Vec<Outcome> {
    let secure: Vec<_> = running.iter().filter(|running| running.peer != Peer::Varnish).collect();
    let mut outcomes = Vec::new();
    for (case, key) in [(Case::TlsHit1k, "1k"), (Case::TlsHit100k, "100k")] {
        let wanted: Arc<[Wanted]> = [Wanted::new(key)].into();
        let taken = in_turn(bench, secure.iter().copied(), async |running: &Running| {
            let connector = bench.source.identity().connector(true)?;
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                connections.push(Connection::open(running.tls).await?.secured(&connector).await?);
            }
            hits::counted(bench, running, async |window| closed(connections, &wanted, window).await).await
        });
        outcomes.push(outcome(case, &taken.await, Hits::cpu_us, detail));
    }
    for (case, resumes) in [(Case::TlsHandshake, false), (Case::TlsResumption, true)] {
        let taken = in_turn(bench, secure.iter().copied(), async |running: &Running| {
            handshakes(bench, running, resumes).await
        });
        let cpu_us = |spent: &Spent| spent.proxy.as_secs_f64() * 1e6 / real(spent.counted.max(1));
        let detail = |samples: &[Spent]| {
            let per_second = |spent: &Spent| real(spent.counted) / spent.elapsed.as_secs_f64();
            let per_second = median_of(samples, per_second).unwrap_or_default();
            format!("{per_second:.0} a second; {}", cores(samples, |spent| *spent))
        };
        outcomes.push(outcome(case, &taken.await, cpu_us, detail));
    }
    outcomes
}

/// Opens connections with a request each, one after the other for each client.
async fn handshakes(bench: &Bench, running: &Running, resumes: bool) -> anyhow::Result<Spent> {
    let (group, made) = (running.group()?, Arc::new(AtomicU64::new(0)));
    let window = Window::after(WARM, bench.duration);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (connector, made) = (bench.source.identity().connector(resumes)?, Arc::clone(&made));
        let (address, wanted) = (running.tls, Wanted::new("1k"));
        clients.spawn(async move {
            while Instant::now() < window.end {
                let mut connection = Connection::open(address).await?.secured(&connector).await?;
                connection.exchange(&wanted, Checking::Length).await?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let spent = spent(window, &group, || made.load(Ordering::Relaxed)).await;
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(spent)
}
