//! Tests of the server as a process: its start, signals, log, credentials and TLS.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Client, Connection};
use yatagarasu_testing::origin::{ACCESS_KEY, Origin, SECRET_KEY};

use crate::operating::admin::ask;
use crate::site::{bucket, document};
use crate::tls_front::{TlsFront, self_signed};

/// A running server process.
pub(crate) struct Process {
    child: Child,
    /// The lines that it logged before it served.
    pub(crate) start: Vec<serde_json::Value>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: mpsc::Receiver<serde_json::Value>,
    /// Holds the configuration, and whatever a test puts beside it.
    pub(crate) folder: TempDir,
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yatagarasu-server"));
    command.args(["--log-format", "json"]);
    command
        .env_clear()
        .env("YATAGARASU_CONFIG", config)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn write(yaml: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("yatagarasu.yaml");
    fs::write(&file, yaml).unwrap();
    (folder, file)
}

impl Process {
    /// Starts the server and waits until it serves.
    pub(crate) fn start(yaml: &str, environment: &[(&str, &str)]) -> Self {
        let (folder, file) = write(yaml);
        let mut command = command(&file);
        command.envs(environment.iter().copied());
        Self::run(command, folder)
    }

    /// Starts the server with at most so many open files.
    pub(crate) fn start_limited(yaml: &str, open_files_max: u32) -> Self {
        let (folder, file) = write(yaml);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {open_files_max}; exec \"$0\" \"$@\"")]);
        let server = command(&file);
        limited.arg(server.get_program()).args(server.get_args());
        limited.env_clear().env("YATAGARASU_CONFIG", &file).stdin(Stdio::null()).stderr(Stdio::piped());
        Self::run(limited, folder)
    }

    /// Starts the server by systemd's way: variables that end in `_PID` name the process. `change` sees the command.
    pub(crate) fn start_as_unit(yaml: &str, change: impl FnOnce(&mut Command)) -> Self {
        let (folder, file) = write(yaml);
        let server = command(&file);
        let mut unit = Command::new("sh");
        unit.args(["-c", "LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$0\" \"$@\""]);
        unit.arg(server.get_program()).args(server.get_args());
        unit.env_clear().env("YATAGARASU_CONFIG", &file).stdin(Stdio::null()).stderr(Stdio::piped());
        change(&mut unit);
        Self::run(unit, folder)
    }

    /// Starts the server by a command that a test has changed.
    pub(crate) fn start_by(yaml: &str, change: impl FnOnce(&mut Command)) -> Self {
        let (folder, file) = write(yaml);
        let mut command = command(&file);
        change(&mut command);
        Self::run(command, folder)
    }

    fn run(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel::<serde_json::Value>();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line);
                if lines.send(line.unwrap_or_else(|error| panic!("not JSON: {error}"))).is_err() {
                    return;
                }
            }
        });
        let mut start = Vec::new();
        while start.last().is_none_or(|line: &serde_json::Value| line["message"] != "serving") {
            start.push(log.recv().expect("the server starts"));
        }
        let serving = start.last().expect("there is one");
        // The first one, of several.
        let listens = |key| serving[key].as_str().unwrap().split(", ").next().unwrap().parse().unwrap();
        let (address, admin) = (listens("address"), listens("admin"));
        Self { child, start, address, admin, log, folder }
    }

    /// Returns the resident memory that the process shares with no other, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = smaps.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).expect("the kernel tells");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Checks that the process does nothing for half a second.
    pub(crate) async fn assert_idle(&self) {
        let before = self.cpu();
        // Nothing is waited for: this is the time that is measured.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let spent = self.cpu().saturating_sub(before);
        assert!(spent < Duration::from_millis(100), "{spent:?} of half a second");
    }

    /// Returns the CPU time of the process so far, in user mode and in the kernel.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u32 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        // The kernel's interface fixes 100 ticks a second.
        Duration::from_millis(10) * ticks
    }

    /// Returns the number of open files with a description that begins with `description`.
    pub(crate) fn open_files(&self, description: &str) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let described = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        described.filter(|file| file.to_string_lossy().starts_with(description)).count()
    }

    /// Returns the lines logged since, as they come. Ends if none comes for a while.
    pub(crate) fn log(&self) -> impl Iterator<Item = serde_json::Value> {
        std::iter::from_fn(|| self.log.recv_timeout(PATIENCE).ok())
    }

    /// Writes another configuration into the file of the server.
    pub(crate) fn rewrite(&self, yaml: &str) {
        fs::write(self.folder.path().join("yatagarasu.yaml"), yaml).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Has another process take over, and waits until that one serves.
    pub(crate) fn hand_over(&self) -> Successor {
        self.signal("-USR2");
        self.successor()
    }

    /// Waits until another process serves that was asked to take over.
    pub(crate) fn successor(&self) -> Successor {
        let line = self.log().find(|line| line["process"].is_u64()).expect("it is handed over");
        assert_eq!(line["message"], "handed over: another process serves from now on");
        Successor(u32::try_from(line["process"].as_u64().unwrap()).unwrap())
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn terminate(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }
}

/// A process that has taken over. It ends with the test: what waits for the output of a test would wait for it, too.
pub(crate) struct Successor(u32);

impl Successor {
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.0);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended, or handed over itself.
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// Sends a signal to any process.
pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(status.success());
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the server with a configuration it cannot start with, and returns its message.
fn refused(yaml: &str) -> String {
    let (_folder, file) = write(yaml);
    refused_file(&file)
}

fn refused_file(file: &Path) -> String {
    let mut child = command(file).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let messages = lines.map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["message"].as_str().expect("a message").to_owned() + "\n"
    });
    let messages: String = messages.collect();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{messages}");
    messages
}

