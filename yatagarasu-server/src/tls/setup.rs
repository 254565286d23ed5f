//! Makes the configuration of a listener for rustls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ClientHello, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, RootCertStore, ServerConfig};

use crate::tls::acme::{AcmeConfig, challenges};
use crate::tls::certificate::{Certificate, CertificateError, CertificateFiles, chain};
use crate::tls::certificates::Certificates;
use crate::tls::{TlsVersion, provider};

/// The protocols that are offered, the preferred one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The suites that clients without instructions for AES prefer.
const CHACHA: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// TLS of a listener, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificates. The first one is for clients that ask for none of their names.
    pub certificates: Vec<CertificateFiles>,
    /// The certificate that an authority issues by itself. Without it there is one of `certificates` at least.
    pub acme: Option<AcmeConfig>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The authorities that have to have issued the certificates of clients. `None` asks clients for none.
    pub client_ca: Option<PathBuf>,
    /// Whether HTTP/3 is spoken, too.
    pub http3: bool,
    /// The port for HTTP/3 that clients are told. `None` is that of the listener.
    pub http3_port: Option<u16>,
    /// How long browsers keep to TLS (RFC 6797 6.1.1). `None` does not tell them to.
    pub hsts: Option<Duration>,
}

/// The reason why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate of the server, of which this is the number.
    #[error("{1}")]
    Certificate(usize, #[source] CertificateError),
    /// The certificate of an authority.
    #[error("{0}")]
    Acme(#[source] CertificateError),
    /// The authorities of clients.
    #[error("{0}")]
    ClientAuthorities(#[source] CertificateError),
    /// Something else.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What a listener needs to speak TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsSetup {
    /// For most clients.
    usual: Arc<ServerConfig>,
    /// For clients that prefer `ChaCha20`, because their processors have no instructions for AES.
    chacha: Arc<ServerConfig>,
    /// For clients that are refused, by a response of HTTP/1.1.
    refusing: Arc<ServerConfig>,
    /// The names that an authority may make sure of.
    domains: Arc<[String]>,
    /// Whether the certificate of the authority is there.
    is_issued: bool,
    /// For clients that speak HTTP/3.
    #[cfg(feature = "http3")]
    pub(crate) quic: Option<Arc<quinn::ServerConfig>>,
    pub(crate) certificates: Arc<Certificates>,
}

impl TlsSetup {
    /// Reads the files of a configuration. A new listener accepts the sessions of no other one: their clients may have
    /// shown other certificates.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let issued = match &config.acme {
            None => None,
            // Whatever is there, a new one is ordered.
            Some(acme) => Some(match acme.issued() {
                Ok(issued) => (issued, true),
                Err(error) => {
                    if acme.files().cert.exists() {
                        tracing::warn!(%error, "the certificate of the authority cannot be used: it is ordered anew");
                    }
                    (acme.placeholder().map_err(TlsError::Acme)?, false)
                }
            }),
        };
        Self::with(config, rustls::crypto::aws_lc_rs::Ticketer::new()?, issued)
    }

    /// Reads the files of the same configuration again. Clients can resume their sessions.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong.
    pub(crate) fn again(&self, config: &TlsConfig) -> Result<Self, TlsError> {
        // With other authorities, clients have to show their certificates again.
        if config.client_ca.is_some() || !self.is_issued {
            return Self::load(config);
        }
        // What was issued is not replaced by something that nobody trusts.
        let issued = config.acme.as_ref().map(|acme| acme.issued().map_err(TlsError::Acme)).transpose()?;
        Self::with(config, Arc::clone(&self.usual.ticketer), issued.map(|issued| (issued, true)))
    }

    /// `issued` is the certificate of the authority or its placeholder, and whether it is the first.
    fn with(
        config: &TlsConfig,
        ticketer: Arc<dyn ProducesTickets>,
        issued: Option<(Certificate, bool)>,
    ) -> Result<Self, TlsError> {
        let load =
            |(place, files)| Certificate::load(files).map_err(|error| TlsError::Certificate(place, error));
        let mut all: Vec<_> = config.certificates.iter().enumerate().map(load).collect::<Result<_, _>>()?;
        let is_issued = issued.as_ref().is_none_or(|(_, is_issued)| *is_issued);
        all.extend(issued.map(|(certificate, _)| certificate));
        let domains = config.acme.iter().flat_map(|acme| acme.domains.iter().cloned()).collect();
        let certificates = Arc::new(Certificates::new(all));
        let versions = match config.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12][..],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match &config.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in chain(path).map_err(TlsError::ClientAuthorities)? {
                    roots.add(authority).map_err(|error| {
                        let reason = error.to_string();
                        TlsError::ClientAuthorities(CertificateError::Malformed {
                            path: path.clone(),
                            reason,
                        })
                    })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut rustls = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        rustls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // It changes its key by itself, and keeps the one before for the sessions that it has given tickets to.
        rustls.ticketer = ticketer;
        // Most clients speak HTTP/2 and open one connection, and each ticket costs.
        rustls.send_tls13_tickets = 1;
        #[cfg(feature = "http3")]
        let quic = config.http3.then(|| crate::tls::quic::config(rustls.clone())).transpose()?;
        let chacha = Arc::new(rustls.clone());
        rustls.ignore_client_order = true;
        let mut refusing = rustls.clone();
        refusing.alpn_protocols.retain(|protocol| protocol != b"h2");
        Ok(Self {
            usual: Arc::new(rustls),
            chacha,
            refusing: Arc::new(refusing),
            domains,
            is_issued,
            #[cfg(feature = "http3")]
            quic,
            certificates,
        })
    }

    /// Returns the configuration for a client that has begun a handshake.
    pub(crate) fn for_client(&self, hello: &ClientHello<'_>, is_served: bool) -> Arc<ServerConfig> {
        if let Some(config) = challenges::for_authority(hello, &self.domains) {
            return config;
        }
        let preferred = hello.cipher_suites().first();
        Arc::clone(match preferred {
            _ if !is_served => &self.refusing,
            Some(suite) if CHACHA.contains(suite) => &self.chacha,
            Some(_) | None => &self.usual,
        })
    }
}
