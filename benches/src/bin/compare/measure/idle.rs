//! Memory of a connection that is open but not used.

use super::alone;
use super::prepare::filled;
use super::stalled::at_rest;
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, Wanted};
use crate::peer::{Installed, Peer};
use crate::report::{Cell, Outcome};
use crate::statistics::real;

/// Number of connections.
const CONNECTIONS: u32 = 5_000;

/// Measures the memory of idle connections after each has received a hit.
pub(super) async fn measure(bench: &Bench) -> Vec<Outcome> {
    let measured = alone(bench, &Peer::ALL, async |installed: &Installed| one(bench, installed).await).await;
    let cell = |measured: anyhow::Result<f64>| match measured {
        Ok(value) => Cell::Measured { value, detail: String::new() },
        Err(error) => Cell::Failed(format!("{error:#}")),
    };
    let cells = measured.into_iter().map(|(peer, measured)| (peer, cell(measured))).collect();
    vec![Outcome { case: Case::IdleMemory, cells }]
}

async fn one(bench: &Bench, installed: &Installed) -> anyhow::Result<f64> {
    bench.may_open(u64::from(CONNECTIONS) + 200)?;
    let running = filled(bench, installed, &["10k".to_owned()]).await?;
    let idle = at_rest(&running).await?;
    let wanted = Wanted::new("10k");
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(running.address).await?;
        connection.exchange(&wanted, Checking::Bytes).await?;
        connections.push(connection);
    }
    let open = at_rest(&running).await?;
    // A second hit on each connection shows that all of them are still open.
    for connection in &mut connections {
        connection.exchange(&wanted, Checking::Length).await?;
    }
    Ok(real(open.saturating_sub(idle)) / 1024.0 / f64::from(CONNECTIONS))
}
