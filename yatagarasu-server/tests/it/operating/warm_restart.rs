//! Tests of caches that begin with what the process before had stored.

use std::fs;

use tokio::task::spawn_blocking;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use crate::operating::process::{Process, signal};
use crate::site::{bucket, document, metric, until_metric};

const STORED: &str = "yatagarasu_cache_objects{bucket=\"assets\"}";

/// Starts a server that has stored ten objects, and knows of one that is missing.
async fn stored(settings: &str) -> (Origin, Process, String) {
    let s3 = Origin::start().await;
    let assets = bucket(&s3.endpoint(), "assets", "/static", "", "negative_ttl: 1h");
    let yaml = document(&format!("drain: \"0\", warm_restart: {{ {settings} }}"), &[assets]);
    let process = Process::start(&yaml, &[]);
    let client = Client::new(process.address);
    for index in 0..10 {
        s3.objects().put(&format!("k/{index}"), &[], format!("{index}"));
        client.get(&format!("/static/k/{index}")).await;
    }
    client.get("/static/missing").await;
    until_metric(&Client::new(process.admin), STORED, |objects| objects == 10).await;
    (s3, process, yaml)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_with_what_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let settings = format!("rate: 1000, file: {:?}, objects_max: 8", file.display().to_string());
    let (s3, mut process, yaml) = stored(&settings).await;
    assert!(!file.exists(), "it is written at the end");
    for _ in 0..5 {
        Client::new(process.address).get("/static/k/9").await;
    }
    process.signal("-TERM");
    assert_eq!(spawn_blocking(move || process.ended()).await.unwrap(), Some(0));
    let list = fs::read_to_string(&file).unwrap();
    assert!(
        list.starts_with("{\"bucket\":\"assets\",\"key\":\"k/9\"}\n"),
        "the hottest one comes first: {list}"
    );
    assert!(!list.contains("missing"), "{list}");
    s3.forget();
    let objects = list.lines().count() as u64;
    let process = Process::start(&yaml, &[]);
    let admin = Client::new(process.admin);
    until_metric(&admin, STORED, |stored| stored == objects).await;
    assert_eq!(s3.requests().len() as u64, objects, "each is fetched once, and nothing else");
    let hit = Client::new(process.address).get("/static/k/9").await;
    assert_eq!((hit.field("x-cache"), &hit.body[..]), ("HIT", &b"9"[..]));
    assert_eq!(metric(&admin, "yatagarasu_requests_total{cache=\"miss\"}").await, 0, "no client has waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_begins_with_what_the_other_one_has_stored() {
    let (s3, mut first, _) = stored("rate: 1000").await;
    s3.forget();
    first.signal("-USR2");
    let line = first.log().find(|line| line["process"].is_u64()).expect("it is handed over");
    let second = u32::try_from(line["process"].as_u64().unwrap()).unwrap();
    let admin = Client::unpooled(first.admin);
    assert_eq!(spawn_blocking(move || first.ended()).await.unwrap(), Some(0));
    until_metric(&admin, STORED, |stored| stored == 10).await;
    assert_eq!(s3.requests().len(), 10);
    signal("-KILL", second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_keeps_no_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "no list\n").unwrap();
    let settings = format!("rate: 1000, file: {:?}", file.display().to_string());
    let (_s3, process, _) = stored(&settings).await;
    let warned = process.log().find(|line| line["level"] == "WARN").expect("a warning");
    assert!(warned["message"].as_str().unwrap().contains("warm_restart"), "{warned}");
}
