//! TLS towards clients: the certificates, and which of them a client gets.
//!
//! A [`certificate`] is read from two files. The [`certificates`] of a listener are selected by the name that a client
//! asks for. [`setup`] makes the configuration of a listener for rustls from them.

pub(crate) mod certificate;
pub(crate) mod certificates;
pub(crate) mod setup;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Returns the cryptography of all listeners.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
