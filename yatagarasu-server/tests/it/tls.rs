//! Tests of listeners with TLS, on Unix sockets, and of those that send clients to TLS.

mod certificates;
pub(crate) mod client;
mod documentation;
mod listeners;
mod renewal;
mod serving;
mod trouble;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use yatagarasu_server::server::ListenAddress;
use yatagarasu_testing::origin::Origin;

use crate::site::{Site, bucket, document};
use crate::tls_front::self_signed;
use client::TlsClient;

/// Files of certificates, in a folder that ends with this.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, as a whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("draft"), text).unwrap();
        fs::rename(self.path("draft"), self.path(name)).unwrap();
    }

    /// Writes `NAME.pem` and `NAME.key`. Returns the certificate.
    pub(crate) fn keep(&self, name: &str, certified: &CertifiedKey<KeyPair>) -> CertificateDer<'static> {
        self.write(&format!("{name}.pem"), &certified.cert.pem());
        self.write(&format!("{name}.key"), &certified.signing_key.serialize_pem());
        certified.cert.der().clone()
    }

    /// Makes a certificate for these names, and writes it to `NAME.pem` and `NAME.key`.
    pub(crate) fn make(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        self.keep(name, &self_signed(hosts))
    }

    /// Returns the certificate in `NAME.pem`.
    pub(crate) fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()
    }

    /// Returns an entry of `certificates`.
    pub(crate) fn entry(&self, name: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("{{ cert: \"{}\", key: \"{}\" }}", cert.display(), key.display())
    }

    /// Returns the settings of a listener on a free port with these certificates, and more settings of its `tls`.
    pub(crate) fn listener(&self, names: &[&str], more: &str) -> String {
        let certificates: Vec<_> = names.iter().map(|name| self.entry(name)).collect();
        let certificates = certificates.join(", ");
        format!("{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{certificates}], {more} }} }}")
    }
}

/// A gateway with a plain listener and one with TLS, with a certificate for `www.example`.
pub(crate) struct TlsSite {
    pub(crate) site: Site,
    pub(crate) files: Files,
    /// The address of the listener with TLS.
    pub(crate) secure: SocketAddr,
    /// A client that trusts the certificate.
    pub(crate) client: TlsClient,
}

impl TlsSite {
    pub(crate) async fn start() -> Self {
        Self::with("", "").await
    }

    /// Starts one with more settings of the server and of `tls`.
    pub(crate) async fn with(server: &str, tls: &str) -> Self {
        Self::over(Origin::start().await, server, tls).await
    }

    /// Starts one in front of `origin`.
    pub(crate) async fn over(origin: Origin, server: &str, tls: &str) -> Self {
        let files = Files::new();
        let certificate = files.make("www", &["www.example"]);
        let listener = files.listener(&["www"], tls);
        let site = run(origin, &format!("listeners: [{listener}], {server}")).await;
        let secure = tcp(&site, 1);
        Self { site, files, secure, client: TlsClient::trusting(&[certificate]) }
    }
}

/// Starts a gateway with these settings of the server, and the usual two buckets.
pub(crate) async fn run(origin: Origin, server: &str) -> Site {
    let endpoint = origin.endpoint();
    let buckets = [
        bucket(
            &endpoint,
            "assets",
            "/static",
            "",
            "max_item_size: \"1MB\", max_size: \"64MB\", stale_if_error: 0",
        ),
        bucket(&endpoint, "videos", "/media", "", "enabled: false"),
    ];
    Site::run(origin, &document(server, &buckets)).await
}

/// Returns the address of a listener for TCP.
pub(crate) fn tcp(site: &Site, index: usize) -> SocketAddr {
    match &site.addresses[index] {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => panic!("{}", path.display()),
    }
}
