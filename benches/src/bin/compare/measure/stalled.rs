//! Memory of streams after their clients stop reading, and memory left after the clients have gone.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::alone;
use super::prepare::filled;
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Checking, Connection, READ_BYTES_MAX, Response, Wanted};
use crate::peer::{Installed, Peer};
use crate::process::{Running, Sockets};
use crate::report::{Cell, Outcome};
use crate::statistics::real;

/// Number of clients that stop reading.
const CLIENTS: u32 = 500;

/// Bytes that each of them reads first: 256 KiB.
const READ: u64 = 256 * 1024;

/// Longest wait for the memory to come to rest.
const REST_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the memory to be given back, down to at most `BACK_BYTES` over idle.
const BACK_MAX: Duration = Duration::from_secs(5);
const BACK_BYTES: u64 = 10_000_000;

/// Pause between two readings of the memory.
const LOOK: Duration = Duration::from_millis(100);

/// Results of one proxy.
struct Stalled {
    memory_kib: f64,
    memory_detail: String,
    sockets: anyhow::Result<f64>,
    after_mb: f64,
    after_detail: String,
}

/// Measures the memory and the socket buffers of a stalled stream, and the memory kept after the clients have left.
pub(super) async fn measure(bench: &Bench) -> Vec<Outcome> {
    let measured = alone(bench, &Peer::ALL, async |installed: &Installed| one(bench, installed).await).await;
    vec![
        outcome(Case::StalledMemory, &measured, |stalled| Cell::Measured {
            value: stalled.memory_kib,
            detail: stalled.memory_detail.clone(),
        }),
        outcome(Case::StalledSockets, &measured, |stalled| match &stalled.sockets {
            Ok(value) => Cell::Measured { value: *value, detail: String::new() },
            Err(error) => Cell::Failed(format!("{error:#}")),
        }),
        outcome(Case::StalledAfter, &measured, |stalled| Cell::Measured {
            value: stalled.after_mb,
            detail: stalled.after_detail.clone(),
        }),
    ]
}

fn outcome(
    case: Case,
    measured: &[(Peer, anyhow::Result<Stalled>)],
    figure: impl Fn(&Stalled) -> Cell,
) -> Outcome {
    let cell = |measured: &anyhow::Result<Stalled>| match measured {
        Ok(stalled) => figure(stalled),
        Err(error) => Cell::Failed(format!("{error:#}")),
    };
    Outcome { case, cells: measured.iter().map(|(peer, measured)| (*peer, cell(measured))).collect() }
}

async fn one(bench: &Bench, installed: &Installed) -> anyhow::Result<Stalled> {
    bench.may_open(u64::from(CLIENTS) * 2 + 200)?;
    let running = filled(bench, installed, &["10k".to_owned()]).await?;
    // Stall one stream first, so that one-time allocations are not counted.
    drop(stall(&running).await?);
    let idle = at_rest(&running).await?;
    let sockets_idle = sockets(&running);
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        streams.push(stall(&running).await?);
    }
    let stalled = at_rest(&running).await?;
    let sockets_stalled = sockets(&running);
    let kept = sockets_stalled.as_ref().map_or(u64::from(CLIENTS), |sockets| sockets.clients);
    let cut_off = u64::from(CLIENTS).saturating_sub(kept);
    drop(streams);
    let (after, waited) = given_back(&running, idle).await?;
    let each = |bytes: u64| real(bytes) / 1024.0 / f64::from(CLIENTS);
    Ok(Stalled {
        memory_kib: each(stalled.saturating_sub(idle)),
        memory_detail: match cut_off {
            0 => String::new(),
            streams => format!("{streams} of {CLIENTS} streams had been cut off"),
        },
        sockets: sockets_idle.and_then(|idle| Ok(each(sockets_stalled?.bytes.saturating_sub(idle.bytes)))),
        after_mb: real(after.saturating_sub(idle)) / 1e6,
        after_detail: format!("after {:.1} s; idle {:.1} MB", waited.as_secs_f64(), real(idle) / 1e6),
    })
}

/// Requests the large object, reads the first `READ` bytes and stops reading.
async fn stall(running: &Running) -> anyhow::Result<Connection> {
    let wanted = Wanted::new("large");
    let mut connection = Connection::open(running.address).await?;
    connection.send(&wanted).await?;
    let mut response = Response::new(wanted.object, Checking::Bytes);
    while response.body_bytes() < READ {
        let left = usize::try_from(READ - response.body_bytes()).unwrap_or(READ_BYTES_MAX);
        connection.receive(left.min(READ_BYTES_MAX), &mut response).await.context("a stream")?;
    }
    Ok(connection)
}

fn sockets(running: &Running) -> anyhow::Result<Sockets> {
    Sockets::of(&running.group()?, running.address.port())
}

/// Returns the memory of a proxy once it has changed by at most 1 % per reading for half a second. Returns it after
/// `REST_MAX` in any case.
pub(super) async fn at_rest(running: &Running) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let (mut memory, mut quiet) = (running.memory()?, 0);
    while quiet < 5 && begun.elapsed() < REST_MAX {
        tokio::time::sleep(LOOK).await;
        let now = running.memory()?;
        quiet = if now.abs_diff(memory) <= memory / 100 { quiet + 1 } else { 0 };
        memory = now;
    }
    Ok(memory)
}

/// Waits until the memory is nearly back to `idle`. Returns the memory reached and the time it took.
async fn given_back(running: &Running, idle: u64) -> anyhow::Result<(u64, Duration)> {
    let begun = Instant::now();
    loop {
        let memory = running.memory()?;
        if memory <= idle + BACK_BYTES || begun.elapsed() >= BACK_MAX {
            return Ok((memory, begun.elapsed()));
        }
        tokio::time::sleep(LOOK).await;
    }
}
