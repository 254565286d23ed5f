//! Starts proxies and fills their caches.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{SLACK, bounded, mixed_keys};
use crate::bench::Bench;
use crate::load::{Checking, Connection, Wanted};
use crate::peer::{Installed, Peer};
use crate::process::Running;

/// Most rounds over all objects until no request reaches the source.
const ROUNDS: usize = 4;

/// Starts and fills all proxies. Returns those that run, and the others with the reason.
pub(super) async fn all(bench: &Bench) -> (Vec<Running>, Vec<(Peer, String)>) {
    let mut keys: Vec<String> = ["1k", "10k", "100k", "1m"].map(str::to_owned).to_vec();
    keys.extend(mixed_keys());
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for installed in &bench.peers {
        match bounded(bench, SLACK, filled(bench, installed, &keys)).await {
            Ok(started) => running.push(started),
            Err(error) => absent.push((installed.peer, format!("{error:#}"))),
        }
    }
    (running, absent)
}

/// Starts a proxy and fills its cache with the objects of these keys.
pub(super) async fn filled(bench: &Bench, installed: &Installed, keys: &[String]) -> anyhow::Result<Running> {
    let running = bench.start(installed).await?;
    fill(bench, &running, keys).await?;
    Ok(running)
}

/// Requests the objects of these keys until the proxy has stored all of them. Every byte is checked.
pub(super) async fn fill(bench: &Bench, running: &Running, keys: &[String]) -> anyhow::Result<()> {
    let wanted: Vec<Wanted> = keys.iter().map(|key| Wanted::new(key)).collect();
    let mut forwarded = 0;
    for _ in 0..ROUNDS {
        let before = bench.source.requests();
        let mut connection = Connection::open(running.address).await?;
        for (wanted, key) in wanted.iter().zip(keys) {
            connection.exchange(wanted, Checking::Bytes).await.with_context(|| format!("object {key}"))?;
        }
        forwarded = bench.source.requests() - before;
        if forwarded == 0 {
            break;
        }
        // A proxy may store an object a moment after sending it.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(forwarded == 0, "{forwarded} objects are not stored, however often they are asked for");
    Ok(())
}
