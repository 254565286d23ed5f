//! A source that is down for a while under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::{Gate, Reply};

use super::metric;
use crate::site::Site;

/// Number of clients that ask for a stored object, and of those that ask for others.
const CLIENTS: usize = 16;

/// One request of a client.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    status: u16,
    took: Duration,
}

/// Asks every few milliseconds until it is over: for a stored object, or each time for another one.
async fn ask(client: Client, number: usize, over: Arc<AtomicBool>) -> Vec<Asked> {
    let mut asked = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let path = match number {
            ..CLIENTS => "/static/hot".to_owned(),
            _ => format!("/static/{number}-{}", asked.len()),
        };
        let at = Instant::now();
        let answer = client.get(&path).await;
        assert!(answer.status != 503 || answer.field("retry-after") == "1", "{answer:?}");
        asked.push(Asked { at, status: answer.status, took: at.elapsed() });
        sleep(Duration::from_millis(10)).await;
    }
    asked
}

/// Returns what half of the requests took at most. Others take as long as the machine is busy.
fn median(asked: impl Iterator<Item = Asked>) -> Duration {
    let mut times: Vec<_> = asked.map(|asked| asked.took).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Takes a source down whose requests then get `reply`. `s3` are its settings.
async fn outage(reply: Reply, s3: &str, lasts: Duration) {
    let site = Site::healing(s3, "").await;
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    site.origin.decide(move |_| {
        Some(if is_down.load(Ordering::SeqCst) { reply.clone() } else { Reply::ok("here") })
    });
    site.store("/static/hot").await;
    let over = Arc::new(AtomicBool::new(false));
    let client = |number| tokio::spawn(ask(Client::new(site.address), number, Arc::clone(&over)));
    let clients: Vec<_> = (0..CLIENTS * 2).map(client).collect();
    sleep(Duration::from_secs(1)).await;
    let fell = Instant::now();
    down.store(true, Ordering::SeqCst);
    let opens = async { while metric(&site, "yatagarasu_source_up", "assets").await == 1 {} };
    timeout(PATIENCE, opens).await.expect("the circuit opens");
    // Those that were on their way still arrive.
    sleep(Duration::from_secs(1)).await;
    let (opened, sent) = (Instant::now(), site.origin.requests().len());
    sleep(lasts.saturating_sub(fell.elapsed())).await;
    let (returned, probes) = (Instant::now(), site.origin.requests().len() - sent);
    down.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(4)).await;
    over.store(true, Ordering::Relaxed);
    let asked: Vec<_> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let hits = || asked[..CLIENTS].iter().flatten().copied();
    let (before, meanwhile) = (
        median(hits().filter(|hit| hit.at < fell)),
        median(hits().filter(|hit| (fell..returned).contains(&hit.at))),
    );
    println!(
        "hits: median {before:?} before, {meanwhile:?} meanwhile; {probes} probes in {:?}",
        returned - opened
    );
    let failed: Vec<_> = hits().filter(|hit| hit.status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}, down from {fell:?} to {returned:?}");
    // A hit that waited for a silent source would take a second.
    assert!(meanwhile < (before * 3).max(Duration::from_millis(300)), "{before:?}, then {meanwhile:?}");
    let most = (returned - opened).as_secs() + 2;
    assert!(probes as u64 <= most, "{probes} requests in {:?}", returned - opened);
    for misses in &asked[CLIENTS..] {
        let is_open = |miss: &&Asked| miss.at > opened && miss.at < returned;
        for miss in misses.iter().filter(is_open) {
            assert_eq!(miss.status, 503, "{miss:?}");
        }
        let last = misses.last().expect("they ask to the end");
        assert_eq!(last.status, 200, "{:?} after its return: {last:?}", last.at - returned);
    }
}

/// `YATAGARASU_OUTAGE_SECONDS` lets it last longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_down_fails_at_once_and_hits_go_on() {
    let seconds =
        std::env::var("YATAGARASU_OUTAGE_SECONDS").map_or(6, |text| text.parse().expect("a number"));
    let lasts = Duration::from_secs(seconds);
    // Nothing comes from the last one. The probes have to find that out, too.
    let silent = Reply::ok("never").head_at(&Gate::default());
    tokio::join!(
        outage(Reply::closes(), "", lasts),
        outage(Reply::status(500), "", lasts),
        outage(silent, "response_timeout: \"1s\"", lasts),
    );
}
