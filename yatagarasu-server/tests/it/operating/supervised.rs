//! Tests of a server under a supervisor: sockets that it is given, what it says, and a new process in its place.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;
use tokio::task::{JoinSet, spawn_blocking};
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use crate::operating::process::{Process, Successor, signal};
use crate::site::{bucket, document};

async fn stored() -> (Origin, String) {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "");
    (s3, document("drain: \"500ms\"", &[entry]))
}

/// An upgrade must not cost a single request.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_and_no_client_is_refused() {
    let (_s3, yaml) = stored().await;
    // A connection that is not used for as long as the drain is closed, perhaps just when it is used.
    let yaml = yaml.replace("server: {", "server: { health_path: \"/healthz\",").replace("500ms", "5s");
    let mut first = Process::start(&yaml, &[("YATAGARASU_LOG", "info,yatagarasu::access=off")]);
    let done = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for pooled in [true, false] {
        for _ in 0..4 {
            let (done, address) = (Arc::clone(&done), first.address);
            load.spawn(async move {
                let client = if pooled { Client::new(address) } else { Client::unpooled(address) };
                let mut requests = 0;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/static/k").await.body, "hello");
                    // A load balancer must not take the successor out.
                    assert_eq!(client.get("/healthz").await.status, 200);
                    requests += 1;
                    // So slowly that the ports of this machine last.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                requests
            });
        }
    }
    // All of them, so that none is killed while it drains.
    let mut processes = Vec::new();
    for _ in 0..3 {
        match processes.last() {
            None => first.signal("-USR2"),
            Some(latest) => Successor::signal(latest, "-USR2"),
        }
        processes.push(first.successor());
        // Operators reach the other process, too.
        assert_eq!(Client::unpooled(first.admin).get("/ready").await.status, 200);
    }
    done.store(true, Ordering::Relaxed);
    for requests in load.join_all().await {
        assert!(requests > 5, "{requests}");
    }
    assert_eq!(spawn_blocking(move || first.ended()).await.unwrap(), Some(0), "the first one has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_start_takes_nothing_over() {
    let (_s3, yaml) = stored().await;
    let process = Process::start(&yaml, &[]);
    process.rewrite("nonsense: true");
    process.signal("-USR2");
    // Of the other process.
    let reason = process.log().find(|line| line["level"] == "ERROR").expect("the reason");
    assert!(reason["message"].as_str().unwrap().contains("yatagarasu.yaml"), "{reason}");
    let message = "not handed over: this process still serves";
    let line = process.log().find(|line| line["message"] == message).expect("the consequence");
    assert!(line["error"].as_str().unwrap().contains("did not begin to serve"), "{line}");
    assert_eq!(Client::new(process.address).get("/static/k").await.status, 200);
}

/// `LISTEN_FDS`, as of systemd's socket units: clients wait in the socket while the server starts.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_a_supervisor_are_served() {
    let (_s3, yaml) = stored().await;
    let [public, admin, other] = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&public, &admin].map(|listener| listener.local_addr().unwrap());
    // A client comes before the server.
    let early = Client::new(addresses[0]);
    let early = tokio::spawn(async move { early.get("/static/k").await });
    let pass = |command: &mut std::process::Command, listeners: &[&TcpListener]| {
        let fds = listeners.iter().map(|listener| OwnedFd::from(listener.try_clone().unwrap()));
        let mappings = fds.zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).unwrap().env("LISTEN_FDS", listeners.len().to_string());
    };
    // By name, whatever the configuration says.
    let process = Process::start_by(&yaml, |command| {
        pass(command, &[&admin, &public]);
        command.env("LISTEN_FDNAMES", "admin.address:server.address");
    });
    assert_eq!([process.address, process.admin], addresses);
    assert_eq!(early.await.unwrap().body, "hello");
    drop(process);
    // By address.
    let here = yaml.replacen("127.0.0.1:0", &addresses[0].to_string(), 1);
    let process = Process::start_by(&here, |command| pass(command, &[&public]));
    assert_eq!(Client::new(addresses[0]).get("/static/k").await.body, "hello");
    drop(process);
    // One for operators, without a token, that everybody may open.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("admin.sock");
    let given = UnixListener::bind(&path).unwrap();
    let file = folder.path().join("operators.yaml");
    std::fs::write(&file, yaml.replace("admin: {", &format!("admin: {{ socket: {path:?},"))).unwrap();
    for (mode, is_refused) in [(0o666, true), (0o660, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = crate::operating::process::command(&file);
        let mapping = FdMapping { parent_fd: given.try_clone().unwrap().into(), child_fd: 3 };
        command.fd_mappings(vec![mapping]).unwrap().env("LISTEN_FDS", "1");
        if is_refused {
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code() == Some(2) && said.contains("everybody on this machine may open"),
                "{said}"
            );
        } else {
            let process = Process::start_by(&std::fs::read_to_string(&file).unwrap(), |command| {
                let mapping = FdMapping { parent_fd: given.try_clone().unwrap().into(), child_fd: 3 };
                command.fd_mappings(vec![mapping]).unwrap().env("LISTEN_FDS", "1");
            });
            UnixStream::connect(&path).unwrap();
            drop(process);
        }
    }
    // One that nobody serves.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("yatagarasu.yaml");
    std::fs::write(&file, &yaml).unwrap();
    let mut command = crate::operating::process::command(&file);
    pass(&mut command, &[&other]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("LISTEN_FDS: nothing is served on"), "{said}");
}

