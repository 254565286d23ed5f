//! An HTTP client for small requests: to queues and collectors of traces.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// An error of a request: without a response, or with one that is too long.
pub type HttpsError = Box<dyn std::error::Error + Send + Sync>;

/// Returns a configuration that trusts the authorities of the system. Loads their certificates only if `is_secure`; without any, no
/// server is trusted.
///
/// # Errors
///
/// Returns an error if TLS cannot be spoken.
pub fn tls_config(is_secure: bool) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    if is_secure {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Sends small requests over HTTP or HTTPS, and reads the whole responses.
#[derive(Debug, Clone)]
pub struct HttpsClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
    bytes_max: usize,
}

impl HttpsClient {
    /// Creates a client for requests that take at most `limit`, and have responses of at most `bytes_max` bytes. Loads the
    /// certificates of the system's authorities if `is_secure`: only then it speaks TLS.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS cannot be spoken.
    pub fn new(is_secure: bool, limit: Duration, bytes_max: usize) -> Result<Self, rustls::Error> {
        let config = tls_config(is_secure)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), limit, bytes_max })
    }

    /// Sends a request. Returns any response, whatever its status is.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpsError> {
        timeout(self.limit, self.exchange(request)).await?
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpsError> {
        let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, self.bytes_max).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
