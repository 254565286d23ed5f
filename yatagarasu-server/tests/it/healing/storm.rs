//! All faults at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::{Fault, Origin, Reply, Request, Version};

use super::resume::content;
use super::{fallback, metric, random};
use crate::site::{Site, bucket, document, until_metric};

/// Number of objects, of 1 KiB to 2 MiB.
const OBJECTS: u64 = 40;

/// Number of clients.
const CLIENTS: u64 = 64;

/// Returns all objects.
fn versions() -> Arc<[Version]> {
    (0..OBJECTS).map(|number| Version::new(&format!("v{number}"), content(1024 << (number % 12)))).collect()
}

/// Serves the objects with a fault in 20 of 100 answers, and none at all while `dead`.
fn faulty(origin: &Origin, versions: &Arc<[Version]>, seed: u64, dead: &Arc<AtomicBool>) {
    let (versions, dead, seed) = (Arc::clone(versions), Arc::clone(dead), AtomicU64::new(seed));
    origin.decide(move |request: &Request| {
        let version = request.key.parse::<usize>().ok().and_then(|number| versions.get(number))?;
        let dice = random(seed.fetch_add(1, Ordering::Relaxed));
        if dead.load(Ordering::SeqCst) {
            return Some(Reply::closes());
        }
        let (reply, length) = (version.answer(request), version.content().len());
        let place = usize::try_from(dice >> 32).unwrap() % length;
        Some(match dice % 100 {
            0..7 => reply.failing(Fault::Cut(place)),
            7..12 => reply.failing(Fault::Reset(place)),
            12..14 => reply.failing(Fault::Stall(place)),
            14..16 => reply.failing(Fault::ResetInHead(place % 60)),
            16..18 => Reply::status(500),
            18 => Reply::ok("<Error><Code>SlowDown</Code></Error>").of_status(503),
            19 => Reply::closes(),
            _ => reply,
        })
    });
}

/// Asks for objects until it is over. Returns how many were whole, and how many requests failed.
async fn read(
    (client, address): (Client, SocketAddr),
    versions: Arc<[Version]>,
    seed: u64,
    over: Arc<AtomicBool>,
) -> (u64, u64) {
    let mut counts = (0, 0);
    for turn in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let dice = random(seed << 32 | turn);
        let (number, path) = (dice % OBJECTS, format!("/static/{}", dice % OBJECTS));
        if dice.is_multiple_of(13) {
            // Leaves in the middle.
            drop(Connection::get(address, &path).await.head().await);
            continue;
        }
        let content = versions[usize::try_from(number).unwrap()].content().clone();
        let ranged = dice.is_multiple_of(5) && content.len() > 2000;
        let fields: &[(&str, &str)] = if ranged { &[("range", "bytes=1000-")] } else { &[] };
        match client.try_send("GET", &path, fields, Bytes::new()).await {
            Ok(answer) if answer.status < 300 => {
                let expected = if ranged { content.slice(1000..) } else { content };
                assert!(answer.body == expected, "{path}: wrong bytes of {}", answer.field("cache-status"));
                counts.0 += 1;
            }
            Ok(_) | Err(_) => counts.1 += 1,
        }
    }
    counts
}

/// `YATAGARASU_STORM_SECONDS` lets it last longer, and `YATAGARASU_STORM_SEED` chooses other faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_not_one_fails() {
    let setting =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seconds, seed) = (setting("YATAGARASU_STORM_SECONDS", 10), setting("YATAGARASU_STORM_SEED", 1));
    println!("seed {seed}");
    let (first, second) = (Origin::start().await, Origin::start().await);
    let dead: [Arc<AtomicBool>; 2] = Default::default();
    let versions = versions();
    faulty(&first, &versions, seed, &dead[0]);
    faulty(&second, &versions, seed ^ 0xff, &dead[1]);
    let limits = "attempts: 3, idle_timeout: \"300ms\", response_timeout: \"5s\"";
    let cache = "max_item_size: \"256KiB\", max_size: \"4MB\"";
    let entry = bucket(&first.endpoint(), "assets", "/static", limits, cache);
    let fallbacks = fallback(&second, "unavailable", limits);
    let site = Site::run(first, &document("", &[format!("{entry}    fallbacks:\n{fallbacks}")])).await;

    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client =
            if number % 4 == 0 { Client::http2(site.address) } else { Client::unpooled(site.address) };
        clients.spawn(read((client, site.address), Arc::clone(&versions), number, Arc::clone(&over)));
    }
    let (began, mut turn) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        // One source dies for a while, then the other.
        let dying = &dead[turn / 4 % 2];
        dying.store(turn % 4 < 2, Ordering::SeqCst);
        sleep(Duration::from_millis(500)).await;
        let purged = site.purge(&format!(r#"{{"bucket":"assets","key":"{}"}}"#, turn as u64 % OBJECTS)).await;
        assert_eq!(purged.status, 200);
        // A long storm would fill the memory with them.
        site.origin.forget();
        second.forget();
        turn += 1;
    }
    for dead in &dead {
        dead.store(false, Ordering::SeqCst);
    }
    over.store(true, Ordering::Relaxed);
    let (mut whole, mut failed) = (0, 0);
    while let Some(counts) = clients.join_next().await {
        let counts = counts.unwrap();
        (whole, failed) = (whole + counts.0, failed + counts.1);
    }
    let healed = [
        "yatagarasu_source_retries_total",
        "yatagarasu_source_resumed_total",
        "yatagarasu_source_broken_total",
    ];
    let mut told = Vec::new();
    for name in healed {
        told.push(metric(&site, name, "assets").await);
    }
    let moved = metric(&site, "yatagarasu_source_failover_total", "assets").await;
    println!(
        "{whole} whole, {failed} failed; {told:?} sent again, continued, broken; {moved} by the fallback"
    );
    assert!(whole > 500, "{whole}");
    // A short run may have ten failures: a busy machine misses some of the short timeouts.
    assert!(failed * 1000 <= whole.max(10_000), "{failed} of {whole} failed");
    assert!(told[0] > 10 && told[1] > 10 && moved > 10, "{told:?} {moved}");
    // Nothing is left over.
    until_metric(&site.admin, "yatagarasu_fill_bytes", |bytes| bytes == 0).await;
    until_metric(&site.admin, "yatagarasu_connections", |open| open <= CLIENTS).await;
}
