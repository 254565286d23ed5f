//! Tests of a configuration that changes while the server runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::{Origin, SECRET_KEY};

use crate::operating::process::Process;
use crate::site::{bucket, document};

fn started(server: &str, buckets: &[String]) -> Process {
    Process::start(&document(server, buckets), &[])
}

async fn reload(process: &Process) -> (u16, serde_json::Value) {
    let json = [("content-type", "application/json")];
    let answer = Client::new(process.admin).send("POST", "/reload", &json, "".into()).await;
    (answer.status, answer.json())
}

/// Reads lines of the log up to one with this message.
fn logged(process: &Process, message: &str) -> serde_json::Value {
    process
        .log()
        .find(|line| line["message"] == message)
        .unwrap_or_else(|| panic!("no {message:?} in the log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn good_and_bad_files_are_reloaded_under_load_and_no_request_fails() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    s3.objects().put_pattern("large", 3_000_000);
    let assets = bucket(&s3.endpoint(), "assets", "/static", "", "");
    let more = bucket(&s3.endpoint(), "more", "/more", "", "");
    let process = started("", std::slice::from_ref(&assets));
    let good = document("send_timeout: 50s", &[assets.clone(), more]);
    let less = document("", std::slice::from_ref(&assets));
    let bad = good.replace("threads", "treads");

    let done = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for path in ["/static/k", "/static/large"] {
        for http2 in [false, true] {
            let (done, address) = (Arc::clone(&done), process.address);
            load.spawn(async move {
                let client = if http2 { Client::http2(address) } else { Client::new(address) };
                let mut requests = 0;
                while !done.load(Ordering::Relaxed) {
                    let answer = client.get(path).await;
                    assert_eq!(answer.status, 200);
                    assert!(path.ends_with("/k") || answer.body.len() == 3_000_000);
                    requests += 1;
                }
                requests
            });
        }
    }
    let client = Client::new(process.address);
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    for _ in 0..5 {
        process.rewrite(&good);
        process.signal("-HUP");
        assert_eq!(logged(&process, "configuration reloaded")["added"], "more");
        assert_eq!(client.get("/more/k").await.body, "hello");
        assert_eq!(client.get("/static/k").await.field("x-cache"), "HIT", "the cache is kept");

        process.rewrite(&bad);
        process.signal("-HUP");
        let line = logged(&process, "the configuration was not reloaded: the one before still runs");
        assert!(line["reason"].as_str().unwrap().contains("server.treads: unknown key"), "{line}");
        assert_eq!(client.get("/more/k").await.status, 200);
        let (status, answer) = reload(&process).await;
        assert!(status == 422 && answer["detail"].as_str().unwrap().contains("treads"), "{answer}");
        let running = Client::new(process.admin).get("/config").await;
        assert!(running.text().contains("name: more") && running.text().contains("send_timeout: 50s"));
        assert!(!running.text().contains(SECRET_KEY));

        process.rewrite(&less);
        process.signal("-HUP");
        assert_eq!(logged(&process, "configuration reloaded")["removed"], "more");
        assert_eq!(client.get("/more/k").await.status, 404);
    }
    done.store(true, Ordering::Relaxed);
    for requests in load.join_all().await {
        assert!(requests > 5, "{requests}");
    }
    let metrics = Client::new(process.admin).get("/metrics").await;
    for (result, count) in [("success", 10), ("failure", 10)] {
        let line = format!("yatagarasu_config_reloads_total{{result=\"{result}\"}} {count}");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
}

/// A cache must not serve what another configuration would not have stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_kept_if_it_would_store_the_same() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[("x-amz-meta-a", "1")], "hello");
    let endpoint = s3.endpoint();
    let plain = bucket(&endpoint, "assets", "/static", "", "");
    let process = started("", std::slice::from_ref(&plain));
    let client = Client::new(process.address);
    let stored = async || while client.get("/static/k").await.field("x-cache") != "HIT" {};
    for (entry, fate) in [
        (bucket(&endpoint, "assets", "/static", "response_timeout: 7s, session_token: \"\"", ""), "kept"),
        (bucket(&endpoint, "assets", "/static", "", "status_key: true"), "kept"),
        (bucket(&endpoint, "assets", "/static", "", "ttl: 7"), "emptied"),
        (bucket(&endpoint, "assets", "/static", "forward_query: [\"v\"]", ""), "emptied"),
        (plain.clone() + "    response_headers: { remove: [\"x-amz-meta-a\"] }\n", "emptied"),
        (plain.clone(), "emptied"),
    ] {
        stored().await;
        process.rewrite(&document("", &[entry]));
        let (status, answer) = reload(&process).await;
        assert_eq!((status, &answer["buckets"][0]["cache"]), (200, &fate.into()), "{answer}");
        let next = client.get("/static/k").await;
        assert_eq!(next.field("x-cache"), if fate == "kept" { "HIT" } else { "MISS" });
    }
    // A purge reaches what was stored before a reload.
    stored().await;
    process.rewrite(&document("header_timeout: 50s", &[plain]));
    assert_eq!(reload(&process).await.0, 200);
    let json = [("content-type", "application/json")];
    let order = r#"{"bucket":"assets","key":"k"}"#;
    let purged = Client::new(process.admin).send("POST", "/purge", &json, order.into()).await;
    assert_eq!(purged.json()["purged"], 1);
    assert_eq!(client.get("/static/k").await.field("x-cache"), "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_is_refused_as_a_whole() {
    let s3 = Origin::start().await;
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "");
    let process = started("", std::slice::from_ref(&entry));
    let other = document("connections_per_client: 1", &[entry]);
    process.rewrite(&other.replace("threads: 2", "threads: 3"));
    let (status, answer) = reload(&process).await;
    let expected = "server.threads cannot change while the server runs: restart it, or change back";
    assert_eq!((status, &answer["detail"]), (422, &expected.into()));
    let held = Connection::begin(process.address, "/static/k").await;
    let mut second = Connection::get(process.address, "/static/k").await;
    assert_eq!(second.head().await.status, 404, "the limit has not changed either");
    process.rewrite(&other.replace("admin: {", "admin: { socket: \"/nowhere/admin.sock\","));
    let (status, answer) = reload(&process).await;
    let expected = "admin.socket cannot change while the server runs: restart it, or change back";
    assert_eq!((status, &answer["detail"]), (422, &expected.into()));
    process.rewrite(&other);
    assert_eq!(reload(&process).await.0, 200);
    drop((held, second));
    // Those of before are not counted.
    let _held = Connection::begin(process.address, "/static/k").await;
    assert_eq!(Connection::get(process.address, "/static/k").await.head().await.status, 429);
}

/// logrotate renames files, and sends SIGHUP.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_logs_are_opened_anew() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "");
    let process = started("", std::slice::from_ref(&entry));
    let [access, old] = ["access.log", "access.log.1"].map(|name| process.folder.path().join(name));
    let yaml = document("", &[entry]);
    let log = format!("log: {{ access_output: {access:?}, access_format: \"combined\" }}\n");
    process.rewrite(&format!("{log}{yaml}"));
    assert_eq!(reload(&process).await.0, 200);
    let _ = logged(&process, "configuration reloaded");
    let client = Client::new(process.address);
    let lines = |file: &std::path::Path| fs::read_to_string(file).unwrap_or_default().lines().count();
    let until = async |file: &std::path::Path, count| {
        while lines(file) < count {
            tokio::task::yield_now().await;
        }
    };
    client
        .get_with(
            "/static/k?token=secret",
            &[("referer", "https://a.example/"), ("user-agent", "agent \"7\"")],
        )
        .await;
    until(&access, 1).await;
    let line = fs::read_to_string(&access).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let rest = "\"GET /static/k?token=*** HTTP/1.1\" 200 5 \"https://a.example/\" \"agent \\x227\\x22\"\n";
    assert!(line.ends_with(rest), "{line}");
    fs::rename(&access, &old).unwrap();
    client.get("/static/k").await;
    until(&old, 2).await;
    process.signal("-HUP");
    let _ = logged(&process, "configuration reloaded");
    client.get("/static/k").await;
    until(&access, 1).await;
    assert_eq!((lines(&old), lines(&access)), (2, 1));
    // A file that cannot be opened changes nothing.
    process.rewrite(&format!("log: {{ access_output: \"/nowhere/access.log\" }}\n{yaml}"));
    let (status, answer) = reload(&process).await;
    assert!(status == 422 && answer["detail"].as_str().unwrap().contains("/nowhere/access.log"), "{answer}");
    client.get("/static/k").await;
    until(&access, 2).await;
}

/// The buckets were chosen before the order was read, and the purge emptied a cache that was gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_whose_order_comes_late_reaches_the_cache_that_is_there_then() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "old");
    let with =
        |ttl: &str| document("", &[bucket(&s3.endpoint(), "assets", "/static", "", &format!("ttl: {ttl}"))]);
    let process = Process::start(&with("1h"), &[]);
    let order = r#"{"bucket":"assets","key":"k"}"#;
    let head = format!(
        "POST /purge HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        process.admin,
        order.len()
    );
    let mut purge = Connection::send(process.admin, head).await;
    assert_eq!(purge.head().await.status, 100, "the head has been read");
    process.rewrite(&with("2h"));
    assert_eq!(reload(&process).await.1["buckets"][0]["cache"], "emptied");
    let client = Client::new(process.address);
    while client.get("/static/k").await.field("x-cache") != "HIT" {}
    s3.objects().put("k", &[], "new");
    purge.say(order).await;
    assert_eq!(purge.head().await.status, 200);
    assert_eq!(client.get("/static/k").await.body, "new");
}
