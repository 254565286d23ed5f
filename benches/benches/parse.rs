//! Benchmarks parsing of the header fields that caching decisions depend on.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use yatagarasu_core::CachePolicy;
use yatagarasu_core::caching::cache_control::CacheControl;
use yatagarasu_core::caching::freshness::FreshnessTerms;
use yatagarasu_core::http::conditional::evaluate;
use yatagarasu_core::http::range::select;
use yatagarasu_core::http::validator::Validators;

fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let range = fields(&[("range", "bytes=1000-1999")]);
    group.bench_function("range", |bencher| bencher.iter(|| select(black_box(&range), 1_000_000)));

    let response = fields(&[
        ("cache-control", "public, max-age=31536000, s-maxage=\"3600\", immutable"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"0123456789abcdef0123456789abcdef\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    group.bench_function("cache_control", |bencher| bencher.iter(|| CacheControl::of(black_box(&response))));
    let policy = CachePolicy::new(1_000_000, Duration::ZERO);
    group.bench_function("terms", |bencher| {
        bencher.iter(|| FreshnessTerms::of(black_box(&response), SystemTime::UNIX_EPOCH, &policy));
    });
    let request = fields(&[("if-none-match", "\"a\", W/\"b\", \"0123456789abcdef0123456789abcdef\"")]);
    group.bench_function("conditions", |bencher| {
        bencher.iter(|| evaluate(black_box(&request), &Validators::of(black_box(&response))));
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
