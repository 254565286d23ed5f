//! The certificate of the source and of the proxies, and the source's side of TLS.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate for 127.0.0.1, which signs itself, and its key, also in files.
#[derive(Debug)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// The files of the certificate, of the key, and of both.
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) both_file: PathBuf,
    /// Holds the files until the end.
    _folder: TempDir,
}

impl Identity {
    /// Makes a certificate that is valid for this run.
    pub(super) fn new() -> anyhow::Result<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).context("there is no certificate")?;
        let folder = TempDir::new().context("there is no temporary folder")?;
        let file = |name: &str, text: String| {
            let file = folder.path().join(name);
            fs::write(&file, text).context("the certificate cannot be written")?;
            anyhow::Ok(file)
        };
        Ok(Self {
            certificate: cert.der().clone(),
            key: PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
            cert_file: file("cert.pem", cert.pem())?,
            key_file: file("key.pem", signing_key.serialize_pem())?,
            both_file: file("both.pem", cert.pem() + &signing_key.serialize_pem())?,
            _folder: folder,
        })
    }

    /// Returns what connects to a proxy over TLS, with or without resuming sessions.
    pub(crate) fn connector(&self, resumes: bool) -> anyhow::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).context("the certificate is not accepted")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("there is no version of TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Returns what accepts connections over TLS.
    pub(super) fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("there is no version of TLS")?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .context("the certificate is not accepted")?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
