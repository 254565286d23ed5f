//! Tests of listeners: how clients learn of HTTP/3, certificates, and what is logged and counted.

use std::os::fd::OwnedFd;

use command_fds::{CommandFdExt, FdMapping};
use rustls::pki_types::PrivateKeyDer;
use tokio::time::timeout;
use yatagarasu_server::config::Environment;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, plain_get};
use yatagarasu_testing::origin::Origin;

use super::client::{Dial, NAME};
use crate::operating::process::Process;
use crate::site::{bucket, document, until_metric};
use crate::tls::client::tunnel;
use crate::tls::{Files, TlsSite};

#[tokio::test(flavor = "multi_thread")]
async fn every_response_says_that_there_is_http3_and_where() {
    let (here, elsewhere) =
        (TlsSite::of_http3("").await, TlsSite::with("", "http3: true, http3_port: 443").await);
    let port = here.secure.port();
    for (secure, expected) in [
        (&here, format!("h3=\":{port}\"; ma=86400")),
        (&elsewhere, "h3=\":443\"; ma=86400".to_owned()),
        (&TlsSite::start().await, String::new()),
    ] {
        secure.site.put("k", &[], "hello");
        for offered in [&b"h2"[..], b"http/1.1"] {
            let client = secure.client.offering(&[offered]);
            for path in ["/static/k", "/static/k", "/static/none", "/nowhere", "/static/%zz"] {
                let answer = client.get(secure.secure, NAME, path).await.unwrap().response;
                assert_eq!(answer.field("alt-svc"), expected, "{path}");
            }
        }
        // Hits of the fast path, and what is no request.
        let address = tunnel(&secure.client, secure.secure, NAME).await;
        let mut client = Connection::send(address, plain_get("/static/k")).await;
        let head = client.head().await;
        assert_eq!((head.field("x-cache"), head.field("alt-svc")), ("HIT", &*expected));
        let refused = Connection::send(address, "nonsense\r\n\r\n").await.head().await;
        assert_eq!((refused.status, refused.field("alt-svc")), (400, &*expected));
        // Over the listener without TLS there is no way to it.
        assert_eq!(secure.site.client.get("/static/k").await.field("alt-svc"), "");
    }
    assert!(here.http3().await.get("/static/k").await.unwrap().field("alt-svc").contains("h3="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_protocol_gets_no_connection() {
    let secure = TlsSite::of_http3("").await;
    let dial = Dial { protocol: b"hq-interop", ..secure.dial() };
    let error = dial.quic(secure.secure).await.unwrap_err().to_string();
    // The alert `no_application_protocol` (RFC 9001 8.1).
    assert!(error.contains("120"), "{error}");
    let failed = "yatagarasu_tls_handshakes_total{result=\"failed\"}";
    until_metric(&secure.site.admin, failed, |count| count == 1).await;
    let mut client = secure.http3().await;
    assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
    let quic = "yatagarasu_tls_handshakes_total{result=\"quic\"}";
    until_metric(&secure.site.admin, quic, |count| count == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_clients_are_asked_for_over_quic_too() {
    let files = Files::new();
    let ca = files.make("ca", &["client.example"]);
    let other = crate::tls_front::self_signed(&["x"]);
    let key = PrivateKeyDer::try_from(other.signing_key.serialize_der()).unwrap();
    let own = rustls::pki_types::pem::PemObject::from_pem_file(files.path("ca.key"));
    let own: PrivateKeyDer<'static> = own.unwrap();
    let tls = format!("http3: true, client_ca: \"{}\"", files.path("ca.pem").display());
    let secure = TlsSite::with("", &tls).await;
    secure.site.put("k", &[], "hello");
    let shown = Dial { shown: Some((ca.clone(), own)), ..secure.dial() };
    let mut client = shown.http3(secure.secure).await.unwrap();
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    for shown in [None, Some((other.cert.der().clone(), key))] {
        let dial = Dial { shown, ..secure.dial() };
        // With TLS 1.3, a client learns of it after its own part of the handshake.
        let got = async { dial.http3(secure.secure).await?.get("/static/k").await };
        assert!(timeout(PATIENCE, got).await.unwrap().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_over_quic_too_and_no_handshake_fails_meanwhile() {
    let secure = TlsSite::of_http3("").await;
    let mut before = secure.http3().await;
    let old = secure.dial();
    let certificate = secure.files.make("www", &["www.example"]);
    let shown = async { while Dial::trusting(&certificate).quic(secure.secure).await.is_err() {} };
    timeout(PATIENCE, shown).await.expect("the new certificate");
    assert!(old.quic(secure.secure).await.is_err(), "the one before is gone");
    assert_eq!(before.get("/nowhere").await.unwrap().status, 404, "connections stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_client_and_the_version() {
    let (files, origin) = (Files::new(), Origin::start().await);
    let certificate = files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let server = format!("listeners: [{}]", files.listener(&["www"], "http3: true"));
    let log = "log: { access_format: \"{client} {protocol} {method} {path} {status} {bytes}\" }\n";
    let yaml = document(&server, &[entry]).replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ");
    origin.objects().put("k", &[], "hello");
    let access = files.path("access.log");
    let log = log.replace("log: {", &format!("log: {{ access_output: \"{}\",", access.display()));
    let process = Process::start(&format!("{log}{yaml}"), &[]);
    let mut client = Dial::trusting(&certificate).http3(process.address).await.unwrap();
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    let written = async {
        loop {
            let lines = std::fs::read_to_string(&access).unwrap_or_default();
            if lines.ends_with('\n') {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    };
    let lines = timeout(PATIENCE, written).await.unwrap();
    assert_eq!(lines, "127.0.0.1 HTTP/3.0 GET /static/k 200 5\n");
}

/// A listener with HTTP/3 is one socket more: it cannot come and go with a reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_turn_it_on() {
    let (files, origin) = (Files::new(), Origin::start().await);
    files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let yaml = |more: &str| {
        document(&format!("listeners: [{}]", files.listener(&["www"], more)), std::slice::from_ref(&entry))
    };
    let process = Process::start(&yaml(""), &[]);
    process.rewrite(&yaml("http3: true"));
    let json = [("content-type", "application/json")];
    let answer = yatagarasu_testing::client::Client::new(process.admin)
        .send("POST", "/reload", &json, "".into())
        .await;
    assert!(
        answer.status == 422 && answer.text().contains("tls.http3"),
        "{}: {}",
        answer.status,
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_for_udp_is_an_error() {
    let (files, origin) = (Files::new(), Origin::start().await);
    files.make("www", &["www.example"]);
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    for _ in 0..20 {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let listener = files.listener(&["www"], "http3: true").replace("127.0.0.1:0", &address);
        let yaml = document(&format!("listeners: [{listener}]"), std::slice::from_ref(&entry));
        let config = yatagarasu_server::Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap();
        let error = yatagarasu_server::Server::start(&config).await.unwrap_err().to_string();
        if error.starts_with(&format!("server.listeners[0].tls.http3: cannot listen on {address} for UDP: "))
        {
            return;
        }
        // Another test has the port for TCP.
        assert!(error.contains("the address is in use"), "{error}");
    }
    panic!("no port is free for TCP");
}

/// A client behind a load balancer cannot be told apart from it without the PROXY protocol, which is one of TCP.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_name_its_clients_is_refused() {
    let rules = "client_address: { from: \"proxy_protocol\", trusted: [\"127.0.0.1\"] }";
    let secure = TlsSite::with(rules, "http3: true").await;
    let error = secure.dial().quic(secure.secure).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

/// Without it, a successor would not get the socket: systemd's units, and the process before.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_a_supervisor_are_served_over_udp_too() {
    let (files, origin) = (Files::new(), Origin::start().await);
    origin.objects().put("k", &[], "hello");
    let certificate = files.make("www", &["www.example"]);
    let (tcp, udp) = loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = std::net::UdpSocket::bind(tcp.local_addr().unwrap()) {
            break (tcp, udp);
        }
    };
    let address = tcp.local_addr().unwrap();
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let yaml = |tls: &str| {
        let listener = files.listener(&["www"], tls).replace("127.0.0.1:0", &address.to_string());
        let yaml = document(&format!("listeners: [{listener}]"), std::slice::from_ref(&entry));
        yaml.replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ")
    };
    let pass = |command: &mut std::process::Command| {
        let fds = [OwnedFd::from(udp.try_clone().unwrap()), tcp.try_clone().unwrap().into()];
        let mappings =
            fds.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).unwrap().env("LISTEN_FDS", "2");
    };
    let process = Process::start_by(&yaml("http3: true"), pass);
    let mut client = Dial::trusting(&certificate).http3(address).await.unwrap();
    assert_eq!(client.get("/static/k").await.unwrap().body, "hello");
    drop(process);
    // Nobody would read it.
    let (_folder, file) = crate::operating::process::write(&yaml(""));
    let mut command = crate::operating::process::command(&file);
    pass(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("over UDP: expected the address"), "{said}");
}
