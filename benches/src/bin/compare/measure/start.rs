//! Time until a proxy listens, and its memory then.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SLACK, bounded, median_of, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::peer::Installed;
use crate::report::Outcome;
use crate::statistics::real;

/// Starts of each proxy.
const STARTS: usize = 5;

/// Time from the first response to the reading of the memory.
const REST: Duration = Duration::from_millis(200);

/// A sample: one start.
struct Start {
    listening_after: Duration,
    answering_after: Duration,
    memory: u64,
}

/// Starts all proxies in turn and measures each start.
pub(super) async fn measure(bench: &Bench) -> Vec<Outcome> {
    let mut taken = BTreeMap::new();
    for installed in &bench.peers {
        taken.insert(installed.peer, Ok(Vec::new()));
    }
    for _ in 0..STARTS {
        for installed in &bench.peers {
            let Some(Ok(starts)) = taken.get_mut(&installed.peer) else { continue };
            match bounded(bench, SLACK, start(bench, installed)).await {
                Ok(start) => starts.push(start),
                Err(error) => {
                    taken.insert(installed.peer, Err(error));
                }
            }
        }
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let answering = |starts: &[Start]| {
        let median = median_of(starts, |start| ms(start.answering_after)).unwrap_or_default();
        format!("first answer after {median:.1} ms")
    };
    vec![
        outcome(Case::StartTime, &taken, |start| ms(start.listening_after), answering),
        outcome(Case::StartMemory, &taken, |start| real(start.memory) / 1e6, |_| String::new()),
    ]
}

async fn start(bench: &Bench, installed: &Installed) -> anyhow::Result<Start> {
    let running = bench.start(installed).await?;
    tokio::time::sleep(REST).await;
    let memory = running.memory()?;
    let (listening_after, answering_after) = (running.listening_after, running.answering_after);
    Ok(Start { listening_after, answering_after, memory })
}
