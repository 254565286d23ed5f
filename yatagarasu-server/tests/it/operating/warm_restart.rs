//! Tests of caches that begin with what the process before had stored.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use tokio::task::spawn_blocking;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
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
    assert_eq!(objects, 8);
    let process = Process::start(&yaml, &[]);
    let admin = Client::new(process.admin);
    until_metric(&admin, STORED, |stored| stored == objects).await;
    assert_eq!(s3.requests().len() as u64, objects, "each is fetched once, and nothing else");
    let hit = Client::new(process.address).get("/static/k/9").await;
    assert_eq!((hit.field("x-cache"), &hit.body[..]), ("HIT", &b"9"[..]));
    assert_eq!(metric(&admin, "yatagarasu_requests_total{cache=\"miss\"}").await, 0, "no client has waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_nobody_asks_for_most_are_taken_by_chance() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let settings = format!("rate: 1000, file: {:?}, objects_max: 200", file.display().to_string());
    let (s3, mut process, _) = stored(&settings).await;
    let client = Client::new(process.address);
    for index in 0..600 {
        s3.objects().put(&format!("z/{index}"), &[], "z");
        client.get(&format!("/static/z/{index}")).await;
    }
    until_metric(&Client::new(process.admin), STORED, |objects| objects == 610).await;
    process.signal("-TERM");
    assert_eq!(spawn_blocking(move || process.ended()).await.unwrap(), Some(0));
    let list = fs::read_to_string(&file).unwrap();
    let keys: HashSet<_> = list.lines().collect();
    assert_eq!((list.lines().count(), keys.len()), (200, 200));
    // By name these come after the first 200. A random sample has about 40 of them.
    let last =
        keys.iter().filter(|line| line.contains("z/8") || line.contains("z/9") || line.contains("z/5"));
    assert!(last.count() >= 10, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fetched_before_the_next_stop_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let settings = |rate| format!("rate: {rate}, file: {:?}", file.display().to_string());
    let (_s3, mut first, yaml) = stored(&settings(1000)).await;
    first.signal("-TERM");
    assert_eq!(spawn_blocking(move || first.ended()).await.unwrap(), Some(0));
    let lines = |list: String| list.lines().map(str::to_owned).collect::<HashSet<_>>();
    let before = lines(fs::read_to_string(&file).unwrap());
    assert_eq!(before.len(), 10);
    let mut second = Process::start(&yaml.replace(&settings(1000), &settings(1)), &[]);
    until_metric(&Client::new(second.admin), STORED, |objects| objects >= 1).await;
    fs::remove_file(&file).unwrap();
    second.signal("-TERM");
    assert_eq!(spawn_blocking(move || second.ended()).await.unwrap(), Some(0));
    assert_eq!(lines(fs::read_to_string(&file).unwrap()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_begins_with_what_the_other_one_has_stored() {
    let (s3, mut first, _) = stored("rate: 1000").await;
    s3.forget();
    let _second = first.hand_over();
    let admin = Client::unpooled(first.admin);
    assert_eq!(spawn_blocking(move || first.ended()).await.unwrap(), Some(0));
    until_metric(&admin, STORED, |stored| stored == 10).await;
    assert_eq!(s3.requests().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_keeps_no_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "no list\n").unwrap();
    let settings = format!("rate: 1000, file: {:?}", file.display().to_string());
    let check = async || {
        let (_s3, mut process, _) = stored(&settings).await;
        let warned = process.log().find(|line| line["level"] == "WARN").expect("a warning");
        assert!(warned["message"].as_str().unwrap().contains("warm_restart"), "{warned}");
        process.signal("-TERM");
        assert_eq!(spawn_blocking(move || process.ended()).await.unwrap(), Some(0));
    };
    check().await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "no list\n", "what somebody else has written stays");
    // Nobody writes into a pipe.
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    check().await;
    assert!(fs::metadata(&file).unwrap().is_file(), "the next start has its list");
}
