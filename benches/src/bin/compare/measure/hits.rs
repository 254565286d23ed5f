//! Hits per second.

use std::sync::Arc;

use anyhow::ensure;

use super::{WARM, in_turn, median_of, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Connection, Spent, Wanted, Window, closed, spent};
use crate::process::Running;
use crate::report::Outcome;
use crate::statistics::real;

/// Connections of a load that requests stored objects.
pub(super) const CONNECTIONS: usize = 64;

/// A sample.
#[derive(Debug)]
pub(super) struct Hits {
    pub(super) per_second: f64,
    answers: u64,
    spent: Spent,
}

/// Measures hits of the objects with these keys, requested at random.
pub(super) async fn measure(bench: &Bench, running: &[Running], case: Case, keys: &[String]) -> Outcome {
    let wanted: Arc<[Wanted]> = keys.iter().map(|key| Wanted::new(key)).collect();
    let taken =
        in_turn(bench, running, async |running: &Running| sample(bench, running, &wanted).await).await;
    outcome(case, &taken, |hits| hits.per_second, detail)
}

/// Returns a sample of one proxy's hits.
pub(super) async fn sample(bench: &Bench, running: &Running, wanted: &Arc<[Wanted]>) -> anyhow::Result<Hits> {
    let connections = Connection::open_many(running.address, CONNECTIONS).await?;
    counted(bench, running, async |window| closed(connections, wanted, window).await).await
}

/// Returns a sample of one proxy's hits under another load, or an error if a request reaches the source.
pub(super) async fn counted(
    bench: &Bench,
    running: &Running,
    load: impl AsyncFnOnce(Window) -> anyhow::Result<u64>,
) -> anyhow::Result<Hits> {
    let group = running.group()?;
    let before = bench.source.requests();
    let window = Window::after(WARM, bench.duration);
    let (answers, spent) = tokio::join!(load(window), spent(window, &group, || 0));
    let answers = answers?;
    let forwarded = bench.source.requests() - before;
    ensure!(forwarded == 0, "{forwarded} of {answers} requests were no hits");
    Ok(Hits { per_second: real(answers) / window.length().as_secs_f64(), answers, spent })
}

/// Returns a text on the CPU time of a hit and on how busy the cores were. If the load's core was busy all the time,
/// the proxy could have done more.
pub(super) fn detail(samples: &[Hits]) -> String {
    let per_hit = median_of(samples, Hits::cpu_us).unwrap_or_default();
    format!("{per_hit:.1} us of CPU a hit; {}", cores(samples, |hits| hits.spent))
}

impl Hits {
    /// Returns the CPU time of a hit, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        self.spent.proxy.as_secs_f64() * 1e6 / real(self.answers.max(1))
    }
}

/// Returns a text on how busy the cores were.
pub(super) fn cores<S>(samples: &[S], spent: impl Fn(&S) -> Spent) -> String {
    let busy = |part: fn(&Spent) -> f64| {
        let percent = |sample: &S| {
            let spent = spent(sample);
            100.0 * part(&spent) / spent.elapsed.as_secs_f64()
        };
        median_of(samples, percent).unwrap_or_default()
    };
    let (proxy, load) = (busy(|spent| spent.proxy.as_secs_f64()), busy(|spent| spent.load.as_secs_f64()));
    format!("busy: proxy {proxy:.0} %, load and source {load:.0} %")
}
