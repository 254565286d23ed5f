//! TLS towards clients: the certificates, and which of them a client gets.
//!
//! A [`certificate`] is read from two files. The [`certificates`] of a listener are selected by the name that a client
//! asks for. Those of [`acme`] are issued by an authority by itself. [`setup`] makes the configuration of a listener for rustls from them, and `quic` for HTTP/3.

pub(crate) mod acme;
pub(crate) mod certificate;
pub(crate) mod certificates;
#[cfg(feature = "http3")]
mod quic;
pub(crate) mod setup;

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

/// The suites that are preferred.
const FIRST: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Returns the cryptography of all listeners. AES with keys of 128 bits comes first: it is strong enough, and the hash of
/// its suite takes a third of the time, which is most of what a resumed handshake needs.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    Arc::new(provider)
}
