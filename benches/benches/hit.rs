//! Benchmarks a hit, from the request to its last byte, without sockets.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use tokio::runtime::Runtime;
use yatagarasu_cache::{CacheBackend, CacheConfig, EvictionPolicy};
use yatagarasu_core::cache::segments::SEGMENT_BYTES;
use yatagarasu_core::{BucketPolicy, CachePolicy, CacheStatus, Gateway, Method, Request, SystemClock};
use yatagarasu_core::{Budget, Common};
use yatagarasu_testing::{MemorySource, request};

const FIELDS: [(&str, &str); 6] = [
    ("content-type", "text/css"),
    ("etag", "\"0123456789abcdef0123456789abcdef\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("accept-ranges", "bytes"),
    ("cache-control", "max-age=3600"),
    ("x-amz-meta-colour", "green"),
];

fn gateway(source: &MemorySource) -> Gateway {
    let config = CacheConfig {
        backend: CacheBackend::Foyer,
        max_size: 256 << 20,
        max_item_size: 10_000_000,
        eviction: EvictionPolicy::S3Fifo,
    };
    let policy = CachePolicy::new(config.max_item_size, Duration::from_secs(3600));
    Gateway::new(
        Arc::new(source.clone()),
        yatagarasu_cache::build(&config).expect("foyer is compiled in"),
        BucketPolicy { cache: Some(policy), ..BucketPolicy::default() },
        Common::new(Arc::new(Budget::new(256 << 20)), Arc::new(SystemClock)),
    )
}

/// Serves a hit without waiting, as the server does first, and returns the length of its first chunk.
///
/// The reply takes over the request's header map. This function puts it back, emptied, for the next iteration.
fn at_once(gateway: &Gateway, asked: &mut Request) -> usize {
    let headers = std::mem::take(&mut asked.headers);
    let request = Request { method: asked.method, key: asked.key.clone(), headers };
    let mut reply = gateway.try_hit(request, None).expect("it is stored").reply.expect("an object");
    let length = match reply.body.next().now_or_never() {
        Some(Some(chunk)) => black_box(chunk.expect("from memory")).len(),
        Some(None) | None => 0,
    };
    asked.headers = reply.headers;
    asked.headers.clear();
    length
}

async fn whole(gateway: &Gateway, request: &Request) -> usize {
    let mut body = gateway.execute(request).await.reply.expect("an object").body;
    let mut length = 0;
    while let Some(chunk) = body.next().await {
        length += black_box(chunk.expect("from memory")).len();
    }
    length
}

fn hit(criterion: &mut Criterion) {
    let runtime: Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
    let source = MemorySource::default();
    let gateway = gateway(&source);
    let mut group = criterion.benchmark_group("hit");
    for length in [1024, 10 * 1024, 100 * 1024, 1024 * 1024] {
        let key = length.to_string();
        source.insert(&key, &FIELDS, vec![7; length]);
        let asked = request(Method::Get, &key);
        runtime.block_on(async {
            whole(&gateway, &asked).await;
            // The fill stores the object in a task of its own, so the first hit may come a little later.
            while !matches!(gateway.execute(&asked).await.handling, CacheStatus::Hit { .. }) {
                tokio::task::yield_now().await;
            }
        });
        group.throughput(Throughput::Elements(1));
        let mut again = asked.clone();
        group.bench_function(BenchmarkId::new("at_once", length), |bencher| {
            bencher.iter(|| assert_eq!(at_once(&gateway, &mut again), length.min(SEGMENT_BYTES)));
        });
        group.bench_with_input(BenchmarkId::new("whole", length), &asked, |bencher, asked| {
            bencher.iter(|| assert_eq!(runtime.block_on(whole(&gateway, asked)), length));
        });
    }
    let mut part = request(Method::Get, "1048576");
    part.headers.insert("range", "bytes=500000-500099".parse().expect("a value"));
    group.bench_function("part", |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(whole(&gateway, &part)), 100));
    });
    let mut unchanged = request(Method::Get, "1024");
    unchanged.headers.insert("if-none-match", FIELDS[1].1.parse().expect("a value"));
    group.bench_function("not_modified", |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(whole(&gateway, &unchanged)), 0));
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