/// What a supervisor is told (`sd_notify(3)`).
struct Told(UnixDatagram);

impl Told {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(yatagarasu_testing::PATIENCE)).unwrap();
        Self(socket)
    }

    /// Drops the messages so far.
    fn forget(&self) {
        self.0.set_nonblocking(true).unwrap();
        while self.0.recv(&mut [0; 1024]).is_ok() {}
        self.0.set_nonblocking(false).unwrap();
    }

    /// Waits for a message with a line that begins like this.
    fn next(&self, word: &str) -> String {
        let mut room = [0; 1024];
        loop {
            let length = self.0.recv(&mut room).unwrap_or_else(|error| panic!("{word}: {error}"));
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(word)) {
                return text;
            }
        }
    }
}

/// systemd's `Type=notify`: it knows when the server serves, reloads, hangs and stops.
#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_is_told_how_the_server_is() {
    let (_s3, yaml) = stored().await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let told = Told::at(&path);
    let mut process = Process::start_as_unit(&yaml, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    });
    told.next("READY=1");
    for _ in 0..3 {
        told.next("WATCHDOG=1");
    }
    process.signal("-HUP");
    assert!(told.next("RELOADING=1").contains("MONOTONIC_USEC="));
    told.next("READY=1");
    process.signal("-TERM");
    told.next("STOPPING=1");
    assert_eq!(spawn_blocking(move || process.ended()).await.unwrap(), Some(0));
}

/// The process that takes over is watched as the one that systemd has started, and leaves systemd's sockets alone.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_the_unit_s_as_well() {
    let (_s3, yaml) = stored().await;
    let folder = TempDir::new().unwrap();
    let [notify, kept] = ["notify", "kept.sock"].map(|name| folder.path().join(name));
    let [own, operators] = ["own.sock", "admin.sock"].map(|name| folder.path().join(name));
    let (told, listener) = (Told::at(&notify), UnixListener::bind(&kept).unwrap());
    let [first, second] = [&kept, &own].map(|path| format!("{{ address: \"unix:{}\" }}", path.display()));
    let listeners = format!("listeners: [{{ address: \"127.0.0.1:0\" }}, {first}, {second}], threads");
    let yaml = yaml.replacen("address: \"127.0.0.1:0\", threads", &listeners, 1);
    let yaml = yaml.replace("admin: {", &format!("admin: {{ socket: {operators:?},"));
    let mut process = Process::start_as_unit(&yaml, |command| {
        let mapping = FdMapping { parent_fd: listener.into(), child_fd: 3 };
        command.fd_mappings(vec![mapping]).unwrap().env("LISTEN_FDS", "1");
        command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", "300000");
    });
    told.next("WATCHDOG=1");
    process.signal("-USR2");
    let successor = told.next("MAINPID=");
    let successor =
        successor.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap().parse().unwrap();
    // The first one has ended, so that only the second one can say this.
    assert_eq!(spawn_blocking(move || process.ended()).await.unwrap(), Some(0));
    told.forget();
    told.next("WATCHDOG=1");
    assert!(kept.exists() && own.exists() && operators.exists());
    UnixStream::connect(&operators).expect("the other process serves operators there");
    signal("-TERM", successor);
    told.next("STOPPING=1");
    let removed = async {
        while own.exists() || operators.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(yatagarasu_testing::PATIENCE, removed).await.expect("its own is removed");
    assert!(kept.exists(), "systemd listens on it");
}
