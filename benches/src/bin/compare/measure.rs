//! The measurements: one module for each row.

mod bare;
mod crowd;
mod hits;
mod http2;
mod idle;
mod latency;
mod log;
mod miss;
mod misses;
mod prepare;
mod ratio;
mod stalled;
mod start;
mod stream;
mod threads;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use crate::bench::Bench;
use crate::case::Case;
use crate::peer::{Installed, Peer};
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::row::Row;
use crate::source::MIXED;
use crate::statistics::median;

/// Warm-up before a sample counts. Connections are new, and the processor's caches hold the previous proxy's data.
const WARM: Duration = Duration::from_millis(150);

/// Time that a step may take beyond its planned time; also the planned time of a step without one.
const SLACK: Duration = Duration::from_secs(30);

/// Runs all rows. Appends each outcome to `outcomes` as soon as it is measured.
pub(crate) async fn all(bench: &Bench, outcomes: &mut Vec<Outcome>) {
    if bench.rows.iter().any(|row| row.is_shared()) {
        together(bench, outcomes).await;
    }
    for row in bench.rows.iter().copied().filter(|row| !row.is_shared()) {
        say(row);
        outcomes.extend(match row {
            Row::Misses => vec![misses::measure(bench).await],
            Row::StreamTls => stream::over_tls(bench).await,
            Row::Ratio => vec![ratio::measure(bench).await],
            Row::Stalled => stalled::measure(bench).await,
            Row::Crowd => crowd::measure(bench, &crowd::THOUSAND).await,
            Row::CrowdFull => crowd::measure(bench, &crowd::FULL).await,
            Row::CrowdFast => crowd::measure(bench, &crowd::FAST).await,
            Row::CrowdMany => crowd::measure(bench, &crowd::MANY).await,
            Row::Idle => idle::measure(bench).await,
            Row::Start => start::measure(bench).await,
            Row::Hit1k
            | Row::Hit10k
            | Row::Hit100k
            | Row::Hit1m
            | Row::Mixed
            | Row::P99
            | Row::Stream1
            | Row::Stream8
            | Row::Http2
            | Row::Tls
            | Row::Miss
            | Row::Threads
            | Row::Bare
            | Row::Log => Vec::new(),
        });
    }
}

/// Runs the rows for which all proxies run side by side, all but one of them idle.
async fn together(bench: &Bench, outcomes: &mut Vec<Outcome>) {
    let (running, absent) = prepare::all(bench).await;
    for row in bench.rows.iter().copied().filter(|row| row.is_shared()) {
        say(row);
        let mut measured = match row {
            Row::Hit1k => vec![hits::measure(bench, &running, Case::Hit1k, &["1k".to_owned()]).await],
            Row::Hit10k => vec![hits::measure(bench, &running, Case::Hit10k, &["10k".to_owned()]).await],
            Row::Hit100k => vec![hits::measure(bench, &running, Case::Hit100k, &["100k".to_owned()]).await],
            Row::Hit1m => vec![hits::measure(bench, &running, Case::Hit1m, &["1m".to_owned()]).await],
            Row::Mixed => vec![hits::measure(bench, &running, Case::Mixed, &mixed_keys()).await],
            Row::P99 => vec![latency::measure(bench, &running).await],
            Row::Stream1 => stream::measure(bench, &running, 1, Case::Stream1Cpu, Case::Stream1Rate).await,
            Row::Stream8 => stream::measure(bench, &running, 8, Case::Stream8Cpu, Case::Stream8Rate).await,
            Row::Http2 => http2::measure(bench, &running).await,
            Row::Tls => tls::measure(bench, &running).await,
            Row::Miss => miss::measure(bench, &running).await,
            Row::Threads => threads::measure(bench, &running).await,
            Row::Bare => bare::measure(bench).await,
            Row::Log => vec![log::measure(bench, &running).await],
            Row::Misses
            | Row::StreamTls
            | Row::Ratio
            | Row::Stalled
            | Row::Crowd
            | Row::CrowdFull
            | Row::CrowdFast
            | Row::CrowdMany
            | Row::Idle
            | Row::Start => Vec::new(),
        };
        failed(&mut measured, &absent);
        outcomes.extend(measured);
    }
}

