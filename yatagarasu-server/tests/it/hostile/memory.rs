//! Tests of the memory that clients hold who ask and do not read.

use yatagarasu_sys::process::raise_open_files_limit;
use yatagarasu_testing::client::{Client, Connection, Http2};
use yatagarasu_testing::origin::Origin;

use crate::operating::process::Process;
use crate::site::{bucket, document, metric, until_metric};

const MIB: u64 = 1 << 20;

/// Number of objects of a megabyte.
const OBJECTS: u64 = 200;

/// A server with a cache for few of many objects.
async fn crowded() -> (Origin, Process) {
    raise_open_files_limit();
    let s3 = Origin::start().await;
    for index in 0..OBJECTS {
        s3.objects().put_pattern(&index.to_string(), MIB);
    }
    let cache = "max_item_size: \"1MiB\", max_size: \"10MiB\"";
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", cache);
    let process = Process::start(&document("response_memory: \"16MiB\"", &[entry]), &[]);
    (s3, process)
}

/// Asks for an object until it is stored.
async fn store(client: &Client, path: &str) {
    while client.get(path).await.field("x-cache") != "HIT" {}
}

/// Waits until the responses hold no more than they may, and checks the memory of the process.
async fn assert_bounded(process: &Process, idle: u64) {
    let admin = Client::new(process.admin);
    until_metric(&admin, "yatagarasu_response_memory_bytes", |bytes| bytes <= 16 * MIB).await;
    assert!(metric(&admin, "yatagarasu_response_memory_cuts_total").await > 100);
    let over = process.memory().saturating_sub(idle);
    println!("{OBJECTS} clients that do not read {OBJECTS} objects of 1 MiB: {} KiB over idle", over >> 10);
    // The cache, the budget and a fifth, and what the allocator keeps of objects on their way.
    assert!(over < (10 + 16 + 6 + 12) * MIB, "{} KiB", over >> 10);
    assert_eq!(admin.get("/health").await.status, 200);
}

/// They held 696 MB beside a cache of 100 MB.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_many_objects_hold_no_more_than_the_budget() {
    let (_s3, process) = crowded().await;
    let client = Client::new(process.address);
    store(&client, "/static/0").await;
    let idle = process.memory();
    let mut crowd = Vec::new();
    for index in 0..OBJECTS {
        let path = format!("/static/{index}");
        store(&client, &path).await;
        let mut slow = Connection::narrow(process.address, &path).await;
        assert_eq!(slow.head().await.status, 200);
        crowd.push(slow);
    }
    assert_bounded(&process, idle).await;
    // Those who were not cut off still get everything, and others too.
    assert_eq!(client.get("/static/7").await.body.len() as u64, MIB);
}

/// Each of them began the fill of its object.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_what_was_fetched_for_them_hold_no_more_either() {
    let (_s3, process) = crowded().await;
    let client = Client::new(process.address);
    store(&client, "/static/0").await;
    let idle = process.memory();
    let mut crowd = Vec::new();
    for index in 0..OBJECTS {
        let mut slow = Connection::narrow(process.address, &format!("/static/{index}")).await;
        assert_eq!(slow.head().await.status, 200);
        crowd.push(slow);
    }
    assert_bounded(&process, idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_read_hold_no_more_either() {
    let (_s3, process) = crowded().await;
    let client = Client::new(process.address);
    store(&client, "/static/0").await;
    let idle = process.memory();
    let (mut crowd, mut connections) = (Vec::new(), Vec::new());
    for first in (0..OBJECTS).step_by(100) {
        let mut connection = Http2::with_window(process.address, 1000).await;
        for index in first..first + 100 {
            let path = format!("/static/{index}");
            store(&client, &path).await;
            let response = connection.begin(&path).await.unwrap();
            assert_eq!(response.status(), 200);
            // The client opens the window of a stream only when its body is read.
            crowd.push(response);
        }
        connections.push(connection);
    }
    assert_bounded(&process, idle).await;
    assert_eq!(client.get("/static/7").await.body.len() as u64, MIB);
}
