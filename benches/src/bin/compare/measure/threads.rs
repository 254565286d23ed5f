//! Two threads of the server against one.

use std::sync::Arc;

use anyhow::Context;

use super::hits::{self, Hits, detail};
use super::prepare::fill;
use super::{SLACK, bounded, median_of};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::Wanted;
use crate::peer::{Installed, Peer};
use crate::process::{Running, Setting};
use crate::report::{Cell, Outcome};

/// Hits of 10 KiB with two threads, in turn with those of the server that already runs with one.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Vec<Outcome> {
    let ours = |running: &&Running| running.peer == Peer::Yatagarasu;
    let installed = bench.peers.iter().find(|installed| installed.peer == Peer::Yatagarasu);
    let (Some(one), Some(installed)) = (running.iter().find(ours), installed) else { return Vec::new() };
    let cell = match compared(bench, one, installed).await {
        Ok((one, two)) => cell(bench, &one, &two),
        Err(error) => Cell::Failed(format!("{error:#}")),
    };
    vec![Outcome { case: Case::Threads, cells: [(Peer::Yatagarasu, cell)].into() }]
}

async fn compared(
    bench: &Bench,
    one: &Running,
    installed: &Installed,
) -> anyhow::Result<(Vec<Hits>, Vec<Hits>)> {
    let cores = vec![bench.cores.proxy, bench.cores.second];
    let setting = Setting { source: bench.source.address(), threads: 2, cores, load: bench.cores.load };
    let two = bounded(bench, SLACK, Running::start(installed, &setting)).await?;
    fill(bench, &two, &["10k".to_owned()]).await?;
    let wanted: Arc<[Wanted]> = [Wanted::new("10k")].into();
    let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
    for _ in 0..bench.samples {
        of_one.push(bounded(bench, SLACK, hits::sample(bench, one, &wanted)).await.context("one thread")?);
        of_two.push(bounded(bench, SLACK, hits::sample(bench, &two, &wanted)).await.context("two threads")?);
    }
    Ok((of_one, of_two))
}

fn cell(bench: &Bench, one: &[Hits], two: &[Hits]) -> Cell {
    let per_second = |samples: &[Hits]| median_of(samples, |hits| hits.per_second);
    let (Some(of_one), Some(of_two)) = (per_second(one), per_second(two)) else {
        return Cell::Failed("no sample".to_owned());
    };
    let shared = if bench.cores.second == bench.cores.load {
        "the second thread shares its core with the load and the source: "
    } else {
        ""
    };
    let (one, two) = (detail(one), detail(two));
    let detail = format!("{shared}one thread {of_one:.0} requests/s ({one}), two {of_two:.0} ({two})");
    Cell::Measured { value: of_two / of_one, detail }
}