/// Notes the proxies that do not run, each with the reason.
fn failed(outcomes: &mut [Outcome], absent: &[(Peer, String)]) {
    for outcome in outcomes {
        for (peer, reason) in absent {
            outcome.cells.insert(*peer, Cell::Failed(reason.clone()));
        }
    }
}

fn mixed_keys() -> Vec<String> {
    (0..MIXED).map(|number| format!("o/{number}")).collect()
}

fn say(row: Row) {
    if let Some(value) = row.to_possible_value() {
        eprintln!("measuring {}", value.get_name());
    }
}

/// Samples of each proxy, or the error that ended its turns.
type Taken<S> = BTreeMap<Peer, anyhow::Result<Vec<S>>>;

/// Samples all proxies in turn, so that drift of the machine affects all of them alike. A proxy's first error ends its
/// turns.
async fn in_turn<'a, S>(
    bench: &Bench,
    running: impl IntoIterator<Item = &'a Running>,
    sample: impl AsyncFn(&Running) -> anyhow::Result<S>,
) -> Taken<S> {
    let running: Vec<&Running> = running.into_iter().collect();
    let mut taken: Taken<S> = running.iter().map(|running| (running.peer, Ok(Vec::new()))).collect();
    for _ in 0..bench.samples {
        for running in &running {
            let Some(Ok(samples)) = taken.get_mut(&running.peer) else { continue };
            match bounded(bench, bench.duration * 3, sample(running)).await {
                Ok(sample) => samples.push(sample),
                // If the run's time is used up, fewer samples are better than none.
                Err(_) if !samples.is_empty() && bench.in_time().is_err() => {}
                Err(error) => {
                    taken.insert(running.peer, Err(error));
                }
            }
        }
    }
    taken
}

/// Measures those of these proxies that are to be measured one after the other, each alone and freshly started.
async fn alone<T>(
    bench: &Bench,
    peers: &[Peer],
    measure: impl AsyncFn(&Installed) -> anyhow::Result<T>,
) -> Vec<(Peer, anyhow::Result<T>)> {
    let mut measured = Vec::new();
    for installed in bench.peers.iter().filter(|installed| peers.contains(&installed.peer)) {
        measured.push((installed.peer, bounded(bench, SLACK, measure(installed)).await));
    }
    measured
}

/// Runs `step` for at most `about` plus slack. Returns an error without starting it if the run's time is used up.
async fn bounded<T>(
    bench: &Bench,
    about: Duration,
    step: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    bench.in_time()?;
    let at_most = about + SLACK;
    let ended = tokio::time::timeout(at_most, step).await;
    ended.with_context(|| format!("not done in {} s", at_most.as_secs()))?
}

/// Returns the outcome of a case: for each proxy the median of `figure` over its samples, and the text of `detail`.
fn outcome<S>(
    case: Case,
    taken: &Taken<S>,
    figure: impl Fn(&S) -> f64,
    detail: impl Fn(&[S]) -> String,
) -> Outcome {
    let cell = |samples: &anyhow::Result<Vec<S>>| match samples {
        Err(error) => Cell::Failed(format!("{error:#}")),
        Ok(samples) => match median_of(samples, &figure) {
            Some(value) => Cell::Measured { value, detail: detail(samples) },
            None => Cell::Failed("no sample".to_owned()),
        },
    };
    Outcome { case, cells: taken.iter().map(|(&peer, samples)| (peer, cell(samples))).collect() }
}

fn median_of<S>(samples: &[S], figure: impl Fn(&S) -> f64) -> Option<f64> {
    median(&samples.iter().map(figure).collect::<Vec<_>>())
}
