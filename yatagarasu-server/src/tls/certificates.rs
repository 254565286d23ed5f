//! The certificates of a listener, and which of them a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::certificate::Certificate;

/// The certificates of a listener, at least one.
#[derive(Debug)]
pub(crate) struct Certificates {
    all: Vec<Certificate>,
    /// The places of certificates by their names. A name that begins with `*.` is for all with one label in its place.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Selects among `all`, of which there must be one. The first one is for clients that ask for no name, or for
    /// another one.
    pub(crate) fn new(all: Vec<Certificate>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, certificate) in all.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(place);
            }
        }
        Self { all, by_name }
    }

    /// Returns all certificates.
    pub(crate) fn all(&self) -> &[Certificate] {
        &self.all
    }

    /// Returns the places of the certificates for a client that asks for `name`, in the order of the configuration.
    fn places(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else { return &[] };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        let parent = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(parent).map_or(&[], Vec::as_slice)
    }

    /// Returns the certificate for a client that asks for `name`: the first one whose key it can verify (`fits`).
    fn of(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> &Arc<CertifiedKey> {
        let certified = |place: &usize| &self.all[*place].certified;
        let named = self.places(name);
        let by_key = named.iter().map(certified).find(|one| fits(one));
        by_key.or_else(|| named.first().map(certified)).unwrap_or(&self.all[0].certified)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = client_hello.signature_schemes();
        let fits = |certified: &CertifiedKey| certified.key.choose_scheme(schemes).is_some();
        Some(Arc::clone(self.of(client_hello.server_name(), fits)))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;
    use crate::tls::certificate::CertificateFiles;

    fn certificate(folder: &TempDir, names: &[&str]) -> Certificate {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let file = |end: &str| folder.path().join(format!("{}.{end}", names[0].replace('*', "any")));
        let Generated { cert, signing_key } = generate_simple_self_signed(names.clone()).unwrap();
        let files = CertificateFiles { cert: file("pem"), key: file("key") };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        Certificate::load(&files).unwrap()
    }

    #[test]
    fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
        let folder = TempDir::new().unwrap();
        let names: [&[&str]; 4] =
            [&["default.example"], &["*.example.org", "example.org"], &["a.example.org"], &["B.example.net"]];
        let certificates = Certificates::new(names.iter().map(|names| certificate(&folder, names)).collect());
        for (name, place) in [
            (None, 0),
            (Some("default.example"), 0),
            (Some("nobody.example"), 0),
            (Some("example.org"), 1),
            (Some("www.example.org"), 1),
            (Some("WWW.Example.ORG"), 1),
            (Some("www.example.org."), 1),
            (Some("a.example.org"), 2),
            (Some("x.a.example.org"), 0),
            (Some("b.example.net"), 3),
            (Some("org"), 0),
            (Some(""), 0),
        ] {
            let found = certificates.of(name, |_| true);
            assert!(Arc::ptr_eq(found, &certificates.all[place].certified), "{name:?}");
        }
    }

    #[test]
    fn of_two_for_one_name_a_client_gets_the_one_that_it_can_verify() {
        let folder = TempDir::new().unwrap();
        let twins = [certificate(&folder, &["www.example"]), certificate(&folder, &["www.example"])];
        let certificates = Certificates::new(twins.into());
        let second = Arc::clone(&certificates.all[1].certified);
        let is_second = |certified: &CertifiedKey| std::ptr::eq(certified, &raw const *second);
        assert!(Arc::ptr_eq(certificates.of(Some("www.example"), is_second), &second));
        let first = certificates.of(Some("www.example"), |_| false);
        assert!(Arc::ptr_eq(first, &certificates.all[0].certified), "it may know more than it says");
    }
}
