//! Reaching S3: regions, redirects, endpoints, certificates and proxies.

use std::fs;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::{Origin, Reply};

use crate::forward_proxy;
use crate::operating::process::Process;
use crate::site::{Site, bucket, document};
use crate::tls_front::{TlsFront, self_signed};

/// Starts a gateway whose configuration names no region.
async fn without_region(origin: Origin) -> Site {
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    Site::run(origin, &document("", &[entry.replace("region: \"us-east-1\", ", "")])).await
}

fn region_of(authorization: &str) -> &str {
    authorization.split('/').nth(2).expect("a region in the scope")
}

/// minio/minio#7935 and many forums: "the authorization header is malformed; the region is wrong; expecting ...".
#[tokio::test]
async fn the_region_that_s3_names_is_used() {
    let document = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
    for (name, refusal) in [
        ("a document", Reply::ok(document).of_status(400)),
        ("a field", Reply::status(301).with("x-amz-bucket-region", "eu-west-3")),
        ("a field, and no status that tells", Reply::status(400).with("x-amz-bucket-region", "eu-west-3")),
    ] {
        for method in ["GET", "HEAD"] {
            let origin = Origin::start().await;
            let refusal = refusal.clone();
            origin.decide(move |request| {
                let right = region_of(request.field("authorization")) == "eu-west-3";
                Some(if right { Reply::ok("there") } else { refusal.clone() })
            });
            let site = without_region(origin).await;
            let first = site.client.send(method, "/static/k", &[], "".into()).await;
            assert_eq!(first.status, 200, "{name}, {method}");
            assert_eq!(site.client.get("/static/other").await.status, 200, "{name}, {method}");
            let asked = site.origin.asked("third").len();
            site.client.get("/static/third").await;
            assert_eq!(site.origin.asked("third").len(), asked + 1, "{name}: learned for all objects");
        }
    }
}

#[tokio::test]
async fn a_region_of_the_configuration_is_not_overruled() {
    let site = Site::start().await;
    site.origin.answer("k", [Reply::status(301).with("x-amz-bucket-region", "eu-west-3")]);
    assert_eq!(site.client.get("/static/k").await.status, 502);
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// A bucket created some minutes ago is answered with 307 by the host of the first region.
#[tokio::test]
async fn a_redirect_within_the_service_is_followed_and_signed_again() {
    let (first, second) = (Origin::start().await, Origin::start().await);
    let target = second.endpoint().replace("http://127.0.0.1", "");
    first.answer("k", [Reply::status(307).with("location", &format!("http://127.0.0.1{target}/bucket/k"))]);
    first.answer("away", [Reply::status(307).with("location", "http://other.example/bucket/away")]);
    second.objects().put("k", &[], "there");
    let site = Site::over(first, "", "", "").await;
    let answer = site.client.get("/static/k").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"there"[..]), "the second host checks signatures");
    assert_eq!(site.client.get("/static/away").await.status, 502);
    assert_eq!(site.origin.asked("away").len(), 1);
}

/// Supabase, Hetzner and others have S3 under a path.
#[tokio::test]
async fn an_endpoint_may_have_a_path() {
    let origin = Origin::start().await;
    origin.decide(|_| Some(Reply::ok("there")));
    let entry = bucket(&format!("{}/storage/v1/s3/", origin.endpoint()), "assets", "/static", "", "");
    let site = Site::run(origin, &document("", &[entry])).await;
    assert_eq!(site.client.get("/static/a%20b").await.status, 200);
    let asked = site.origin.requests().pop().unwrap();
    assert_eq!(asked.target, "/storage/v1/s3/bucket/a%20b");
    assert_eq!(asked.field("host"), site.origin.endpoint().trim_start_matches("http://"));
}

