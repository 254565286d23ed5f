//! The certificates by which an authority makes sure of a name (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use crate::tls::provider;

/// The protocol of the handshake (RFC 8737 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates to show, by the names that they are about. The names are the operator's, and each is about one
/// listener's certificate at most.
static SHOWN: Mutex<Option<HashMap<String, Arc<CertifiedKey>>>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<HashMap<String, Arc<CertifiedKey>>>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the configuration for an authority that makes sure of a name. Returns `None` for all other clients.
pub(crate) fn for_authority(hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
    let mut protocols = hello.alpn()?;
    if protocols.next() != Some(PROTOCOL) || protocols.next().is_some() {
        return None;
    }
    let name = hello.server_name()?.to_ascii_lowercase();
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
pub(super) struct Challenges(Vec<String>);

#[cfg(feature = "acme")]
impl Challenges {
    /// Shows a certificate with this digest to those who ask for the name (RFC 8737 3).
    pub(super) fn show(&mut self, name: &str, digest: &[u8]) -> Result<(), rcgen::Error> {
        let name = name.to_ascii_lowercase();
        let mut params = rcgen::CertificateParams::new(vec![name.clone()])?;
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
        let key = rcgen::KeyPair::generate()?;
        let signed = params.self_signed(&key)?;
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let key =
            provider().key_provider.load_private_key(der.into()).expect("rustls reads what rcgen writes");
        // The certificate is for the authority: it has an extension that no other client takes, and rustls neither.
        let certified = CertifiedKey::new(vec![signed.der().clone()], key);
        shown().get_or_insert_default().insert(name.clone(), Arc::new(certified));
        self.0.push(name);
        Ok(())
    }
}

#[cfg(feature = "acme")]
impl Drop for Challenges {
    fn drop(&mut self) {
        if let Some(shown) = shown().as_mut() {
            self.0.iter().for_each(|name| {
                shown.remove(name);
            });
        }
    }
}
