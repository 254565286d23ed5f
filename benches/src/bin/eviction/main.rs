//! Measures the hit ratio of each eviction policy.
//!
//! The cache is the one that the server uses. Only the objects and the requests are generated, from a seed, so that
//! every policy gets the same requests and every run gives the same figures.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "it says what it is doing")]

mod arguments;
mod objects;
mod replay;
mod report;
mod trace;

use std::io::{self, Write};

use anyhow::Context;
use clap::Parser;

use arguments::Arguments;
use objects::{LENGTH_MAX, LENGTH_MIN, Objects};
use replay::{POLICIES, cache, hit_ratio};
use report::{Row, table};
use trace::{SEED, Scan, Trace, scanned, warm_up};
use yatagarasu_benches::zipf::Zipf;

/// Zipf exponents. The greater, the more popular the first objects are.
const EXPONENTS: [f64; 3] = [0.7, 0.9, 1.1];

/// Sizes of the cache, in percent of the bytes of all popular objects.
const PERCENTS: [u64; 3] = [1, 5, 20];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let objects = Objects::new(arguments.objects + scanned(arguments.requests));
    let bytes = objects.bytes(arguments.objects);
    let rows = measured(&arguments, &objects, bytes)?;
    let text = format!("{}\n{}\n", table(&rows), parameters(&arguments, bytes));
    io::stdout().write_all(text.as_bytes()).context("standard output cannot be written")
}

fn measured(arguments: &Arguments, objects: &Objects, bytes: u64) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for exponent in EXPONENTS {
        let zipf = Zipf::new(exponent, arguments.objects);
        for scan in Scan::ALL {
            let trace = Trace::new(&zipf, scan, arguments.requests);
            for percent in PERCENTS {
                eprintln!("zipf {exponent}, scan: {}, cache of {percent} %", scan.label());
                let mut ratios = [0.0; POLICIES.len()];
                for (ratio, policy) in ratios.iter_mut().zip(POLICIES) {
                    let cache = cache(policy, bytes * percent / 100)?;
                    *ratio = hit_ratio(cache.as_ref(), objects, &trace);
                }
                rows.push(Row { exponent, scan, percent, ratios });
            }
        }
    }
    Ok(rows)
}

/// Returns a text with everything that the figures depend on besides the code.
fn parameters(arguments: &Arguments, bytes: u64) -> String {
    let Arguments { objects, requests } = arguments;
    let (shortest, longest) = (LENGTH_MIN / 1024, LENGTH_MAX / 1024);
    format!(
        "{objects} objects of {shortest} to {longest} KiB, {} MB in all; {requests} requests a figure, after {} to \
         warm up; seed {SEED:#x}.",
        bytes / 1_000_000,
        warm_up(*requests)
    )
}
