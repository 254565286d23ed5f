//! Tests of caching through the whole server: misses, hits, revalidation, and eviction policies.

use yatagarasu_testing::client::Response;

use crate::site::Site;

fn summary(answer: &Response) -> (u16, &str, &str) {
    (answer.status, answer.field("x-cache"), answer.field("cache-status"))
}

/// Returns whether `cache_status` is that of a miss with an object that is being stored. Its `ttl` depends on the
/// second.
fn is_stored(cache_status: &str) -> bool {
    cache_status.starts_with("Yatagarasu; fwd=uri-miss; ttl=") && cache_status.ends_with("; stored")
}

#[tokio::test]
async fn the_second_request_is_a_hit_stored_only() {
    let site = Site::with("", "ttl: \"2h\"").await;
    site.put("k", &[("content-type", "text/plain")], "hello");
    let miss = site.client.get("/static/k").await;
    let (status, x_cache, cache_status) = summary(&miss);
    assert_eq!((status, x_cache), (200, "MISS"));
    assert!(is_stored(cache_status), "{cache_status}");
    let hit = site.client.get("/static/k").await;
    let (status, x_cache, cache_status) = summary(&hit);
    assert_eq!((status, x_cache), (200, "HIT"));
    let ttl: u64 = cache_status.strip_prefix("Yatagarasu; hit; ttl=").unwrap().parse().unwrap();
    assert!((7100..=7200).contains(&ttl), "the bucket's ttl: {cache_status}");
    assert!(hit.field("age").parse::<u64>().unwrap() < 100, "{}", hit.field("age"));
    assert_eq!((hit.field("content-type"), &hit.body[..]), ("text/plain", &b"hello"[..]));
    assert_eq!((site.origin.objects().gets(), site.origin.objects().heads()), (1, 0));
}

#[tokio::test]
async fn hits_answer_heads_ranges_and_conditions() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"e\"")], "0123456789");
    site.client.get("/static/k").await;
    let get = |headers: &'static [(&str, &str)]| site.client.get_with("/static/k", headers);

    let head = site.client.head("/static/k").await;
    assert_eq!((head.status, head.field("content-length"), head.field("x-cache")), (200, "10", "HIT"));
    let part = get(&[("range", "bytes=-3")]).await;
    assert_eq!(
        (part.status, part.field("content-range"), &part.body[..]),
        (206, "bytes 7-9/10", &b"789"[..])
    );
    let same = get(&[("if-none-match", "W/\"e\"")]).await;
    assert_eq!((same.status, same.field("etag"), same.field("x-cache")), (304, "\"e\"", "HIT"));
    assert!(!same.headers.contains_key("content-length") && same.body.is_empty());
    let unsince = get(&[("if-unmodified-since", "Sat, 05 Nov 1994 08:49:37 GMT")]).await;
    assert_eq!((unsince.status, unsince.field("content-type")), (412, "application/problem+json"));
    let beyond = get(&[("range", "bytes=10-")]).await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10"));
    let fresh_copy = get(&[("if-range", "\"e\""), ("range", "bytes=0-0")]).await;
    assert_eq!((fresh_copy.status, &fresh_copy.body[..]), (206, &b"0"[..]));
    assert_eq!(site.origin.objects().gets(), 1);
}

#[tokio::test]
async fn misses_pass_heads_and_ranges_to_s3() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"e\"")], "0123456789");
    assert_eq!(summary(&site.client.head("/static/k").await), (200, "MISS", "Yatagarasu; fwd=uri-miss"));
    assert_eq!((site.origin.objects().gets(), site.origin.objects().heads()), (0, 1), "HEAD stays HEAD");
    let get = |headers: &'static [(&str, &str)]| site.client.get_with("/static/k", headers);
    assert_eq!(get(&[("range", "bytes=99-")]).await.field("content-range"), "bytes */10");
    let part = get(&[("range", "bytes=2-3")]).await;
    assert_eq!((part.status, part.field("content-range"), &part.body[..]), (206, "bytes 2-3/10", &b"23"[..]));
    assert_eq!((site.origin.objects().gets(), site.origin.objects().heads()), (2, 1));
}

#[tokio::test]
async fn a_miss_costs_one_get_and_large_objects_are_not_stored() {
    let site = Site::start().await;
    let (small, large) = (vec![1; 1_000_000], vec![2; 1_000_001]);
    site.put("small", &[], small.clone());
    site.put("large", &[], large.clone());
    for (key, content, outcomes) in [("small", small, ["MISS", "HIT"]), ("large", large, ["MISS", "MISS"])] {
        for outcome in outcomes {
            let answer = site.client.get(&format!("/static/{key}")).await;
            assert_eq!(answer.field("x-cache"), outcome, "{key}");
            assert!(answer.body == content, "{key}");
        }
    }
    assert_eq!((site.origin.objects().gets(), site.origin.objects().heads()), (3, 0));
}

#[tokio::test]
async fn s3_confirms_what_is_stale() {
    let site = Site::start().await;
    site.put("k", &[("cache-control", "no-cache"), ("etag", "\"e\"")], "x");
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "MISS");
    while site.admin.get("/stats").await.json()["buckets"][0]["stored"] != 1 {}
    let confirmed = site.client.get("/static/k").await;
    let status = "Yatagarasu; fwd=stale; fwd-status=304; ttl=0";
    assert_eq!((summary(&confirmed), &confirmed.body[..]), ((200, "REVALIDATED", status), &b"x"[..]));
    site.put("k", &[("cache-control", "no-cache"), ("etag", "\"f\"")], "new");
    let replaced = site.client.get("/static/k").await;
    assert_eq!((replaced.field("x-cache"), &replaced.body[..]), ("MISS", &b"new"[..]));
    let stats = site.admin.get("/stats").await.json();
    assert_eq!((&stats["buckets"][0]["revalidated"], &stats["buckets"][0]["stale"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn buckets_without_a_cache_store_nothing() {
    let site = Site::start().await;
    site.put("k", &[], "x");
    for _ in 0..2 {
        assert_eq!(summary(&site.client.get("/media/k").await), (200, "MISS", "Yatagarasu; fwd=bypass"));
    }
    assert_eq!(site.origin.objects().gets(), 2);
}

#[tokio::test]
async fn every_eviction_policy_and_the_fill_memory_are_heeded() {
    for eviction in ["s3fifo", "lfu", "lru", "sieve"] {
        let cache =
            format!("max_item_size: \"10KB\", max_size: \"200KB\", eviction: {eviction}, backend: foyer");
        let site = Site::with("", &cache).await;
        for index in 0..100 {
            site.put(&index.to_string(), &[], vec![7; 9_000]);
            assert_eq!(site.client.get(&format!("/static/{index}")).await.status, 200);
        }
        let stats = site.admin.get("/stats").await.json();
        let bytes = stats["buckets"][0]["bytes"].as_u64().unwrap();
        assert!((90_000..=200_000).contains(&bytes), "{eviction}: {stats}");
        assert_eq!(stats["buckets"][0]["max_bytes"], 200_000);
    }
    let site = Site::configured("fill_memory: \"10KB\"", "", "").await;
    site.put("k", &[], vec![7; 10_001]);
    let streamed = site.client.get("/static/k").await;
    assert_eq!(summary(&streamed), (200, "MISS", "Yatagarasu; fwd=uri-miss; detail=no-fill-memory"));
    site.put("k", &[], vec![7; 10_000]);
    let stored = site.client.get("/static/k").await;
    assert!(is_stored(stored.field("cache-status")), "{}", stored.field("cache-status"));
}
