//! Measures how long lookups take while another thread purges a cache of many small entries.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use tokio::runtime::Builder;
use tokio::time::Instant;
use yatagarasu_cache::{CacheBackend, CacheConfig, EvictionPolicy, build};
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::cache::segments::Segments;
use yatagarasu_core::caching::freshness::{Exchange, FreshnessTerms};
use yatagarasu_core::{CacheEntry, CacheKey, ObjectCache, ObjectKey, ObjectMeta, Selector};

/// Measures how long lookups take while another thread purges.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of stored entries.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    entries: u32,
    /// Seconds for each row.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cache = filled(arguments.entries)?;
    let keys: Vec<CacheKey> = (0..1000)
        .map(|index| key(index * (arguments.entries / 1000).max(1), arguments.entries))
        .collect::<Result<_, _>>()?;
    let mut text = String::from(
        "| one thread purges | p50 | p99 | p99.9 | longest | purges/s |\n|---|---|---|---|---|---|\n",
    );
    let rows = [
        ("nothing", None),
        ("a missing key", Some(Selector::Key(ObjectKey::parse("missing")?))),
        ("a missing prefix", Some(Selector::Prefix("missing/".to_owned()))),
        ("a missing tag", Some(Selector::Tag("missing".to_owned()))),
        // The last row: after it they are gone.
        ("all others, once", Some(Selector::Prefix("folder/".to_owned()))),
    ];
    for (name, selector) in rows {
        let limit = Duration::from_secs(arguments.seconds);
        let Row { mut times, purges } = measured(&cache, &keys, selector.as_ref(), limit)?;
        times.sort_unstable();
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let index = ((times.len() - 1) as f64 * share) as usize;
            format!("{:.1} µs", f64::from(times[index]) / 1000.0)
        };
        let per_second = purges / arguments.seconds;
        let [half, most, nearly_all, longest] = [0.5, 0.99, 0.999, 1.0].map(at);
        writeln!(text, "| {name} | {half} | {most} | {nearly_all} | {longest} | {per_second} |")?;
    }
    io::stdout().write_all(text.as_bytes()).context("standard output cannot be written")
}

/// The times of lookups in nanoseconds, and the number of purges beside them.
struct Row {
    times: Vec<u32>,
    purges: u64,
}

/// Looks the keys up in turn for as long as `limit`, while another thread purges what `selector` selects.
fn measured(
    cache: &Arc<dyn ObjectCache>,
    keys: &[CacheKey],
    selector: Option<&Selector>,
    limit: Duration,
) -> anyhow::Result<Row> {
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let purging = scope.spawn(|| -> anyhow::Result<u64> {
            let runtime = Builder::new_current_thread().build().context("a runtime cannot be started")?;
            let mut purges = 0;
            while let (Some(selector), false) = (selector, ends.load(Ordering::Relaxed)) {
                runtime.block_on(cache.purge(selector));
                purges += 1;
            }
            Ok(purges)
        });
        let (begun, mut times) = (Instant::now(), Vec::with_capacity(1 << 24));
        for key in keys.iter().cycle() {
            let before = Instant::now();
            let found = cache.lookup(key.borrowed());
            times.push(u32::try_from(before.elapsed().as_nanos()).unwrap_or(u32::MAX));
            anyhow::ensure!(found.is_some(), "it is stored");
            if begun.elapsed() >= limit || times.len() == times.capacity() {
                break;
            }
        }
        ends.store(true, Ordering::Relaxed);
        let purges = purging.join().ok().context("the purging thread has panicked")??;
        Ok(Row { times, purges })
    })
}

/// Returns the key of an entry. One of 1,000 is looked up, and stays.
fn key(index: u32, entries: u32) -> anyhow::Result<CacheKey> {
    let folder = if index.is_multiple_of((entries / 1000).max(1)) { "kept" } else { "folder" };
    Ok(CacheKey::new(ObjectKey::parse(&format!("{folder}/object-{index}"))?, None))
}

fn filled(entries: u32) -> anyhow::Result<Arc<dyn ObjectCache>> {
    let config = CacheConfig {
        backend: CacheBackend::Foyer,
        max_size: u64::from(entries) * 2048 + (1 << 20),
        max_item_size: 1024,
        eviction: EvictionPolicy::S3Fifo,
    };
    let cache = build(&config)?;
    let entry = || {
        let (exchange, terms) =
            (Exchange::at(SystemTime::UNIX_EPOCH), FreshnessTerms::fresh_for(Duration::from_secs(60)));
        Arc::new(CacheEntry::new(
            ObjectMeta::default(),
            EntryKind::Full(Segments::default()),
            exchange,
            terms,
        ))
    };
    for index in 0..entries {
        cache.store(key(index, entries)?, entry());
    }
    Ok(cache)
}
