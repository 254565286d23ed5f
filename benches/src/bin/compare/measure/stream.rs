//! Cost and rate of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::hits::cores;
use super::{SLACK, bounded, failed, in_turn, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, READ_BYTES_MAX, Response, Spent, Wanted, Window, spent};
use crate::peer::Peer;
use crate::process::{Running, Setting};
use crate::report::Outcome;
use crate::statistics::real;

/// Warm-up before a sample counts. After it, all buffers on the way are full and stay full.
const WARM: Duration = Duration::from_millis(300);

/// Receive buffer of a client, which the kernel doubles.
///
/// Without a fixed size it grows to tens of MiB. Bytes in it have cost the proxy CPU time but are not counted yet.
const RECEIVE_BUFFER: u32 = 512 * 1024;

const GIB: f64 = 1_073_741_824.0;

/// Measures streams to `clients` clients. Returns the CPU seconds per GiB, and the rate of all streams together.
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

/// Measures eight streams of proxies that reach the source over TLS.
pub(super) async fn over_tls(bench: &Bench) -> Vec<Outcome> {
    let setting = Setting { source: bench.source.over_tls(), ..bench.setting() };
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    // The others speak no TLS to a source.
    for installed in bench.peers.iter().filter(|installed| installed.peer != Peer::Varnish) {
        match bounded(bench, SLACK, Running::start(installed, &setting)).await {
            Ok(started) => running.push(started),
            Err(error) => absent.push((installed.peer, format!("{error:#}"))),
        }
    }
    let mut outcomes = measure(bench, &running, 8, Case::StreamTlsCpu, Case::StreamTlsRate).await;
    failed(&mut outcomes, &absent);
    outcomes
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
        // A stream goes on until it is dropped, so one that ends has failed.
        Some(ended) = streams.join_next() => {
            ended.context("a client panicked")??;
            bail!("a stream has ended")
        }
    }
}

/// Receives the large object again and again and counts the bytes.
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