/// rclone/rclone#6670: intermediaries touch fields that were signed.
#[tokio::test]
async fn requests_have_the_configured_fields_and_sign_only_what_nobody_touches() {
    let s3 = "request_headers: { x-amz-request-payer: \"requester\", x-team: \"media\" }, forward_headers: [\"x-team\"]";
    let site = Site::with(s3, "").await;
    site.put("k", &[], "x");
    let sent = [("x-team", "evil"), ("x-amz-request-payer", "evil"), ("accept-encoding", "br")];
    assert_eq!(site.client.get_with("/static/k", &sent).await.status, 200, "the signature is checked");
    let asked = site.origin.asked("k").remove(0);
    let fields = ["x-amz-request-payer", "x-team", "user-agent"].map(|name| asked.field(name).to_owned());
    assert_eq!(fields, ["requester", "media", &format!("yatagarasu/{}", env!("CARGO_PKG_VERSION"))]);
    let signed =
        asked.field("authorization").split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(signed, "host;x-amz-content-sha256;x-amz-date;x-amz-request-payer");
}

/// rustls says `CaUsedAsEndEntity` where curl accepts the certificate as its own authority.
#[tokio::test(flavor = "multi_thread")]
async fn private_and_self_signed_certificates_can_be_trusted() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let own = self_signed(&["127.0.0.1"]);
    // A certificate that says that it is an authority, as `openssl req -x509` makes them.
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key };
    let misnamed = self_signed(&["elsewhere.example"]);
    let (own_file, authority_file) =
        (write("own.pem", own.cert.pem()), write("authority.pem", authority.cert.pem()));
    let misnamed_file = write("misnamed.pem", misnamed.cert.pem());
    let pinned = |file: &str| format!("tls: {{ ca_file: {file:?}, pin_self_signed: true }}");
    let trusted = |file: &str| format!("tls: {{ ca_file: {file:?} }}");
    for (certified, tls, works) in [
        (&own, trusted(&own_file), true),
        (&own, trusted(&authority_file), false),
        (&authority, trusted(&authority_file), false),
        (&authority, pinned(&authority_file), true),
        (&own, pinned(&authority_file), false),
        (&misnamed, trusted(&misnamed_file), false),
        (&misnamed, pinned(&misnamed_file), true),
        (&misnamed, "tls: { insecure: true }".to_owned(), true),
    ] {
        let origin = Origin::start().await;
        origin.objects().put("k", &[], "hello");
        let front = TlsFront::start(&origin, certified).await;
        let entry = bucket(&format!("https://{}", front.authority()), "assets", "/static", &tls, "");
        let site = Site::run(origin, &document("", &[entry])).await;
        let answer = site.client.get("/static/k").await;
        assert_eq!(answer.status, if works { 200 } else { 502 }, "{tls}");
    }
}

/// A handshake with a certificate costs both sides more than most requests.
#[tokio::test(flavor = "multi_thread")]
async fn later_connections_over_tls_resume_the_session_of_the_first() {
    let origin = Origin::start().await;
    for key in ["a", "b", "c"] {
        origin.answer(key, [Reply::ok("x").with("connection", "close")]);
    }
    let front = TlsFront::start(&origin, &self_signed(&["127.0.0.1"])).await;
    let endpoint = format!("https://{}", front.authority());
    let entry = bucket(&endpoint, "assets", "/static", "tls: { insecure: true }", "");
    let site = Site::run(origin, &document("", &[entry])).await;
    for key in ["a", "b", "c"] {
        assert_eq!(site.client.get(&format!("/static/{key}")).await.status, 200);
    }
    assert_eq!((front.opened(), front.resumed()), (3, 2));
}

/// Returns the address of a server that answers the first bytes of each connection with these.
async fn says(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read_u8().await;
            let _ = socket.write_all(bytes).await;
        }
    });
    address
}