#[test]
fn what_cannot_start_says_why_in_one_message_and_exits_with_2() {
    let good = document("", &[bucket("http://127.0.0.1:1", "a", "/a", "", "")]);
    let check = |yaml: String, words: &[&str]| {
        let said = refused(&yaml);
        for word in words {
            assert!(said.contains(word), "{word:?} in {said}");
        }
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    };
    check(
        good.replace("threads: 2", "treads: 2"),
        &["yatagarasu.yaml: server.treads: unknown key: expected one of address, listeners"],
    );
    check(good.replace("cache: {  }", "cache: { ttl: soon }"), &["buckets[0].cache.ttl", "soon", "\"1h\""]);
    check(good.replace("cache: {  }", "cache: { max_size: 1MB, max_item_size: 2MB }"), &["max_item_size"]);
    check(
        good.replace("cache: {  }", "cache: { max_size: \"${MISSING_SIZE}\" }"),
        &["cache.max_size", "MISSING_SIZE"],
    );
    check(good.replace("buckets:", "buckets"), &["yatagarasu.yaml", "line"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    for key in ["server", "admin"] {
        let yaml = good.replacen(
            &format!("{key}: {{ address: \"127.0.0.1:0\""),
            &format!("{key}: {{ address: {busy:?}"),
            1,
        );
        check(yaml, &[&format!("{key}.address"), &busy, "the address is in use"]);
    }
    if cfg!(not(feature = "rusoto")) {
        let yaml = good.replace("region:", "backend: rusoto, region:");
        check(yaml, &["buckets[0].s3.backend", "--features rusoto"]);
    }
    let twice = document(
        "",
        &[bucket("http://127.0.0.1:1", "a", "/a", "", ""), bucket("http://127.0.0.1:1", "a", "/b", "", "")],
    );
    check(twice, &["buckets[1].name: `a` is taken by buckets[0]"]);
    let nothing = Command::new(env!("CARGO_BIN_EXE_yatagarasu-server")).env_clear().output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("--config"), "{nothing:?}");
    let missing = refused_file(Path::new("/does/not/exist.yaml"));
    assert!(missing.contains("/does/not/exist.yaml: cannot be read"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_files_may_be_open_as_the_system_allows() {
    let s3 = Origin::start().await;
    let process = Process::start(&document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]), &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace();
    assert_eq!(words.next().unwrap(), words.next().unwrap(), "soft and hard: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_logged_one_line_each_and_sigterm_exits_with_0() {
    let s3 = Origin::start().await;
    s3.objects().put("a b", &[], "hello");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]);
    let process = Process::start(&yaml, &[]);
    let answer = Client::new(process.address).get("/static/a%20b").await;
    assert_eq!(answer.status, 200);
    let line = process.log().find(|line| line["message"] == "response").unwrap();
    for (field, value) in [
        ("method", "GET".into()),
        ("bucket", "assets".into()),
        ("key", "a b".into()),
        ("status", 200.into()),
        ("bytes", 5.into()),
        ("cache", answer.field("cache-status").trim_start_matches("Yatagarasu; ").into()),
        ("request_id", answer.field("x-request-id").into()),
        ("whole", true.into()),
        ("level", serde_json::Value::from("INFO")),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(line["duration_ms"].is_f64() && line["source_ms"].is_f64(), "{line}");
    // Over HTTP/2 the host is in `:authority`.
    assert_eq!(Client::http2(process.address).get("/static/a%20b").await.status, 200);
    let line = process.log().find(|line| line["message"] == "response").unwrap();
    assert_eq!((&line["protocol"], &line["host"]), (&"HTTP/2.0".into(), &process.address.to_string().into()));
    assert_eq!(process.terminate(), Some(0));

    let quiet = Process::start(&yaml, &[("YATAGARASU_LOG", "info,yatagarasu::access=off")]);
    assert_eq!(Client::new(quiet.address).get("/static/a%20b").await.status, 200);
    quiet.signal("-INT");
    assert!(quiet.log().all(|line| line["message"] != "response"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let s3 = Origin::start().await;
    s3.objects().put_pattern("large", 10 << 30);
    let yaml = document("shutdown_grace: \"1h\"", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]);
    let process = Process::start(&yaml, &[]);
    let _unread = Connection::begin(process.address, "/static/large").await;
    process.signal("-INT");
    process
        .log()
        .find(|line| line["message"].as_str().is_some_and(|words| words.starts_with("stopping")))
        .unwrap();
    assert_eq!(process.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_environment_or_a_profile() {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "");
    let keys = format!("access_key: {ACCESS_KEY:?}, secret_key: {SECRET_KEY:?}, ");
    let yaml = document("", &[entry.replace(&keys, "").replace("region: \"us-east-1\", ", "")]);
    let environment = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let process = Process::start(&yaml, &environment);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("credentials");
    let profile = format!("[site]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    fs::write(&file, profile).unwrap();
    let file = file.to_str().unwrap();
    let process = Process::start(&yaml, &[("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_PROFILE", "site")]);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");

    let process = Process::start(&yaml, &[]);
    let answer = Client::new(process.address).get("/static/k").await;
    assert_eq!(answer.status, 502);
    let mut lines = Vec::new();
    for line in process.log() {
        let last = line["message"] == "response";
        lines.push(line);
        if last {
            break;
        }
    }
    let complaint = &lines[0];
    assert_eq!((&complaint["level"], lines.len()), (&"ERROR".into(), 3), "{lines:?}");
    assert!(complaint["message"].as_str().unwrap().contains("no credentials"), "{complaint}");
    // Why each provider gave nothing is said once, in one line.
    let reason = complaint["reason"].as_str().unwrap();
    assert!(reason.contains("Environment: ") && reason.contains("Ec2InstanceMetadata: "), "{reason}");
    assert!(!reason.contains('\n'), "{reason}");
    assert_eq!(
        lines[1]["message"],
        "requests to the source fail: check this gateway's credentials, clock and configuration"
    );
    assert_eq!(lines[2]["error"], "no credentials for the source");
    let admin = Client::new(process.admin);
    let ready = admin.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.json()["buckets"][0]["reason"].as_str().unwrap().contains("no credentials"), "{ready:?}");
    let metrics = admin.get("/metrics").await;
    let metrics = metrics.text();
    assert!(metrics.contains("yatagarasu_credentials_valid{bucket=\"assets\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_is_reached_over_tls() {
    let certified = self_signed(&["127.0.0.1"]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, certified.cert.pem()).unwrap();
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    s3.objects().put("other", &[], "again");
    let front = TlsFront::start(&s3, &certified).await;
    let entry = bucket(&format!("https://{}", front.authority()), "assets", "/static", "", "");
    let yaml = document("", &[entry]);
    let process = Process::start(&yaml, &[("SSL_CERT_FILE", file.to_str().unwrap())]);
    // One connection and thus one worker, so that the second request finds the first one's connection to S3.
    let mut client = Connection::get(process.address, "/static/k").await;
    assert_eq!((client.head().await.status, client.take(5).await), (200, b"hello".to_vec()));
    client.get_again("/static/other").await;
    assert_eq!((client.head().await.status, client.take(5).await), (200, b"again".to_vec()));
    assert_eq!(front.opened(), 1, "connections");

    let other = self_signed(&["127.0.0.1"]);
    fs::write(&file, other.cert.pem()).unwrap();
    let stranger = Process::start(&yaml, &[("SSL_CERT_FILE", file.to_str().unwrap())]);
    assert_eq!(
        Client::new(stranger.address).get("/static/k").await.status,
        502,
        "a certificate nobody vouches for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_purges_and_who_is_refused_is_logged() {
    let s3 = Origin::start().await;
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("admin.sock");
    let yaml = document("", &[bucket(&s3.endpoint(), "assets", "/static", "", "")]);
    let yaml = yaml.replace("admin: {", &format!("admin: {{ socket: {socket:?},"));
    let process = Process::start(&yaml, &[("YATAGARASU_ADMIN_TOKEN", "t0ken")]);
    let admin = Client::new(process.admin);
    // One line a minute for each reason: anybody can send these.
    for _ in 0..3 {
        assert_eq!(admin.get("/stats").await.status, 401);
    }
    assert_eq!(admin.get_with("/stats", &[("authorization", "Bearer guess")]).await.status, 401);
    let shown = [("authorization", "Bearer t0ken")];
    assert_eq!(admin.send("PURGE", "/static/k", &shown, bytes::Bytes::new()).await.status, 200);
    assert!(ask(&socket, "PURGE /static/k").await.starts_with("HTTP/1.1 200 "));
    let lines: Vec<_> = process.log().take(4).collect();
    assert_eq!((&lines[3]["message"], &lines[3]["client"]), (&"purged".into(), &"unix".into()));
    for (line, message, reason) in [
        (&lines[0], "an admin request was refused", "no token"),
        (&lines[1], "an admin request was refused", "a wrong token"),
        (&lines[2], "purged", ""),
    ] {
        assert_eq!(line["message"], message, "{line}");
        assert_eq!(line["reason"].as_str().unwrap_or_default(), reason);
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert!(!line.to_string().contains("guess"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bucket_says_at_the_start_what_it_is() {
    let s3 = Origin::start().await;
    let own = bucket(&s3.endpoint(), "assets", "/static", "", "max_size: 64MB");
    let yaml = document(
        "",
        &[
            own,
            "  - { name: other, path_prefix: /o, s3: { region: eu-west-1 }, cache: { enabled: false } }"
                .to_owned(),
        ],
    );
    let process = Process::start(&yaml, &[]);
    let [assets, other, _serving] = &process.start[..] else { panic!("{:?}", process.start) };
    let check = |line: &serde_json::Value, expected: [&str; 5], cache_bytes: u64| {
        let found = ["bucket", "path_prefix", "url", "region", "credentials"].map(|key| &line[key]);
        assert_eq!(found, expected, "{line}");
        assert_eq!(line["cache_bytes"], cache_bytes);
        assert!(!line.to_string().contains(SECRET_KEY), "{line}");
    };
    let url = format!("{}/bucket/", s3.endpoint());
    check(assets, ["assets", "/static", &url, "us-east-1", "configuration"], 64_000_000);
    let url = "https://other.s3.eu-west-1.amazonaws.com/";
    check(other, ["other", "/o", url, "eu-west-1", "AWS credential chain"], 0);
}
