//! Latency that a miss adds to a request sent to the source itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use super::bounded;
use super::latency::micros;
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, Wanted};
use crate::peer::Peer;
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::statistics::percentile;

/// Requests in a row to the source or a proxy before the next one's turn.
const IN_A_ROW: u64 = 100;

/// Turns of the source and of each proxy.
const TURNS: usize = 20;

/// Planned time of a turn.
const TURN: Duration = Duration::from_secs(1);

/// A connection and the latencies of its responses, or the error that ended it.
struct Asked(anyhow::Result<(Connection, Vec<Duration>)>);

/// Requests 2,000 objects of 10 KiB that have not been requested before, one at a time.
///
/// The figures are the median and the 99th percentile of the latencies, less those of the source itself.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Vec<Outcome> {
    let mut source = Asked::open(bench.source.plain().address).await;
    let mut peers = BTreeMap::new();
    for running in running {
        peers.insert(running.peer, Asked::open(running.address).await);
    }
    for _ in 0..TURNS {
        source.turn(bench).await;
        for asked in peers.values_mut() {
            asked.turn(bench).await;
        }
    }
    vec![
        outcome(Case::MissP50, 500, &mut source, &mut peers),
        outcome(Case::MissP99, 990, &mut source, &mut peers),
    ]
}

fn outcome(case: Case, per_mille: usize, source: &mut Asked, peers: &mut BTreeMap<Peer, Asked>) -> Outcome {
    let own = source.percentile(per_mille);
    let cell = |asked: &mut Asked| match (&own, asked.percentile(per_mille)) {
        (Ok(own), Ok(took)) => {
            let detail = format!("{:.0} us, the source itself {:.0}", micros(took), micros(*own));
            Cell::Measured { value: micros(took) - micros(*own), detail }
        }
        (Err(error), Ok(_)) => Cell::Failed(format!("the source itself: {error}")),
        (_, Err(error)) => Cell::Failed(error),
    };
    Outcome { case, cells: peers.iter_mut().map(|(&peer, asked)| (peer, cell(asked))).collect() }
}

impl Asked {
    async fn open(address: SocketAddr) -> Self {
        Self(Connection::open(address).await.map(|connection| (connection, Vec::new())))
    }

    /// Sends the requests of one turn. The first error ends all later turns.
    async fn turn(&mut self, bench: &Bench) {
        let Ok((connection, latencies)) = &mut self.0 else { return };
        let asked = bounded(bench, TURN, ask(bench, connection, latencies)).await;
        if let Err(error) = asked {
            self.0 = Err(error);
        }
    }

    fn percentile(&mut self, per_mille: usize) -> Result<Duration, String> {
        match &mut self.0 {
            Ok((_, latencies)) => percentile(latencies, per_mille).ok_or_else(|| "no answer".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

async fn ask(
    bench: &Bench,
    connection: &mut Connection,
    latencies: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let wanted: Vec<Wanted> = (0..IN_A_ROW).map(|_| Wanted::new(&bench.unseen_key())).collect();
    let before = bench.source.requests();
    for wanted in &wanted {
        let begun = Instant::now();
        connection.exchange(wanted, Checking::Bytes).await.context("a miss")?;
        latencies.push(begun.elapsed());
    }
    let forwarded = bench.source.requests() - before;
    ensure!(forwarded == IN_A_ROW, "{IN_A_ROW} misses were {forwarded} requests to the source");
    Ok(())
}
