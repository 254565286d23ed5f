//! What a stream costs, and how fast it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::hits::cores;
use super::{in_turn, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, READ_BYTES_MAX, Response, Spent, Wanted, Window, spent};
use crate::process::Running;
use crate::report::Outcome;
use crate::statistics::real;

/// Before a sample counts: all buffers on the way are full then, and stay so.
const WARM: Duration = Duration::from_millis(300);

/// Receive buffer of a client, which the system doubles. Left to itself it grows to tens of MiB, and what is in it has
/// cost the proxy but not been counted yet.
const RECEIVE_BUFFER: u32 = 512 * 1024;

const GIB: f64 = 1_073_741_824.0;

/// Streams to so many clients: CPU seconds for each GiB, and the rate of all together.
pub(super) async fn measure(
    bench: &Bench,
    running: &[Running],
    clients: usize,
    cpu: Case,
    rate: Case,
) -> Vec<Outcome> {
    let taken =
        in_turn(bench, running, async |running: &Running| sample(bench, running, clients).await).await;
    let busy = |samples: &[Spent]| cores(samples, |&spent| spent);
    let per_gib = |spent: &Spent| spent.proxy.as_secs_f64() * GIB / real(spent.counted.max(1));
    let mb_per_second = |spent: &Spent| real(spent.counted) / 1e6 / spent.elapsed.as_secs_f64();
    vec![outcome(cpu, &taken, per_gib, busy), outcome(rate, &taken, mb_per_second, |_| String::new())]
}

async fn sample(bench: &Bench, running: &Running, clients: usize) -> anyhow::Result<Spent> {
    let received = Arc::new(AtomicU64::new(0));
    let mut streams = JoinSet::new();
    for _ in 0..clients {
        let connection = Connection::open_with_buffer(running.address, RECEIVE_BUFFER).await?;
        streams.spawn(stream(connection, Arc::clone(&received)));
    }
    let group = running.group()?;
    let window = Window::after(WARM, bench.duration);
    tokio::select! {
        spent = spent(window, &group, || received.load(Ordering::Relaxed)) => Ok(spent),
        // Streams go on for as long as they are asked to.
        Some(ended) = streams.join_next() => {
            ended.context("a client panicked")??;
            bail!("a stream has ended")
        }
    }
}

/// Receives one large object after the other, and counts their bytes.
async fn stream(mut connection: Connection, received: Arc<AtomicU64>) -> anyhow::Result<()> {
    let wanted = Wanted::new("large");
    loop {
        connection.send(&wanted).await?;
        let mut response = Response::new(wanted.object, Checking::Length);
        let mut whole = false;
        while !whole {
            let before = response.body_bytes();
            whole = connection.receive(READ_BYTES_MAX, &mut response).await?;
            received.fetch_add(response.body_bytes() - before, Ordering::Relaxed);
        }
    }
}
