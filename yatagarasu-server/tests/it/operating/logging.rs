//! Tests of the server with a log that is not read, cannot be written, or has lost its reader.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use crate::operating::process::{command, write};
use crate::site::{bucket, document, until_metric};

/// A server on known addresses, because it may have no log to report them.
struct Silent {
    _s3: Origin,
    child: Child,
    client: Client,
    admin: Client,
    _folder: TempDir,
}

impl Silent {
    async fn start(stderr: impl Into<Stdio>) -> Self {
        let s3 = Origin::start().await;
        s3.objects().put("stored", &[], "hello");
        let [address, admin] = free_addresses();
        let good = bucket(&s3.endpoint(), "assets", "/static", "", "");
        let yaml = document("", &[good, bucket("http://127.0.0.1:1", "down", "/down", "", "")])
            .replacen("127.0.0.1:0", &address.to_string(), 1)
            .replacen("127.0.0.1:0", &admin.to_string(), 1);
        let (folder, file) = write(&yaml);
        let child = command(&file).stderr(stderr).spawn().unwrap();
        let site =
            Self { _s3: s3, child, client: Client::new(address), admin: Client::new(admin), _folder: folder };
        let begun = async {
            while site.admin.try_send("GET", "/health", &[], "".into()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, begun).await.expect("the server starts");
        site
    }

    /// Sends requests of every kind, including some that fail at S3, and checks the responses.
    async fn assert_serves(&self) {
        for _ in 0..20 {
            let answer = self.client.get("/static/stored").await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
            let answer = self.client.get_with("/static/stored", &[("x-unknown", "1")]).await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
            assert_eq!(self.client.get("/static/missing").await.status, 404);
        }
        for _ in 0..20 {
            // 502, and 503 once S3 is known to be down.
            assert!(matches!(self.client.get("/down/k").await.status, 502 | 503));
        }
        assert_eq!(self.client.get("/static/stored").await.status, 200);
    }

    async fn until_dropped(&self) {
        until_metric(&self.admin, "yatagarasu_log_lines_dropped_total", |lines| lines > 0).await;
    }

    async fn assert_ends(mut self) {
        signal(&self.child, "-TERM");
        let ended = spawn_blocking(move || self.child.wait().unwrap().code());
        let code = timeout(PATIENCE, ended).await.expect("the server ends").unwrap();
        assert_eq!(code, Some(0));
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn free_addresses() -> [SocketAddr; 2] {
    // Both listeners stay open until both addresses are known, so that the addresses differ.
    let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_goes_away_ends_nothing() {
    let mut site = Silent::start(Stdio::piped()).await;
    drop(site.child.stderr.take());
    site.assert_serves().await;
    site.until_dropped().await;
    site.assert_ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_full_disk_ends_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let site = Silent::start(full).await;
    site.assert_serves().await;
    site.until_dropped().await;
    site.assert_ends().await;
}

#[test]
fn a_start_that_fails_on_a_full_disk_has_the_status_it_always_has() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (_folder, file) = write("buckets: []");
    assert_eq!(command(&file).stderr(full).status().unwrap().code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_pauses_holds_nobody_up() {
    let mut site = Silent::start(Stdio::piped()).await;
    let mut stderr = BufReader::new(site.child.stderr.take().unwrap());
    // The pipe takes 64 KiB and the queue 1 MiB; this is more.
    let path = format!("/static/{}", "k".repeat(1000));
    for _ in 0..2000 {
        assert_eq!(site.client.get(&path).await.status, 404);
    }
    site.until_dropped().await;
    site.assert_serves().await;

    // Once the reader goes on, whole lines arrive, and one of them tells how many were dropped.
    let told = spawn_blocking(move || {
        let mut lines = stderr.by_ref().lines().map_while(Result::ok);
        let told = lines.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).expect("whole lines");
            line["message"].as_str().is_some_and(|message| message.contains("were lost")).then_some(line)
        });
        (told.expect("a line says so"), stderr)
    });
    let (told, _unread) = timeout(PATIENCE, told).await.expect("lines are written again").unwrap();
    assert_eq!(told["level"], "WARN");
    assert!(told["lines"].as_u64().unwrap() > 0, "{told}");
    for _ in 0..200 {
        assert_eq!(site.client.get(&path).await.status, 404);
    }
    site.assert_ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_end_a_process_by_default_are_logged() {
    let mut site = Silent::start(Stdio::piped()).await;
    let mut stderr = BufReader::new(site.child.stderr.take().unwrap()).lines().map_while(Result::ok);
    for (name, word, message) in
        [("-HUP", "SIGHUP", "configuration reloaded"), ("-USR1", "SIGUSR1", "does nothing")]
    {
        signal(&site.child, name);
        let told = spawn_blocking(move || {
            let told = stderr.find(|line| line.contains(word)).expect("a line about it");
            (told, stderr)
        });
        let (told, rest) = timeout(PATIENCE, told).await.expect("it is logged").unwrap();
        assert!(told.contains(message), "{told}");
        stderr = rest;
    }
    signal(&site.child, "-XFSZ");
    site.assert_serves().await;
    site.assert_ends().await;
}

/// Whoever chooses the path must not write lines of the log.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_stays_in_its_line() {
    let [address, admin] = free_addresses();
    let yaml = document("", &[bucket("http://127.0.0.1:1", "down", "/down", "", "")])
        .replacen("127.0.0.1:0", &address.to_string(), 1)
        .replacen("127.0.0.1:0", &admin.to_string(), 1);
    let (_folder, file) = write(&yaml);
    let mut command = Command::new(env!("CARGO_BIN_EXE_yatagarasu-server"));
    let mut child = command.arg("--config").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.by_ref().find(|line| line.contains("serving")).expect("the server starts");
    let path = "/down/a%0Aforged%1b%5b31m%0d%0aforged?q=%0Aforged";
    assert_eq!(Client::new(address).get(path).await.status, 502);
    let mut said: Vec<_> = lines.by_ref().take_while(|line| !line.contains("yatagarasu::access")).collect();
    signal(&child, "-TERM");
    said.extend(lines);
    assert!(said.iter().any(|line| line.contains("requests to the source fail")), "{said:#?}");
    for line in said {
        assert!(!line.starts_with("forged") && !line.contains('\u{1b}'), "{line:?}");
    }
    child.wait().unwrap();
}

#[test]
fn a_filter_that_would_silence_everything_is_refused() {
    let (_folder, file) = write("buckets: []");
    for (filter, message) in [
        (
            "loud",
            "--log or YATAGARASU_LOG: `loud` is no level: expected off, error, warn, info, debug, trace",
        ),
        ("info,yatagarasu::acess=off", "--log or YATAGARASU_LOG: `yatagarasu::acess` cannot be filtered"),
    ] {
        let output = command(&file).env("YATAGARASU_LOG", filter).output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert!(said["message"].as_str().unwrap().starts_with(message), "{said}");
        assert_eq!((&said["level"], &said["target"]), (&"ERROR".into(), &"yatagarasu_server".into()));
        assert_eq!(output.status.code(), Some(2));
    }
}
