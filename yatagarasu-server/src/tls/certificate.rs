//! A certificate with its key, read from two files.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::tls::provider;

/// What begins a private key that a passphrase protects (RFC 7468 11, and the older form of OpenSSL).
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// Time before the end of a certificate from which on it is warned of.
const ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// The files of a certificate and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those between it and a trusted authority.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate that can be shown to clients.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The names of hosts in it, in lower case. A name may begin with `*.`.
    pub(super) names: Vec<String>,
    /// The file that it is from.
    file: PathBuf,
    begins: SystemTime,
    ends: SystemTime,
    pub(super) certified: Arc<CertifiedKey>,
}

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// A file has no certificate.
    #[error("`{}` has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// A file has no private key.
    #[error("`{}` has no private key in PEM (`-----BEGIN PRIVATE KEY-----`)", .0.display())]
    NoKey(PathBuf),
    /// A private key is protected by a passphrase.
    #[error("the private key in `{}` is encrypted: decrypt it, as with `openssl pkey -in FILE`", .0.display())]
    Encrypted(PathBuf),
    /// A file has something else.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is that of another certificate.
    #[error(
        "`{}` is not the key of the certificate in `{}`, of which the first counts if there are several",
        .0.key.display(),
        .0.cert.display()
    )]
    Mismatch(CertificateFiles),
}

/// What is wrong with a key that the library does not take.
const UNSUPPORTED: &str =
    "its key cannot be used: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519 is needed";

impl CertificateError {
    /// Returns `true` if the key is at fault, and not the certificate.
    pub(crate) fn is_of_key(&self, files: &CertificateFiles) -> bool {
        match self {
            Self::Unreadable { path, .. } | Self::Malformed { path, .. } => *path == files.key,
            Self::NoCertificate(_) => false,
            Self::NoKey(_) | Self::Encrypted(_) | Self::Mismatch(_) => true,
        }
    }
}

impl Certificate {
    /// Reads a certificate with its key, and checks that they belong together.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the files. The dates are not checked: a server with an old certificate still serves
    /// those who accept it.
    pub(crate) fn load(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Self::of(chain(&files.cert)?, key(&files.key)?, files)
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        files: &CertificateFiles,
    ) -> Result<Self, CertificateError> {
        let malformed =
            |path: &Path, reason: String| CertificateError::Malformed { path: path.to_owned(), reason };
        let (_, leaf) = X509Certificate::from_der(&chain[0])
            .map_err(|error| malformed(&files.cert, format!("it has no certificate of X.509: {error}")))?;
        let (names, validity) = (names(&leaf), leaf.validity().clone());
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch(files.clone())
            }
            Error::InvalidCertificate(_) => malformed(&files.cert, error.to_string()),
            Error::General(_) => malformed(&files.key, UNSUPPORTED.to_owned()),
            error => malformed(&files.key, error.to_string()),
        })?;
        Ok(Self {
            names,
            file: files.cert.clone(),
            begins: date(validity.not_before.timestamp()),
            ends: date(validity.not_after.timestamp()),
            certified: Arc::new(certified),
        })
    }

    /// Takes a certificate that was made here, with its key in PKCS#8.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it. `file` is where it would be.
    #[cfg(feature = "acme")]
    pub(super) fn made(
        file: PathBuf,
        certificate: CertificateDer<'static>,
        key: &[u8],
    ) -> Result<Self, CertificateError> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_vec());
        Self::of(vec![certificate], key.into(), &CertificateFiles { cert: file.clone(), key: file })
    }

    /// Returns when it begins.
    pub(crate) fn begins(&self) -> SystemTime {
        self.begins
    }

    /// Returns whether it is for a host.
    #[cfg(feature = "acme")]
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Returns when it ends.
    pub(crate) fn ends(&self) -> SystemTime {
        self.ends
    }

    /// Returns what clients will complain about at `now`, or soon after, and what to do about it.
    pub(crate) fn warning(&self, now: SystemTime) -> Option<String> {
        let (file, ends) = (self.file.display(), humantime::format_rfc3339_seconds(self.ends));
        if self.ends <= now {
            Some(format!(
                "the certificate in `{file}` has expired at {ends}, and clients refuse it: renew it"
            ))
        } else if self.ends <= now + ENDS_SOON {
            Some(format!("the certificate in `{file}` expires at {ends}: renew it"))
        } else if self.begins > now {
            let begins = humantime::format_rfc3339_seconds(self.begins);
            Some(format!("the certificate in `{file}` is valid from {begins} on: set the clock, or wait"))
        } else if self.names.is_empty() {
            Some(format!(
                "the certificate in `{file}` names no host (`subjectAltName`), and browsers refuse it"
            ))
        } else {
            None
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        write!(f, "{names}, until {}", humantime::format_rfc3339_seconds(self.ends))
    }
}

/// Reads certificates, at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateError::NoCertificate(path.to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(CertificateError::Malformed { path: path.to_owned(), reason: explained(&error) }),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if ENCRYPTED.iter().any(|encrypted| text.contains(encrypted)) {
        return Err(CertificateError::Encrypted(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey(path.to_owned()),
        error => CertificateError::Malformed { path: path.to_owned(), reason: explained(&error) },
    })
}

/// Returns what is wrong with the text of a file.
fn explained(error: &pem::Error) -> String {
    let text = |line: &[u8]| String::from_utf8_lossy(line).trim().to_owned();
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("it is cut off: the line `-----END {}-----` is missing", text(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("`{}` is no line that begins a section", text(line))
        }
        error => error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|cause| CertificateError::Unreadable { path: path.to_owned(), cause })
}

/// Returns the names of hosts that a certificate is for (RFC 6125). Clients do not look at the common name any more.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else { return Vec::new() };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(host).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// Returns the time at this second of Unix time.
fn date(second: i64) -> SystemTime {
    let distance = Duration::from_secs(second.unsigned_abs());
    let date = if second < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    date.unwrap_or(SystemTime::UNIX_EPOCH)
}
