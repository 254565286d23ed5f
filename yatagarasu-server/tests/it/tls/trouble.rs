//! Tests of clients and configurations that do not fit.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use yatagarasu_server::Config;
use yatagarasu_server::config::{Environment, show};
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::{Connection, plain_get};

use super::{Files, TlsSite};
use crate::site::{document, until_metric};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_no_tls_is_told_so() {
    let secure = TlsSite::start().await;
    for request in [plain_get("/static/k"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "\0\0".to_owned()]
    {
        let mut client = Connection::send(secure.secure, &request).await;
        let head = client.head().await;
        assert_eq!(head.status, 400, "{request:?}");
        let text = String::from_utf8(client.rest().await).unwrap();
        assert!(text.contains("this port speaks TLS"), "{text}");
    }
}

/// The limits are those of request heads.
#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_are_ended() {
    let secure = TlsSite::with("header_timeout: \"400ms\"", "").await;
    let mut hello = Vec::new();
    let mut session = rustls_client();
    session.write_tls(&mut hello).unwrap();
    for sent in [0, 1, 5, hello.len() - 1, hello.len()] {
        let mut client = TcpStream::connect(secure.secure).await.unwrap();
        client.write_all(&hello[..sent]).await.unwrap();
        let mut rest = Vec::new();
        // With the whole hello the server's answer comes before.
        timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("an end").unwrap();
        assert_eq!(rest.is_empty(), sent < hello.len(), "{sent}");
    }
    until_metric(&secure.site.admin, "yatagarasu_connections", |open| open == 0).await;
}

