//! The certificate of the source, and its side of TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A certificate for 127.0.0.1, which signs itself, and its key. The certificate is also in a file.
#[derive(Debug)]
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    file: PathBuf,
    /// Holds the file until the end.
    _folder: TempDir,
}

impl Identity {
    /// Makes a certificate that is valid for this run.
    pub(super) fn new() -> anyhow::Result<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).context("there is no certificate")?;
        let folder = TempDir::new().context("there is no temporary folder")?;
        let file = folder.path().join("source.pem");
        fs::write(&file, cert.pem()).context("the certificate cannot be written")?;
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        Ok(Self { certificate: cert.der().clone(), key, file, _folder: folder })
    }

    /// Returns the file of the certificate.
    pub(super) fn file(&self) -> &Path {
        &self.file
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
