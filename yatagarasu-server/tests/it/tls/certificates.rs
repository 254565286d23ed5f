//! Tests of certificates: which one a client gets, and what clients have to show.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ProtocolVersion;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use yatagarasu_testing::origin::Origin;

use super::client::TlsClient;
use super::{Files, TlsSite, run, tcp};
use crate::site::until_metric;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let files = Files::new();
    let made = [
        files.make("a", &["a.example"]),
        files.make("any", &["*.example.org", "example.org"]),
        files.make("www", &["www.example.org"]),
    ];
    let listener = files.listener(&["a", "any", "www"], "");
    let site = run(Origin::start().await, &format!("listeners: [{listener}]")).await;
    let client = TlsClient::trusting(&made);
    for (name, index) in [("a.example", 0), ("example.org", 1), ("x.example.org", 1), ("www.example.org", 2)]
    {
        let answer = client.get(tcp(&site, 1), name, "/nowhere").await.unwrap();
        assert!(answer.certificate == made[index], "{name}");
        assert_eq!(answer.response.status, 404);
    }
    // The first one is for others, and they refuse it.
    let error = client.get(tcp(&site, 1), "other.example", "/").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_unless_the_older_one_is_switched_off() {
    for (setting, speaks_12) in [("", true), ("min_version: 1.2", true), ("min_version: \"1.3\"", false)] {
        let secure = TlsSite::with("", setting).await;
        let certificates = [secure.files.make("other", &["other.example"])];
        let trusted = [secure.files.certificate("www")];
        let with = |version| TlsClient::of(&[&certificates[..], &trusted].concat(), &[version], None);
        let new = with(&TLS13).get(secure.secure, "www.example", "/nowhere").await.unwrap();
        assert_eq!(new.version, ProtocolVersion::TLSv1_3, "{setting}");
        let old = with(&TLS12).get(secure.secure, "www.example", "/nowhere").await;
        assert_eq!(
            old.map(|answer| answer.version).ok(),
            speaks_12.then_some(ProtocolVersion::TLSv1_2),
            "{setting}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_in_both_versions() {
    let secure = TlsSite::start().await;
    let trusted = [secure.files.certificate("www")];
    for version in [&TLS12, &TLS13] {
        let client = TlsClient::of(&trusted, &[version], None);
        let mut resumed = Vec::new();
        for _ in 0..3 {
            resumed.push(client.get(secure.secure, "www.example", "/nowhere").await.unwrap().is_resumed);
        }
        assert_eq!(resumed, [false, true, true], "{version:?}");
    }
    let metrics = secure.site.admin.get("/metrics").await;
    for line in ["{result=\"full\"} 2", "{result=\"resumed\"} 4", "{result=\"failed\"} 0"] {
        let line = format!("yatagarasu_tls_handshakes_total{line}\n");
        assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
    }
}

/// An authority, and a certificate for a client that it has issued.
fn issued() -> (String, (CertificateDer<'static>, PrivateKeyDer<'static>)) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    let client = client.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (authority.pem(), (client.der().clone(), key))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_to_show_a_certificate_of_the_authority() {
    let (files, (authority, shown), (_, other)) = (Files::new(), issued(), issued());
    files.write("clients.pem", &authority);
    let certificate = files.make("www", &["www.example"]);
    let listener = files.listener(&["www"], &format!("client_ca: {:?}", files.path("clients.pem")));
    let site = run(Origin::start().await, &format!("listeners: [{listener}]")).await;
    let get = async |shown| {
        let client = TlsClient::of(std::slice::from_ref(&certificate), &[&TLS13, &TLS12], shown);
        client.get(tcp(&site, 1), "www.example", "/nowhere").await.map(|answer| answer.response.status)
    };
    assert_eq!(get(Some(shown)).await.unwrap(), 404);
    for (failures, shown) in (1..).zip([None, Some(other)]) {
        // With TLS 1.3 the client has done its part, and hears of it with the response.
        get(shown).await.unwrap_err();
        until_metric(&site.admin, "yatagarasu_tls_handshakes_total{result=\"failed\"}", |count| {
            count == failures
        })
        .await;
    }
}
