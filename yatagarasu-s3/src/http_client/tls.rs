//! The client's side of TLS: whom it trusts.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
};

use crate::config::TlsConfig;

/// An error in setting up TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operating system has no certificates of authorities.
    #[error(
        "TLS cannot be set up: {0}; install the system's CA certificates, set SSL_CERT_FILE or the bucket's `tls.ca_file`"
    )]
    NoAuthorities(String),
    /// The file of authorities cannot be used.
    #[error("`{path}` cannot be used: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate is to be pinned, but none is given.
    #[error("`pin_self_signed` needs the server's certificate in `ca_file`")]
    NothingToPin,
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

impl TlsConfig {
    /// Returns an error if a client cannot be set up with it. Reads the file, and not the network.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        // The certificates of the system may differ from those of the machine that the server will run on.
        if self.ca_file.is_some() || self.pin_self_signed { client(self).map(drop) } else { Ok(()) }
    }
}

/// Returns the configuration of a client.
pub(super) fn client(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    if config.insecure {
        let verifier = Arc::new(Lenient { provider, pinned: None, strict: None });
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let given = config.ca_file.as_deref().map(read).transpose()?;
    if !config.pin_self_signed {
        let roots = match given {
            Some(given) => roots(given, config.ca_file.as_deref())?,
            None => system_roots()?,
        };
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let pinned = given.ok_or(TlsError::NothingToPin)?;
    // The file may have authorities beside the pinned certificate, or nothing that can be one.
    let strict = roots(pinned.clone(), config.ca_file.as_deref()).ok().and_then(|roots| {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok()
    });
    let verifier = Arc::new(Lenient { provider, pinned: Some(pinned), strict });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.display().to_string(), reason };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)".to_owned()));
    }
    Ok(certificates)
}

fn roots(certificates: Vec<CertificateDer<'static>>, path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates);
    if usable == 0 {
        let path = path.map(|path| path.display().to_string()).unwrap_or_default();
        return Err(TlsError::File { path, reason: "none of its certificates can be read".to_owned() });
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reason = found.errors.first().map_or("no certificate found".to_owned(), ToString::to_string);
        return Err(TlsError::NoAuthorities(reason));
    }
    Ok(roots)
}

/// Accepts the pinned certificates, or every certificate. The server always has to prove that it has the key.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// The certificates that are accepted. `None` accepts all.
    pinned: Option<Vec<CertificateDer<'static>>>,
    /// Decides about the others.
    strict: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted =
            self.pinned.as_ref().is_none_or(|pinned| pinned.iter().any(|pinned| pinned == end_entity));
        match &self.strict {
            _ if accepted => Ok(ServerCertVerified::assertion()),
            Some(strict) => {
                strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// An error of a handshake, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}: {advice}")]
struct HandshakeError {
    cause: io::Error,
    advice: &'static str,
}

/// Adds what to do about an error of a handshake.
pub(super) fn explained(error: io::Error) -> Box<dyn StdError + Send + Sync> {
    let advice = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS: begin `s3.endpoint` with `http://`, or find out what is on the way to S3"
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "give the authority that issued the certificate as `tls.ca_file`"
        }
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "the certificate is self-signed: give it as `tls.ca_file`, with `tls.pin_self_signed: true`"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the endpoint has another name than the certificate",
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "renew the certificate of the server, or set the clock of this machine",
        Some(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "set the clock of this machine",
        _ => return error.into(),
    };
    Box::new(HandshakeError { cause: error, advice })
}

/// Returns `true` for an error that [`explained`] has explained, or another one of the certificate.
pub(super) fn is_misconfigured(error: &(dyn StdError + 'static)) -> bool {
    let of_certificate = |error: &io::Error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        matches!(inner, Some(Error::InvalidCertificate(_)))
    };
    error.is::<HandshakeError>() || error.downcast_ref::<io::Error>().is_some_and(of_certificate)
}
