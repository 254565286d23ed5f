//! Certificates that an authority issues by itself (ACME, RFC 8555).
//!
//! A listener with a [configuration](AcmeConfig) has a certificate in two files of a folder. Until there is one, it shows a
//! placeholder that it has signed itself. The [`keeper`] orders a certificate when it is due and writes the files, which
//! the listener reads again as any others. The authority makes sure of the names by a handshake with each
//! ([`challenges`], RFC 8737).

pub(crate) mod challenges;
#[cfg(feature = "acme")]
pub(crate) mod keeper;
#[cfg(feature = "acme")]
mod order;
#[cfg(feature = "acme")]
mod storage;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::tls::certificate::{Certificate, CertificateError, CertificateFiles};

/// Whether this build can order certificates.
pub(crate) const IS_COMPILED: bool = cfg!(feature = "acme");

/// A certificate to order, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names of the hosts that it is for, at least one.
    pub domains: Vec<String>,
    /// URLs by which the authority reaches the operator, such as `mailto:` ones.
    pub contact: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// The folder for the account, the certificate and its key.
    pub storage: PathBuf,
    /// A file with the authority that has issued the certificate of the directory itself, if that is not a public one.
    pub ca_file: Option<PathBuf>,
}

impl AcmeConfig {
    /// Returns the files of the certificate and of its key.
    pub(crate) fn files(&self) -> CertificateFiles {
        let name = &self.domains[0];
        CertificateFiles {
            cert: self.storage.join(format!("{name}.pem")),
            key: self.storage.join(format!("{name}.key")),
        }
    }

    /// Reads the certificate. Returns a placeholder if there is none yet.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the files.
    pub(crate) fn load(&self) -> Result<Certificate, CertificateError> {
        let files = self.files();
        if files.cert.exists() { Certificate::load(&files) } else { placeholder(&self.domains, &files) }
    }

    /// Returns whether a certificate is to be ordered: there is none that is for all the names, or a third of its time is
    /// left.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        let Ok(certificate) = Certificate::load(&self.files()) else { return true };
        !self.domains.iter().all(|name| certificate.is_for(name)) || now >= renewal(&certificate)
    }
}

/// Returns when a certificate is to be replaced.
fn renewal(certificate: &Certificate) -> SystemTime {
    let lifetime = certificate.ends().duration_since(certificate.begins()).unwrap_or_default();
    certificate.ends().checked_sub(lifetime / 3).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long a placeholder lasts. It is made anew at each start.
const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(feature = "acme")]
fn placeholder(domains: &[String], files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    use yatagarasu_core::{Clock, SystemClock};

    let failed = |error: rcgen::Error| CertificateError::Malformed {
        path: files.cert.clone(),
        reason: format!("no certificate can be made in its place: {error}"),
    };
    let mut params = rcgen::CertificateParams::new(domains.to_vec()).map_err(failed)?;
    let (begins, ends) = (SystemClock.date(), SystemClock.date() + PLACEHOLDER_LIFETIME);
    (params.not_before, params.not_after) = (begins.into(), ends.into());
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let signed = params.self_signed(&key).map_err(failed)?;
    Certificate::made(files.cert.clone(), signed.der().clone(), &key.serialize_der())
}

/// Without the feature there is no such certificate: the configuration is refused.
#[cfg(not(feature = "acme"))]
fn placeholder(_domains: &[String], files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    let _ = PLACEHOLDER_LIFETIME;
    Certificate::load(files)
}

#[cfg(all(test, feature = "acme"))]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn config(folder: &TempDir, domains: &[&str]) -> AcmeConfig {
        AcmeConfig {
            domains: domains.iter().map(|&name| name.to_owned()).collect(),
            contact: Vec::new(),
            directory: "https://ca.example/directory".to_owned(),
            storage: folder.path().to_owned(),
            ca_file: None,
        }
    }

    #[test]
    fn a_certificate_is_due_if_it_is_missing_for_other_names_or_near_its_end() {
        let folder = TempDir::new().unwrap();
        let (one, both) = (config(&folder, &["a.example"]), config(&folder, &["a.example", "b.example"]));
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let day = Duration::from_secs(24 * 3600);
        assert!(one.is_due(start));
        assert!(one.load().unwrap().is_for("A.example"), "a placeholder, which is not written");
        assert!(one.is_due(start));
        let mut params = CertificateParams::new(one.domains.clone()).unwrap();
        (params.not_before, params.not_after) = (start.into(), (start + 90 * day).into());
        let key = KeyPair::generate().unwrap();
        let files = one.files();
        std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        assert!(one.is_due(start), "without its key");
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        assert!(!one.is_due(start + 59 * day) && one.is_due(start + 61 * day));
        assert!(both.is_due(start + 59 * day), "another name has come");
    }

    #[test]
    fn files_are_written_whole_and_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = TempDir::new().unwrap();
        let mut config = config(&folder, &["a.example"]);
        config.storage = folder.path().join("new/folder");
        storage::prepare(&config).unwrap();
        let path = storage::account(&config);
        assert_eq!(path.file_name().unwrap(), "account-ca.example-directory.json");
        for content in ["first", "second"] {
            storage::write(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&config.storage), mode(&path)), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&config.storage).unwrap().count(), 1);
    }
}