/// "TLS or plain?" was reported as something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_up_of_tls_and_plain_http_is_named() {
    let origin = Origin::start().await;
    let (certified, stranger) = (self_signed(&["127.0.0.1"]), self_signed(&["127.0.0.1"]));
    let other = TlsFront::start(&origin, &stranger).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, certified.cert.pem()).unwrap();
    let plain = says(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    // The alert "protocol_version" (RFC 8446 6).
    let tls = says(&[0x15, 3, 1, 0, 2, 2, 70]).await;
    for (endpoint, advice) in [
        (format!("https://{plain}"), "does not speak TLS: begin `s3.endpoint` with `http://`"),
        (format!("http://{tls}"), "speaks TLS: begin the endpoint with `https://`"),
        (
            format!("https://{}", other.authority()),
            "give the authority that issued the certificate as `tls.ca_file`",
        ),
    ] {
        let yaml = document("", &[bucket(&endpoint, "assets", "/static", "", "")]);
        let process = Process::start(&yaml, &[("SSL_CERT_FILE", file.to_str().unwrap())]);
        assert_eq!(Client::new(process.address).get("/static/k").await.status, 502);
        let warning = process.log().find(|line| line["level"] == "WARN").unwrap();
        let error = warning["error"].as_str().unwrap();
        assert!(error.contains(advice), "{error}");
    }
}

/// Companies let nothing out but through a proxy; what is for this machine never goes there (boto/boto#1146).
#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_used() {
    let origin = Origin::start().await;
    origin.decide(|_| Some(Reply::ok("hello")));
    let port = origin.endpoint().rsplit(':').next().unwrap().to_owned();
    let (address, mut lines) = forward_proxy::start().await;
    let environment = [("HTTP_PROXY", &*address), ("HTTPS_PROXY", &address), ("NO_PROXY", "direct.example")];
    // Only the proxy knows where this name leads.
    let yaml = document("", &[bucket(&format!("http://s3.example:{port}"), "assets", "/static", "", "")]);
    let process = Process::start(&yaml, &environment);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");
    let line = lines.recv().await.unwrap();
    assert_eq!(line, format!("GET http://s3.example:{port}/bucket/k HTTP/1.1 true"));

    let certified = self_signed(&["s3.example"]);
    let front = TlsFront::start(&origin, &certified).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, certified.cert.pem()).unwrap();
    let endpoint = format!("https://s3.example:{}", front.authority().rsplit(':').next().unwrap());
    let tls = format!("tls: {{ ca_file: {:?} }}", file.display().to_string());
    let process =
        Process::start(&document("", &[bucket(&endpoint, "assets", "/static", &tls, "")]), &environment);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");
    assert!(lines.recv().await.unwrap().starts_with("CONNECT s3.example:"));

    // Not for this machine, nor for what `NO_PROXY` names.
    let yaml = document(
        "",
        &[
            bucket(&origin.endpoint(), "assets", "/static", "", ""),
            bucket(&format!("http://direct.example:{port}"), "direct", "/direct", "", ""),
        ],
    );
    let process = Process::start(&yaml, &environment);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");
    assert_eq!(Client::new(process.address).get("/direct/k").await.status, 502);
    assert!(lines.try_recv().is_err());
}

/// Each stream holds a connection; a crowd must not open more than S3 or a firewall takes.
#[tokio::test]
async fn the_connections_of_a_bucket_are_bounded() {
    let site = Site::by_hand("connections_max: 1, connect_timeout: \"200ms\"").await;
    let first = site.begin("/static/a");
    let mut exchange = site.origin.next().await;
    let second = site.client.get("/static/b").await;
    assert_eq!((second.status, second.field("retry-after")), (503, "1"));
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
    assert_eq!(first.await.unwrap().body, "ok");
    let third = site.begin("/static/c");
    let mut exchange = site.origin.next().await;
    exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
    assert_eq!(third.await.unwrap().body, "ok");
}

/// A HEAD's late document or a proxy's 408 on an idle connection was taken for the next answer.
#[tokio::test]
async fn what_belongs_to_nobody_is_no_answer() {
    let late = [
        "<Error><Code>NoSuchKey</Code></Error>",
        "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
    ];
    for stray in late {
        let site = Site::by_hand("").await;
        let (mut client, mut exchange) =
            site.answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: no-store\r\n\r\nok").await;
        assert_eq!(client.take(2).await, b"ok");
        client.get_again("/static/again").await;
        exchange.next_request().await;
        exchange.write(stray).await;
        let mut second = site.origin.next().await;
        second.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nnew").await;
        assert_eq!(client.head().await.status, 200, "{stray}");
        assert_eq!(client.take(2).await, b"ne");
    }
}
