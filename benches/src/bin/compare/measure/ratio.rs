//! The share of requests that are hits, beside Varnish and with as much memory as it takes.

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinSet;
use yatagarasu_benches::random::Random;
use yatagarasu_benches::zipf::Zipf;

use super::hits::CONNECTIONS;
use super::{SLACK, bounded};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, Wanted};
use crate::peer::Peer;
use crate::process::{Running, Setting};
use crate::report::{Cell, Outcome};
use crate::source::SMALL;
use crate::statistics::real;

/// Bound of Varnish's cache in MiB: a fifth of all objects. Varnish does not count its bookkeeping in it.
const VARNISH_MB: u64 = 48;

/// Requests for objects of rank k are in proportion to 1 / k^0.9.
const EXPONENT: f64 = 0.9;

/// Requests of a connection before those that count, and those that count.
const WARM: usize = 3_000;
const COUNTED: usize = 3_000;

/// What one proxy reached.
struct Reached {
    /// Share of requests that did not reach the source, in percent.
    percent: f64,
    /// Memory over that of the proxy with one object.
    mb: u64,
}

/// Measures Varnish first, and then this server with a cache of as many bytes as Varnish took.
pub(super) async fn measure(bench: &Bench) -> Outcome {
    let mut outcome = Outcome { case: Case::HitRatio, cells: [].into() };
    let mut cache_mb = VARNISH_MB;
    for peer in [Peer::Varnish, Peer::Yatagarasu] {
        let cell = match bounded(bench, SLACK, reached(bench, peer, cache_mb)).await {
            Ok(None) => continue,
            Ok(Some(Reached { percent, mb })) => {
                let detail = format!("{mb} MB of memory, with a bound of {cache_mb}");
                cache_mb = mb;
                Cell::Measured { value: percent, detail }
            }
            Err(error) => Cell::Failed(format!("{error:#}")),
        };
        outcome.cells.insert(peer, cell);
    }
    outcome
}

/// Requests small objects of a proxy that has a cache of this size. Returns `None` if it is not to be measured.
async fn reached(bench: &Bench, peer: Peer, cache_mb: u64) -> anyhow::Result<Option<Reached>> {
    let Some(installed) = bench.peers.iter().find(|installed| installed.peer == peer) else {
        return Ok(None);
    };
    let setting = Setting { cache_mb: Some(cache_mb), ..bench.setting() };
    let running = Running::start(installed, &setting).await?;
    // The memory of threads and connections is not that of objects.
    load(&running, &Arc::new(Zipf::new(EXPONENT, 1)), WARM, 0).await?;
    let idle = running.memory()?;
    let popular = Arc::new(Zipf::new(EXPONENT, SMALL));
    load(&running, &popular, WARM, 0).await?;
    let before = bench.source.requests();
    load(&running, &popular, COUNTED, 1).await?;
    let forwarded = bench.source.requests() - before;
    let asked = u64::try_from(CONNECTIONS * COUNTED).context("too many requests")?;
    let percent = 100.0 * (1.0 - real(forwarded) / real(asked));
    Ok(Some(Reached { percent, mb: running.memory()?.saturating_sub(idle) / 1_000_000 }))
}

/// Requests objects at random, this number of times over each of the connections.
async fn load(running: &Running, popular: &Arc<Zipf>, requests: usize, part: u64) -> anyhow::Result<()> {
    let mut clients = JoinSet::new();
    for (number, mut connection) in (0..).zip(Connection::open_many(running.address, CONNECTIONS).await?) {
        let (popular, mut random) = (Arc::clone(popular), Random::new(number * 2 + part));
        clients.spawn(async move {
            for _ in 0..requests {
                let wanted = Wanted::new(&format!("small/{}", popular.rank(&mut random)));
                connection.exchange(&wanted, Checking::Length).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(())
}
