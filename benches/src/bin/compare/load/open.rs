//! A load at a rate that does not depend on the responses.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Checking, Connection, Wanted, Window};

/// Requests `wanted` at the rate `per_second` over all connections.
///
/// Returns the latencies of the responses to requests due in the window. A latency counts from the time its request was
/// due, even if the connection was still busy then.
pub(crate) async fn open(
    connections: Vec<Connection>,
    wanted: &Wanted,
    per_second: f64,
    window: Window,
) -> anyhow::Result<Vec<Duration>> {
    let count = u32::try_from(connections.len()).context("too many connections")?;
    let period = Duration::from_secs_f64(f64::from(count) / per_second);
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for (turn, connection) in (0_u32..).zip(connections) {
        let first = begin + period * turn / count;
        clients.spawn(client(connection, wanted.clone(), first, period, window));
    }
    let mut latencies = Vec::new();
    while let Some(ended) = clients.join_next().await {
        latencies.extend(ended.context("a client panicked")??);
    }
    Ok(latencies)
}

async fn client(
    mut connection: Connection,
    wanted: Wanted,
    first: Instant,
    period: Duration,
    window: Window,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    // Stop waiting for a proxy that cannot keep up.
    let give_up = window.end + window.length();
    let mut due = first;
    while due < window.end && Instant::now() < give_up {
        until(due).await;
        connection.exchange(&wanted, Checking::Length).await?;
        if window.holds(due) {
            latencies.push(due.elapsed());
        }
        due += period;
    }
    Ok(latencies)
}

/// Waits without sleeping, because the runtime's timers count milliseconds and the core has nothing else to do.
async fn until(instant: Instant) {
    while Instant::now() < instant {
        tokio::task::yield_now().await;
    }
}
