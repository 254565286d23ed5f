//! Tests of certificates that change while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::Origin;

use super::client::TlsClient;
use super::{Files, TlsSite};
use crate::operating::process::Process;
use crate::site::{bucket, document, metric};

/// Waits until new clients get this certificate.
async fn until_shown(secure: &TlsSite, certificate: &CertificateDer<'static>) {
    let client = TlsClient::trusting(std::slice::from_ref(certificate));
    let shown = async {
        // A client that does not trust the one before refuses it.
        while client.get(secure.secure, "www.example", "/nowhere").await.is_err() {}
    };
    timeout(PATIENCE, shown).await.expect("the new certificate");
}

const READ: &str = "yatagarasu_tls_certificate_reads_total{listener=\"server.listeners[0]\",result=\"read\"}";
const FAILED: &str =
    "yatagarasu_tls_certificate_reads_total{listener=\"server.listeners[0]\",result=\"failed\"}";

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_read_again_and_no_handshake_fails_meanwhile() {
    let secure = Arc::new(TlsSite::start().await);
    secure.site.put("k", &[], "hello");
    let certificates: Vec<_> = (0..3).map(|_| crate::tls_front::self_signed(&["www.example"])).collect();
    let mut trusted: Vec<_> = certificates.iter().map(|one| one.cert.der().clone()).collect();
    trusted.push(secure.files.certificate("www"));
    let over = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (secure, over) = (Arc::clone(&secure), Arc::clone(&over));
        async move {
            let mut answers = 0;
            while !over.load(Ordering::Relaxed) {
                // A new client each time, which has no session to resume.
                let answer =
                    TlsClient::trusting(&trusted).get(secure.secure, "www.example", "/static/k").await;
                assert_eq!(answer.unwrap().response.status, 200);
                answers += 1;
            }
            answers
        }
    });
    for certificate in &certificates {
        secure.files.keep("www", certificate);
        until_shown(&secure, certificate.cert.der()).await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 3);
    assert_eq!(metric(&secure.site.admin, READ).await, 3);
    assert_eq!(metric(&secure.site.admin, FAILED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_change_nothing() {
    let secure = TlsSite::start().await;
    secure.files.make("other", &["www.example"]);
    let other_key = std::fs::read_to_string(secure.files.path("other.key")).unwrap();
    for (failures, broken) in (1..).zip([other_key.as_str(), "nonsense", ""]) {
        secure.files.write("www.key", broken);
        crate::site::until_metric(&secure.site.admin, FAILED, |count| count == failures).await;
        assert!(secure.client.get(secure.secure, "www.example", "/nowhere").await.is_ok(), "{broken:?}");
    }
    let certificate = secure.files.make("www", &["www.example"]);
    until_shown(&secure, &certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_certificates_and_refuses_bad_ones() {
    let (origin, files) = (Origin::start().await, Files::new());
    let first = files.make("first", &["www.example"]);
    let second = files.make("second", &["www.example"]);
    files.write("bad.pem", "nonsense");
    files.write("bad.key", "nonsense");
    let entry = bucket(&origin.endpoint(), "assets", "/static", "", "");
    let yaml = |name: &str, more: &str| {
        // The address of a listener cannot change.
        let listener = files.listener(&[name], more);
        document(&format!("listeners: [{listener}]"), std::slice::from_ref(&entry))
            .replace("address: \"127.0.0.1:0\", threads: 2, ", "threads: 2, ")
    };
    let process = Process::start(&yaml("first", ""), &[]);
    let reload = async |name: &str, more: &str| {
        process.rewrite(&yaml(name, more));
        let json = [("content-type", "application/json")];
        let answer = Client::new(process.admin).send("POST", "/reload", &json, "".into()).await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let shown = async |certificate: &CertificateDer<'static>| {
        TlsClient::trusting(std::slice::from_ref(certificate))
            .get(process.address, "www.example", "/nowhere")
            .await
    };
    assert!(shown(&first).await.is_ok() && shown(&second).await.is_err());
    assert_eq!(reload("second", "hsts: 60").await.0, 200);
    assert!(shown(&first).await.is_err());
    let answer = shown(&second).await.unwrap().response;
    assert_eq!(answer.field("strict-transport-security"), "max-age=60");
    let (status, text) = reload("bad", "").await;
    assert!(
        status == 422 && text.contains("server.listeners[0].tls.certificates[0].cert"),
        "{status}: {text}"
    );
    assert!(shown(&second).await.is_ok());
}
