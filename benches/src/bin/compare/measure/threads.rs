//! Two threads of the server against one, under a [load](batches) that leaves them nearly both cores.

use anyhow::Context;

use super::hits::{self, CONNECTIONS, Hits, detail};
use super::prepare::fill;
use super::{SLACK, bounded, median_of};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Connection, Wanted, batches};
use crate::peer::{Installed, Peer};
use crate::process::{Running, Setting};
use crate::report::{Cell, Outcome};

/// Measures hits of 1 KiB with two threads, in turn with the server that already runs with one. Returns no outcome if
/// the server does not run.
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
    let setting = Setting { threads: 2, cores, ..bench.setting() };
    let two = bounded(bench, SLACK, Running::start(installed, &setting)).await?;
    fill(bench, &two, &["1k".to_owned()]).await?;
    let wanted = Wanted::new("1k");
    let hits = async |running: &Running| {
        let connections = Connection::open_many(running.address, CONNECTIONS).await?;
        let load = async |window| batches(connections, &wanted, window).await;
        bounded(bench, SLACK, hits::counted(bench, running, load)).await
    };
    let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
    for _ in 0..bench.samples {
        of_one.push(hits(one).await.context("one thread")?);
        of_two.push(hits(&two).await.context("two threads")?);
    }
    Ok((of_one, of_two))
}

/// Returns the throughput of two threads relative to one, in hits per second.
///
/// If the second thread shares its core with the load, hits per second of CPU time count instead.
fn cell(bench: &Bench, one: &[Hits], two: &[Hits]) -> Cell {
    let median = |samples, figure: fn(&Hits) -> f64| median_of(samples, figure);
    let (Some(rate_one), Some(rate_two)) =
        (median(one, |hits| hits.per_second), median(two, |hits| hits.per_second))
    else {
        return Cell::Failed("no sample".to_owned());
    };
    let by_rate = rate_two / rate_one;
    let (value, shared) = match (median(one, Hits::cpu_us), median(two, Hits::cpu_us)) {
        (Some(cpu_one), Some(cpu_two)) if bench.cores.second == bench.cores.load => {
            let said =
                "by the threads' CPU time, because the second shares its core with the load and the source; ";
            (2.0 * cpu_one / cpu_two, said)
        }
        _ => (by_rate, ""),
    };
    let (one, two) = (detail(one), detail(two));
    let detail = format!(
        "{shared}one thread {rate_one:.0} requests/s ({one}), two {rate_two:.0}, {by_rate:.2} times as many ({two})"
    );
    Cell::Measured { value, detail }
}
