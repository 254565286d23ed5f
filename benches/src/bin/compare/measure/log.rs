//! Measures the CPU time that the access log adds to a hit.

use std::sync::Arc;

use anyhow::Context;

use super::hits::{self, Hits, detail};
use super::prepare::fill;
use super::{SLACK, bounded, median_of};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::Wanted;
use crate::peer::{AccessLog, Installed, Peer};
use crate::process::{Running, Setting};
use crate::report::{Cell, Outcome};

/// Measures hits of 1 KiB without an access log, in turn with the proxy that already runs with one. Only those are
/// measured that write one by default.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Outcome {
    let mut outcome = Outcome { case: Case::Log, cells: [].into() };
    for logs in running.iter().filter(|running| matches!(running.peer, Peer::Yatagarasu | Peer::Nginx)) {
        let Some(installed) = bench.peers.iter().find(|installed| installed.peer == logs.peer) else {
            continue;
        };
        let cell = match compared(bench, logs, installed).await {
            Ok((with, without)) => cell(&with, &without),
            Err(error) => Cell::Failed(format!("{error:#}")),
        };
        outcome.cells.insert(logs.peer, cell);
    }
    outcome
}

async fn compared(
    bench: &Bench,
    logs: &Running,
    installed: &Installed,
) -> anyhow::Result<(Vec<Hits>, Vec<Hits>)> {
    let silent = silent(bench, installed, &["1k".to_owned()]).await?;
    let wanted: Arc<[Wanted]> = [Wanted::new("1k")].into();
    let hits = async |running| bounded(bench, SLACK, hits::sample(bench, running, &wanted)).await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..bench.samples {
        with.push(hits(logs).await.context("with the log")?);
        without.push(hits(&silent).await.context("without the log")?);
    }
    Ok((with, without))
}

/// Starts a proxy that writes no access log, and fills its cache with the objects of these keys.
pub(super) async fn silent(bench: &Bench, installed: &Installed, keys: &[String]) -> anyhow::Result<Running> {
    let setting = Setting { access_log: AccessLog::Off, ..bench.setting() };
    let silent = bounded(bench, SLACK, Running::start(installed, &setting)).await?;
    fill(bench, &silent, keys).await?;
    Ok(silent)
}

/// Returns the CPU time that the log adds to that of a hit, in percent.
fn cell(with: &[Hits], without: &[Hits]) -> Cell {
    let (Some(logging), Some(silent)) = (median_of(with, Hits::cpu_us), median_of(without, Hits::cpu_us))
    else {
        return Cell::Failed("no sample".to_owned());
    };
    let value = (logging / silent - 1.0) * 100.0;
    Cell::Measured { value, detail: format!("with the log {}; without {}", detail(with), detail(without)) }
}
