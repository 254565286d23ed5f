//! Opens connections to the admin API, with TLS for `https://` URLs.

use std::sync::Arc;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};

/// Returns a connector for the server of `uri`, which uses TLS if the scheme is `https`.
///
/// The certificates of the operating system are loaded only for `https`. If there are none, no server is trusted.
pub(super) fn connector(uri: &Uri) -> HttpsConnector<HttpConnector> {
    let mut roots = RootCertStore::empty();
    if uri.scheme_str() == Some("https") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the library has what the default versions of TLS need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build()
}
