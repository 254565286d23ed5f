//! The certificates by which an authority makes sure of a name (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use crate::tls::provider;

/// The protocol of the handshake (RFC 8737 6.2).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates to show, by the names that they are about: names of the configuration, each of one listener's
/// certificate.
static SHOWN: Mutex<Option<HashMap<String, Arc<CertifiedKey>>>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<HashMap<String, Arc<CertifiedKey>>>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the configuration for an authority that makes sure of one of these names. Returns `None` for all other clients.
///
/// Nobody has to show a certificate, and nothing is served: the handshake is all there is (RFC 8737 3).
pub(crate) fn for_authority(hello: &ClientHello<'_>, domains: &[String]) -> Option<Arc<ServerConfig>> {
    let mut protocols = hello.alpn()?;
    if protocols.next() != Some(PROTOCOL) || protocols.next().is_some() {
        return None;
    }
    let name = hello.server_name()?.to_ascii_lowercase();
    if !domains.contains(&name) {
        return None;
    }
    let certified = shown().as_ref()?.get(&name).cloned()?;
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).ok()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Some(Arc::new(config))
}

/// Shows certificates until it is dropped.
#[cfg(feature = "acme")]
#[derive(Debug, Default)]
pub(super) struct Challenges(Vec<(String, Arc<CertifiedKey>)>);

#[cfg(feature = "acme")]
impl Challenges {
    /// Shows a certificate with this digest to those who ask for the name (RFC 8737 3).
    pub(super) fn show(&mut self, name: &str, digest: &[u8]) -> Result<(), rcgen::Error> {
        let name = name.to_ascii_lowercase();
        let mut params = crate::tls::acme::nameless(vec![name.clone()])?;
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
        let key = rcgen::KeyPair::generate()?;
        let signed = params.self_signed(&key)?;
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let key =
            provider().key_provider.load_private_key(der.into()).expect("rustls reads what rcgen writes");
        // The certificate is for the authority: it has an extension that no other client takes, and rustls neither.
        let certified = Arc::new(CertifiedKey::new(vec![signed.der().clone()], key));
        shown().get_or_insert_default().insert(name.clone(), Arc::clone(&certified));
        self.0.push((name, certified));
        Ok(())
    }
}

#[cfg(feature = "acme")]
impl Drop for Challenges {
    fn drop(&mut self) {
        let mut shown = shown();
        let Some(shown) = shown.as_mut() else { return };
        for (name, certified) in &self.0 {
            // A later order may have one of its own.
            if shown.get(name).is_some_and(|other| Arc::ptr_eq(other, certified)) {
                shown.remove(name);
            }
        }
    }
}
