//! A certificate for this machine, and the authority that clients have to trust for it: made for one run of the demo.

use std::error::Error;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use time::OffsetDateTime;
use yatagarasu_core::{Clock, SystemClock};

/// How long they are valid. Clocks of other machines may differ from this one's.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// The files of the certificates. [`remove`](Self::remove) removes them.
pub(super) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes a certificate for `localhost` and these addresses.
    pub(super) fn make(addresses: &[IpAddr]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let certificates = Self { folder: tempfile::Builder::new().prefix("yatagarasu-tls-").tempdir()? };
        let mut authority = params(Vec::new(), "Yatagarasu demo CA")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = ["localhost".to_owned()].into_iter().chain(addresses.iter().map(ToString::to_string));
        let mut own = params(names.collect(), "localhost")?;
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let own = own.signed_by(&key, &authority)?;
        fs::write(certificates.authority(), authority.pem())?;
        fs::write(certificates.certificate(), own.pem())?;
        fs::write(certificates.key(), key.serialize_pem())?;
        Ok(certificates)
    }

    /// Returns the file of the authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Returns the file of the certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.file("localhost.pem")
    }

    /// Returns the file of its key.
    pub(super) fn key(&self) -> PathBuf {
        self.file("localhost.key")
    }

    /// Removes the files.
    pub(super) fn remove(self) -> io::Result<()> {
        self.folder.close()
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemClock.date();
    params.not_before = OffsetDateTime::from(now - LIFETIME);
    params.not_after = OffsetDateTime::from(now + LIFETIME);
    Ok(params)
}
