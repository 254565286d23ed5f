//! CPU time of hits over HTTP/2.

use super::hits::{self, Hits, detail};
use super::{in_turn, outcome};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Wanted, multiplexed};
use crate::peer::Peer;
use crate::process::Running;
use crate::report::Outcome;

/// Connections, and streams on each of them at a time.
const CONNECTIONS: usize = 16;
const STREAMS: usize = 10;

/// HAProxy 2.6 fetches some of its hits again over HTTP/2.
const MEASURED: [Peer; 2] = [Peer::Yatagarasu, Peer::Nginx];

/// Measures hits of two sizes. The figure is CPU time, because the load takes more of it than the proxies.
pub(super) async fn measure(bench: &Bench, running: &[Running]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (case, key) in [(Case::Http2Hit1k, "1k"), (Case::Http2Hit100k, "100k")] {
        let wanted = Wanted::new(key);
        let sample = async |running: &Running| {
            let load = async |window| multiplexed(running.http2, CONNECTIONS, STREAMS, &wanted, window).await;
            hits::counted(bench, running, load).await
        };
        let taken =
            in_turn(bench, running.iter().filter(|running| MEASURED.contains(&running.peer)), sample).await;
        outcomes.push(outcome(case, &taken, Hits::cpu_us, detail));
    }
    outcomes
}
