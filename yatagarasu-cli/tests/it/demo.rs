//! The `demo` command: starting, serving, the printed commands, and stopping.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use yatagarasu_testing::client::{Client, Connection};

use crate::process::{command, run};

/// A running demo.
struct Demo {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The lines of the announcement.
    announced: Vec<String>,
    /// The `TMPDIR` of the demo.
    temporary: TempDir,
}

impl Demo {
    /// Starts the demo on free ports and waits until it serves.
    fn start(options: &[&str]) -> Self {
        let temporary = TempDir::new().unwrap();
        let mut command = command(&["demo", "--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]);
        command.args(options).env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut announced = Vec::new();
        while announced.last().is_none_or(|line: &String| !line.starts_with("Ctrl-C")) {
            announced.push(stdout.next().expect("the demo starts").unwrap());
        }
        Self { child, stdout, announced, temporary }
    }

    /// Returns the address in the announced line that begins with the label `what`.
    fn address(&self, what: &str) -> SocketAddr {
        let rest = self.announced.iter().find_map(|line| line.trim().strip_prefix(what)).unwrap();
        let (_, url) = rest.split_once("http://").unwrap();
        url.split([' ', '/']).next().unwrap().parse().unwrap()
    }

    /// Returns a client of the server at [`address`](Self::address).
    fn client(&self, what: &str) -> Client {
        Client::unpooled(self.address(what))
    }

    /// Returns the announced commands that begin with `program`.
    fn commands<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a str> {
        self.announced.iter().map(|line| line.trim()).filter(move |line| line.starts_with(program))
    }

    /// Stops the demo, and asserts that it leaves no temporary files.
    fn stop(self) {
        self.stop_by("-TERM");
    }

    fn stop_by(mut self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let rest: Vec<String> = self.stdout.by_ref().map_while(Result::ok).collect();
        assert_eq!(rest, ["stopped"]);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(names(self.temporary.path()), [""; 0], "nothing is left");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_end_of_its_terminal_ends_the_demo() {
    Demo::start(&[]).stop_by("-HUP");
}

#[tokio::test]
async fn samples_are_served_signed_stored_and_streamed() {
    let demo = Demo::start(&[]);
    let gateway = demo.client("gateway");
    let first_url = format!("gateway    http://{}/hello.txt", gateway.address());
    assert!(demo.announced.iter().any(|line| line.trim() == first_url), "{:#?}", demo.announced);
    assert!(
        demo.announced.iter().any(|line| line.contains("AWS_SECRET_ACCESS_KEY=")),
        "{:#?}",
        demo.announced
    );
    let first = gateway.get("/hello.txt").await;
    assert_eq!(
        (first.status, first.field("x-cache"), first.field("content-type")),
        (200, "MISS", "text/plain")
    );
    let second = gateway.get("/hello.txt").await;
    assert_eq!((second.field("x-cache"), &second.body), ("HIT", &first.body));
    let tag = [("if-none-match", first.field("etag"))];
    assert_eq!(gateway.get_with("/hello.txt", &tag).await.status, 304);
    let part = gateway.get_with("/hello.txt", &[("range", "bytes=0-4")]).await;
    assert_eq!((part.status, part.text(), part.field("x-cache")), (206, "Hello", "HIT"));

    let request = "GET /large.bin HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let mut large = Connection::send(gateway.address(), request).await;
    let head = large.head().await;
    assert_eq!((head.status, head.field("content-length")), (200, "256000000"));
    assert_eq!(large.drain().await, 256_000_000);
    let part = gateway.get_with("/large.bin", &[("range", "bytes=255999990-")]).await;
    assert_eq!((part.status, part.body.len()), (206, 10));

    assert_eq!(gateway.get("/notes/read%20me.txt").await.status, 200);
    assert_eq!(gateway.get("/missing").await.status, 404);
    let page = gateway.get("/").await;
    assert!(page.status == 200 && page.text().contains("It works"), "{page:?}");
    let folder = gateway.get("/notes").await;
    assert_eq!((folder.status, folder.field("location")), (301, "/notes/"), "a folder is no object");
    let list = gateway.get("/notes/").await;
    assert!(
        list.status == 200 && list.text().contains("<a href=\"./read%20me.txt\">read me.txt</a>"),
        "{list:?}"
    );
    assert_eq!(gateway.get("/none/").await.status, 404);
    assert_eq!(demo.client("S3 server").get("/demo/hello.txt").await.status, 403, "nobody signed");
    assert_eq!(demo.commands("curl").count(), 8, "{:#?}", demo.announced);
    demo.stop();
}

#[tokio::test]
async fn https_is_served_with_an_authority_of_its_own() {
    let demo = Demo::start(&["--tls", "--tls-address", "127.0.0.1:0"]);
    let command = demo.commands("curl").find(|command| command.contains("--cacert")).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    let [.., authority, url] = *words.as_slice() else { panic!("{command}") };
    let (address, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Hello"), "{answer}");
    assert_eq!(demo.client("gateway").get("/hello.txt").await.status, 200, "without TLS, too");
    demo.stop();
}

#[tokio::test]
async fn the_s3_server_decides_conditions_and_ranges() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("logo.svg"), "<svg/>").unwrap();
    let demo = Demo::start(&["--dir", folder.path().to_str().unwrap()]);
    let gateway = demo.client("gateway");
    let head = gateway.head("/logo.svg").await;
    assert_eq!((head.status, head.field("content-type")), (200, "image/svg+xml"));
    assert_eq!((head.field("content-length"), head.field("accept-ranges")), ("6", "bytes"));
    // `no-store` makes the gateway forward the request, so that the S3 server decides.
    let check = async |name: &str, value: &str, status: u16, content_range: &str| {
        let answer = gateway.get_with("/logo.svg", &[(name, value), ("cache-control", "no-store")]).await;
        let found = (answer.status, answer.field("content-range"), answer.field("x-cache"));
        assert_eq!(found, (status, content_range, "MISS"), "{name}: {value}");
    };
    check("range", "bytes=1-1", 206, "bytes 1-1/6").await;
    check("range", "bytes=-99999", 206, "bytes 0-5/6").await;
    check("range", "bytes=99999-", 416, "bytes */6").await;
    check("if-none-match", head.field("etag"), 304, "").await;
    check("if-modified-since", head.field("last-modified"), 304, "").await;
    check("if-match", "\"other\"", 412, "").await;
    demo.stop();
}

#[tokio::test]
async fn the_printed_commands_for_operators_work() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("it's here.txt"), "hello").unwrap();
    let demo = Demo::start(&["--dir", folder.path().to_str().unwrap()]);
    let gateway = demo.client("gateway");
    let url = format!("curl -i http://{}/it%27s%20here.txt", gateway.address());
    assert!(demo.announced.iter().any(|line| line.trim() == url), "{:#?}", demo.announced);
    gateway.get("/it%27s%20here.txt").await;
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said: Vec<String> = demo.commands(env!("CARGO_BIN_EXE_yatagarasu")).map(run).collect();
    assert_eq!(said.len(), 2, "{:#?}", demo.announced);
    assert!(said[0].starts_with("BUCKET"), "{said:?}");
    assert_eq!(said[1], "1 object purged from bucket demo\n");
    assert_eq!(gateway.get("/it%27s%20here.txt").await.field("x-cache"), "MISS");
    demo.stop();
}

#[tokio::test]
async fn a_folder_is_served_and_left_as_it_is() {
    let around = TempDir::new().unwrap();
    let folder = around.path().join("folder");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("a b.txt"), "one").unwrap();
    fs::write(folder.join("sub/page.html"), "<p>").unwrap();
    fs::write(around.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(around.path().join("secret"), folder.join("out")).unwrap();
    let before = names(&folder);
    let demo = Demo::start(&["--dir", folder.to_str().unwrap()]);
    let gateway = demo.client("gateway");
    let page = gateway.get("/sub/page.html").await;
    assert_eq!((page.status, page.field("content-type"), page.text()), (200, "text/html", "<p>"));
    for path in ["/out", "/out/", "/sub//page.html", "/missing", "/missing/"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
    let list = gateway.get("/").await;
    for (name, is_listed) in [("./sub/", true), ("./a%20b.txt", true), ("out", false), ("secret", false)] {
        assert_eq!(list.text().contains(&format!("\"{name}")), is_listed, "{name} in {}", list.text());
    }
    assert_eq!(gateway.get("/..%2fsecret").await.status, 400);

    assert_eq!(gateway.get("/a%20b.txt").await.body, "one");
    fs::write(folder.join("a b.txt"), "three").unwrap();
    assert_eq!(gateway.get("/a%20b.txt").await.body, "one", "from memory");
    let admin = format!("http://{}", demo.address("admin API"));
    let said = run(&["cache", "purge", "--bucket", "demo", "--key", "a b.txt", "--admin", &admin]);
    assert_eq!(said.stdout, "1 object purged from bucket demo\n", "{said:?}");
    assert_eq!(gateway.get("/a%20b.txt").await.body, "three");
    demo.stop();
    assert_eq!(names(&folder), before);
    assert_eq!(names(&folder.join("sub")), ["page.html"]);
}

#[test]
fn what_cannot_start_says_which_option_is_wrong() {
    let check = |options: &[&str], words: &[&str]| {
        let said = run(&[&["demo"][..], options].concat());
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{said:?}");
        for word in words {
            assert!(said.stderr.contains(word), "{word:?} in {}", said.stderr);
        }
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    let (free, file) = ("127.0.0.1:0", env!("CARGO_BIN_EXE_yatagarasu"));
    check(&["--address", &busy, "--admin-address", free], &["--address", &busy, "the address is in use"]);
    check(
        &["--address", free, "--admin-address", &busy],
        &["--admin-address", &busy, "the address is in use"],
    );
    check(&["--address", &busy, "--admin-address", &busy], &["--admin-address", "public address"]);
    check(&["--address", free, "--admin-address", "0.0.0.0:0"], &["--admin-address", "needs a token"]);
    check(&["--dir", "/does/not/exist"], &["--dir", "/does/not/exist is not a folder"]);
    check(&["--dir", file], &["--dir", "is not a folder"]);
    check(&["--log", "yatagarasu=loud"], &["--log"]);
}