fn rustls_client() -> rustls::ClientConnection {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    rustls::ClientConnection::new(config.into(), "www.example".try_into().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_after_a_hello_ends_the_connection() {
    let secure = TlsSite::start().await;
    for nonsense in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\xff\xff\xff\xff\xff", b"\x16\x03\x01\xff\xffx"]
    {
        let mut client = TcpStream::connect(secure.secure).await.unwrap();
        client.write_all(nonsense).await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("an end");
        assert!(rest.len() < 16, "an alert, if anything: {rest:?}");
    }
    assert!(secure.client.get(secure.secure, "www.example", "/nowhere").await.is_ok());
    until_metric(&secure.site.admin, "yatagarasu_tls_handshakes_total{result=\"failed\"}", |count| {
        count == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_connections_hold_over_tls() {
    let secure = TlsSite::with("connections_max: 1", "").await;
    let held = secure.client.connect(secure.secure, "www.example").await.unwrap();
    // The answer comes before the request.
    let mut refused = secure.client.connect(secure.secure, "www.example").await.unwrap();
    let mut head = [0; 12];
    timeout(PATIENCE, refused.read_exact(&mut head)).await.expect("an answer").unwrap();
    assert_eq!(&head, b"HTTP/1.1 503");
    drop(held);
    let served =
        async { while secure.client.get(secure.secure, "www.example", "/nowhere").await.is_err() {} };
    timeout(PATIENCE, served).await.expect("a place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_waits_for_no_handshake() {
    let mut secure = TlsSite::start().await;
    let _silent = TcpStream::connect(secure.secure).await.unwrap();
    let running = secure.client.get(secure.secure, "www.example", "/nowhere").await;
    assert_eq!(running.unwrap().response.status, 404);
    let stopped = timeout(Duration::from_secs(10), secure.site.stop()).await.expect("no wait");
    assert!(stopped.unwrap());
}

/// A refused connection gets the response of HTTP/1.1, whatever its client prefers, and a proxy's header is read first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_gets_an_answer_that_it_can_read() {
    let secure = TlsSite::with("connections_max: 1", "").await;
    let _held = secure.client.connect(secure.secure, "www.example").await.unwrap();
    let client = secure.client.offering(&[b"h2", b"http/1.1"]);
    let mut refused = client.connect(secure.secure, "www.example").await.unwrap();
    assert_eq!(refused.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut head = [0; 12];
    timeout(PATIENCE, refused.read_exact(&mut head)).await.expect("an answer").unwrap();
    assert_eq!(&head, b"HTTP/1.1 503");
    let rules = "connections_max: 1, client_address: { from: \"proxy_protocol\", trusted: [\"127.0.0.1\"] }";
    let secure = TlsSite::with(rules, "").await;
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n";
    let mut held = Vec::new();
    for status in [None, Some(b"HTTP/1.1 503")] {
        let mut socket = TcpStream::connect(secure.secure).await.unwrap();
        socket.write_all(header).await.unwrap();
        let mut stream = secure.client.over(socket, "www.example").await.unwrap();
        if let Some(status) = status {
            timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an answer").unwrap();
            assert_eq!(&head, status);
        }
        held.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_nothing_over_tls_are_let_go() {
    let secure = TlsSite::with("send_timeout: \"500ms\", header_timeout: \"2s\"", "").await;
    secure.site.origin.objects().put_pattern("large", 64 << 20);
    // A hit whose last bytes fit into the buffer of TLS, and not into the socket.
    secure.site.put("hit", &[], vec![7; 1_000_000]);
    secure.site.store("/static/hit").await;
    let mut stalled = Vec::new();
    for (protocol, path, times) in
        [("http/1.1", "/media/large", 1), ("http/1.1", "/static/hit", 20), ("h2", "/media/large", 1)]
    {
        let client = secure.client.offering(&[protocol.as_bytes()]);
        let mut stream = client.connect(secure.secure, "www.example").await.unwrap();
        if protocol == "h2" {
            // The preface, settings with the largest windows, and a GET of the stream 1.
            let path = [&[0x04, path.len().to_le_bytes()[0]], path.as_bytes()].concat();
            let block = [&[0x82, 0x86, 0x41, 0x01, b'a'][..], &path].concat();
            let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
            let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0];
            let headers = [&[0, 0, block.len().to_le_bytes()[0], 1, 5, 0, 0, 0, 1], &block[..]].concat();
            let all = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &window, &headers].concat();
            stream.write_all(&all).await.unwrap();
        } else {
            stream.write_all(plain_get(path).repeat(times).as_bytes()).await.unwrap();
        }
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    until_metric(&secure.site.admin, "yatagarasu_send_timeouts_total", |count| count == 3).await;
    until_metric(&secure.site.admin, "yatagarasu_connections", |open| open == 0).await;
}

/// Returns the errors of a configuration with this listener.
fn errors(listener: &str) -> String {
    let bucket = ["  - { name: \"a\", path_prefix: \"/a\" }\n".to_owned()];
    let yaml = document(&format!("listeners: [{listener}]"), &bucket);
    Config::from_yaml("f.yaml", &yaml, &Environment::default()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_certificate_to_order_is_said() {
    let good = [
        ("domains", "[\"a.example\"]"),
        ("storage", "\"/nowhere/acme\""),
        ("accept_terms", "true"),
        ("contact", "[\"mailto:a@b.example\"]"),
        ("directory", "\"https://ca.example/\""),
        ("ca_file", "\"/ca.pem\""),
    ];
    let found = |name: &str, value: &str| {
        let keys = good.map(|(key, given)| format!("{key}: {}", if key == name { value } else { given }));
        let listener = format!("{{ address: \"127.0.0.1:0\", tls: {{ acme: {{ {} }} }} }}", keys.join(", "));
        let yaml = format!(
            "server: {{ listeners: [{listener}] }}\nadmin: {{ address: \"127.0.0.1:0\" }}\nbuckets: [{{ name: a, path_prefix: \
             /a }}]\n"
        );
        Config::from_yaml("f.yaml", &yaml, &Environment::default()).map_err(|errors| errors.to_string())
    };
    let config = found("", "").unwrap();
    let acme = config.server.listeners[0].tls.as_ref().unwrap().acme.as_ref().unwrap();
    assert_eq!(
        (acme.domains.join(","), acme.directory.as_str()),
        ("a.example".to_owned(), "https://ca.example/")
    );
    let shown = show(&config);
    for line in ["accept_terms: true", "storage: /nowhere/acme", "ca_file: /ca.pem"] {
        assert!(shown.contains(line), "{shown}");
    }
    for (name, value, expected) in [
        ("domains", "[]", "domains: expected the names of hosts"),
        ("domains", "[\"*.a.example\"]", "domains[0]: expected the name of a host, without `*`"),
        ("domains", "[\"192.0.2.1\"]", "domains[0]: expected the name of a host, without `*` and no address"),
        ("domains", "[\"../a\"]", "domains[0]: expected the name of a host"),
        ("storage", "\"acme\"", "storage: expected an absolute path"),
        ("accept_terms", "false", "accept_terms: read the terms of service of the authority"),
        ("contact", "[\"a@b.example\"]", "contact[0]: expected a URL such as \"mailto:"),
        ("directory", "\"http://ca.example/\"", "directory: expected an `https` URL"),
    ] {
        let error = found(name, value).unwrap_err();
        assert!(
            error.starts_with(&format!("f.yaml: server.listeners[0].tls.acme.{expected}")),
            "{value}: {error}"
        );
    }
}

#[test]
fn what_is_wrong_with_certificates_is_said_where_it_is() {
    let files = Files::new();
    files.make("good", &["www.example"]);
    files.make("other", &["www.example"]);
    std::fs::copy(files.path("other.pem"), files.path("mixed.pem")).unwrap();
    std::fs::copy(files.path("good.key"), files.path("mixed.key")).unwrap();
    for (name, cert, key) in [
        ("empty", "", ""),
        ("nokey", "good", "nonsense"),
        (
            "encrypted",
            "good",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
        ("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "good"),
        ("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n", "good"),
        ("odd", "good", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ] {
        for (end, text) in [("pem", cert), ("key", key)] {
            let file = format!("{name}.{end}");
            if text == "good" {
                std::fs::copy(files.path(&format!("good.{end}")), files.path(&file)).unwrap();
            } else {
                files.write(&file, text);
            }
        }
    }
    let tls = "f.yaml: server.listeners[0].tls";
    for (name, key, message) in [
        ("missing", "cert", "cannot be read: No such file or directory"),
        ("mixed", "key", "is not the key of the certificate in"),
        ("empty", "cert", "has no certificate in PEM"),
        ("nokey", "key", "has no private key in PEM"),
        ("encrypted", "key", "is encrypted: decrypt it"),
        ("broken", "cert", "it has no certificate of X.509"),
        ("cut", "cert", "it is cut off: the line `-----END CERTIFICATE-----` is missing"),
        ("odd", "key", "its key cannot be used: RSA of 2048 to 8192 bits, P-256,"),
    ] {
        let found = errors(&files.listener(&["good", name], ""));
        let place = format!("{tls}.certificates[1].{key}: ");
        assert!(found.starts_with(&place) && found.contains(message), "{name}: {found}");
    }
    let found = errors(&files.listener(&["good"], "client_ca: \"/none.pem\""));
    assert!(found.starts_with(&format!("{tls}.client_ca: `/none.pem` cannot be read")), "{found}");
    let found = errors(&files.listener(&["good"], &format!("client_ca: {:?}", files.path("good.key"))));
    assert!(found.contains(".tls.client_ca: ") && found.contains("has no certificate"), "{found}");
}

#[test]
fn listeners_that_do_not_fit_are_errors() {
    let files = Files::new();
    files.make("good", &["www.example"]);
    let entry = files.entry("good");
    for (listener, expected) in [
        (
            "{ }".to_owned(),
            "server.listeners[0].address: expected `IP:PORT` such as \"0.0.0.0:443\", or `unix:/PATH`",
        ),
        ("{ address: \"x\" }".to_owned(), "server.listeners[0].address: expected `IP:PORT`"),
        (
            "{ address: \"unix:x\" }".to_owned(),
            "server.listeners[0].address: expected `unix:` and an absolute path",
        ),
        (
            "{ address: \"127.0.0.1:0\", tls: { } }".to_owned(),
            "server.listeners[0].tls.certificates: expected at least one",
        ),
        (
            "{ address: \"127.0.0.1:0\", tls: { certificates: { cert: \"/x\" } } }".to_owned(),
            "server.listeners[0].tls.certificates[0].key: expected the path of a file in PEM",
        ),
        (
            format!(
                "{{ address: \"127.0.0.1:0\", https_redirect: 443, tls: {{ certificates: [{entry}] }} }}"
            ),
            "server.listeners[0].https_redirect: has no effect on a listener with `tls`",
        ),
        (
            format!(
                "{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{entry}], min_version: \"1.1\" }} }}"
            ),
            "server.listeners[0].tls.min_version: expected `1.2` or `1.3`, found `1.1`",
        ),
        (
            format!("{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{entry}], http3_port: 443 }} }}"),
            "server.listeners[0].tls.http3_port: has no effect without `http3: true`",
        ),
        (
            format!("{{ address: \"unix:/tmp/x.sock\", tls: {{ certificates: [{entry}], http3: true }} }}"),
            "server.listeners[0].tls.http3: HTTP/3 needs an address of UDP",
        ),
        (
            "{ address: \"127.0.0.1:0\", tls: }".to_owned(),
            "server.listeners[0].tls.certificates: expected at least one",
        ),
        (
            "{ address: \"127.0.0.1:7\" }, { address: \"[::]:7\" }".to_owned(),
            "server.listeners[1].address: `[::]:7` is taken by server.listeners[0] already",
        ),
        (
            "{ address: \"127.0.0.1:7\" }, { address: \"0.0.0.0:7\" }".to_owned(),
            "server.listeners[1].address: `0.0.0.0:7` is taken by server.listeners[0] already",
        ),
        (
            "{ address: \"unix:/a\" }, { address: \"unix:/a\" }".to_owned(),
            "server.listeners[1].address: `unix:/a` is taken by server.listeners[0] already",
        ),
    ] {
        let found = errors(&listener);
        assert!(found.contains(&format!("f.yaml: {expected}")), "{listener}: {found}");
    }
}

#[test]
fn certificates_that_clients_refuse_are_warned_of() {
    let files = Files::new();
    let date = rcgen::date_time_ymd;
    let soon = time_of(3);
    for (name, hosts, begins, ends, expected) in [
        (
            "old",
            vec!["www.example"],
            date(2000, 1, 1),
            date(2001, 1, 1),
            Some("has expired at 2001-01-01T00:00:00Z"),
        ),
        ("soon", vec!["www.example"], date(2000, 1, 1), soon, Some("expires at 20")),
        (
            "early",
            vec!["www.example"],
            date(2999, 1, 1),
            date(2999, 2, 1),
            Some("is valid from 2999-01-01T00:00:00Z on"),
        ),
        ("nameless", vec![], date(2000, 1, 1), date(2999, 1, 1), Some("names no host")),
        ("good", vec!["www.example"], date(2000, 1, 1), date(2999, 1, 1), None),
    ] {
        let names: Vec<_> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (begins, ends);
        let signing_key = rcgen::KeyPair::generate().unwrap();
        files.keep(
            name,
            &rcgen::CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key },
        );
        let bucket = ["  - { name: \"a\", path_prefix: \"/a\" }\n".to_owned()];
        let yaml = document(&format!("listeners: [{}]", files.listener(&[name], "")), &bucket);
        let config = Config::from_yaml("f.yaml", &yaml, &Environment::default()).unwrap();
        let warnings = config.warnings().join("\n");
        match expected {
            None => assert_eq!(warnings, ""),
            Some(text) => assert!(
                warnings.starts_with("server.listeners[0].tls.certificates[0].cert: ")
                    && warnings.contains(text),
                "{name}: {warnings}"
            ),
        }
    }
}

/// Returns the date in so many days.
fn time_of(days: u32) -> time::OffsetDateTime {
    (std::time::SystemTime::now() + Duration::from_secs(u64::from(days) * 86_400)).into()
}
