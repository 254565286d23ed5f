//! Requests at a rate that does not depend on the answers.

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Checking, Connection, Wanted, Window};

/// Asks for `wanted` so often a second over all connections. Gives how long each answer took that was due in the
/// window: from when its request should have been sent, also where its connection was not free then.
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
    // A proxy that cannot keep up is not waited for longer than this.
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

/// Waits without sleeping: the runtime's timers go by milliseconds, and the core has nothing else to do.
async fn until(instant: Instant) {
    while Instant::now() < instant {
        tokio::task::yield_now().await;
    }
}
