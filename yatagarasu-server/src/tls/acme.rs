//! Certificates that an authority issues by itself (ACME, RFC 8555).
//!
//! A listener with a [configuration](AcmeConfig) has a certificate, with its key, in one file of a folder. Until there is
//! one that can be used, it shows a placeholder that it has signed itself. The [`keeper`] orders a certificate when it is due
//! and writes the file, which the listener reads again as any other. The authority makes sure of the names by a
//! handshake with each ([`challenges`], RFC 8737).

pub(crate) mod challenges;
#[cfg(feature = "acme")]
pub(crate) mod keeper;
#[cfg(feature = "acme")]
mod order;
#[cfg(feature = "acme")]
mod storage;

use std::path::PathBuf;
use std::time::Duration;
#[cfg(feature = "acme")]
use std::time::SystemTime;

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
    /// The folder for the accounts, the certificates and their keys.
    pub storage: PathBuf,
    /// A file with the authority that has issued the certificate of the directory itself, if that is not a public one.
    pub ca_file: Option<PathBuf>,
}

impl AcmeConfig {
    /// Returns the folder for what is of this authority. Certificates for tests are no ones for clients.
    pub(crate) fn folder(&self) -> PathBuf {
        let (_, rest) = self.directory.split_once("://").unwrap_or(("", &self.directory));
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        self.storage.join(rest.chars().map(plain).collect::<String>())
    }

    /// Returns the file of the certificate and of its key. It is one, so that both change at once.
    pub(crate) fn files(&self) -> CertificateFiles {
        let file = self.folder().join(format!("{}.pem", self.domains[0]));
        CertificateFiles { cert: file.clone(), key: file }
    }

    /// Reads the certificate that the authority has issued.
    ///
    /// # Errors
    ///
    /// Returns why there is none.
    pub(crate) fn issued(&self) -> Result<Certificate, CertificateError> {
        Certificate::load(&self.files())
    }

    /// Returns a certificate to show until there is one.
    ///
    /// # Errors
    ///
    /// Returns the reason if none can be made.
    pub(crate) fn placeholder(&self) -> Result<Certificate, CertificateError> {
        placeholder(&self.domains, &self.files())
    }

    /// Returns whether a certificate is to be ordered: there is none that is for all the names, or a third of its time is
    /// left.
    #[cfg(feature = "acme")]
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        let Ok(certificate) = self.issued() else { return true };
        !self.domains.iter().all(|name| certificate.is_for(name)) || now >= renewal(&certificate)
    }
}

/// Returns when a certificate is to be replaced.
#[cfg(feature = "acme")]
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
    let mut params = nameless(domains.to_vec()).map_err(failed)?;
    let (begins, ends) = (SystemClock.date(), SystemClock.date() + PLACEHOLDER_LIFETIME);
    (params.not_before, params.not_after) = (begins.into(), ends.into());
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let signed = params.self_signed(&key).map_err(failed)?;
    Certificate::made(files.cert.clone(), signed.der().clone(), &key.serialize_der())
}

/// Returns what a certificate for these hosts says. Its subject is empty: authorities take what stands there for one more name,
/// and refuse an order that is not about it.
#[cfg(feature = "acme")]
fn nameless(domains: Vec<String>) -> Result<rcgen::CertificateParams, rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(domains)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

/// Without the feature there is no such certificate: the configuration is refused.
#[cfg(not(feature = "acme"))]
fn placeholder(_domains: &[String], files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    let _ = PLACEHOLDER_LIFETIME;
    Certificate::load(files)
}

#[cfg(all(test, feature = "acme"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::KeyPair;
    use tempfile::TempDir;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

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
        assert!(one.placeholder().unwrap().is_for("A.example"));
        assert!(one.is_due(start), "a placeholder is not written");
        let mut params = nameless(one.domains.clone()).unwrap();
        (params.not_before, params.not_after) = (start.into(), (start + 90 * day).into());
        let key = KeyPair::generate().unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        storage::prepare(&one).unwrap();
        storage::write(&one.files().cert, chain.as_bytes()).unwrap();
        assert!(one.is_due(start), "without its key");
        storage::write(&one.files().cert, (key.serialize_pem() + &chain).as_bytes()).unwrap();
        assert!(!one.is_due(start + 59 * day) && one.is_due(start + 61 * day));
        assert!(both.is_due(start + 59 * day), "another name has come");
        let other = AcmeConfig { directory: "https://staging.example/directory".to_owned(), ..one };
        assert!(other.is_due(start + 59 * day), "another authority");
    }

    #[test]
    fn an_order_has_the_names_of_hosts_and_no_other() {
        let key = KeyPair::generate().unwrap();
        let names = vec!["a.example".to_owned(), "b.example".to_owned()];
        let request = nameless(names).unwrap().serialize_request(&key).unwrap();
        let (_, request) = X509CertificationRequest::from_der(request.der()).unwrap();
        assert_eq!(request.certification_request_info.subject.iter().count(), 0);
    }

    #[test]
    fn files_are_written_whole_and_for_their_owner_alone() {
        let folder = TempDir::new().unwrap();
        let mut config = config(&folder, &["a.example"]);
        config.storage = folder.path().join("new/folder");
        storage::prepare(&config).unwrap();
        let path = storage::account(&config);
        assert!(path.ends_with("new/folder/ca.example-directory/account.json"), "{}", path.display());
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // What is left of a write that has not ended may be open to others.
        let left = path.with_extension("json.new");
        std::fs::write(&left, "left").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        for content in ["first", "second"] {
            storage::write(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!((mode(&config.storage), mode(&config.folder()), mode(&path)), (0o700, 0o700, 0o600));
        assert_eq!(std::fs::read_dir(config.folder()).unwrap().count(), 1);
    }
}
