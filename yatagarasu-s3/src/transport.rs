//! Connections to S3: pooled HTTP/1.1, with or without TLS.
//!
//! This module is all that knows of hyper's client. What leaves it are a response head and a stream of bytes.

mod resolve;

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use yatagarasu_core::SourceError;

use resolve::Resolver;

/// Most bytes read from a connection at a time, and so most that are held for a stream whose client is slow.
/// hyper begins with 8 KiB and grows up to this while a client keeps up.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How long a connection is kept for the next request. S3 closes its own after about 20 s.
const IDLE: Duration = Duration::from_secs(15);

/// A pool of connections, and how long opening one may take.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pool: Pool,
    connect_timeout: Duration,
}

#[derive(Debug, Clone)]
enum Pool {
    Plain(Client<HttpConnector<Resolver>, Empty<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {reason}; install the system's CA certificates or set SSL_CERT_FILE")]
pub struct TlsError {
    reason: String,
}

impl Transport {
    /// A pool without TLS, for `http://` endpoints.
    pub(crate) fn plain(connect_timeout: Duration, receive_buffer: Option<usize>) -> Self {
        let connector = connector(connect_timeout, receive_buffer);
        Self { pool: Pool::Plain(pool().build(connector)), connect_timeout }
    }

    /// A pool with TLS that trusts the certificates the system trusts, or those in `SSL_CERT_FILE`.
    pub(crate) fn tls(connect_timeout: Duration, receive_buffer: Option<usize>) -> Result<Self, TlsError> {
        let mut connector = connector(connect_timeout, receive_buffer);
        connector.enforce_http(false);
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let reason = found.errors.first().map_or("no certificate found".to_owned(), ToString::to_string);
            return Err(TlsError { reason });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { reason: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self { pool: Pool::Tls(pool().build(connector)), connect_timeout })
    }

    /// Sends a request and waits for the response head.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body, closes the connection unless the response has been read to its end.
    pub(crate) async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Content>, SourceError> {
        let response = match &self.pool {
            Pool::Plain(client) => client.request(request).await,
            Pool::Tls(client) => client.request(request).await,
        };
        match response {
            Ok(response) => Ok(response.map(Content)),
            Err(error) if timed_out(&error) => Err(SourceError::TimedOut(self.connect_timeout)),
            Err(error) => Err(failed(error)),
        }
    }
}

fn pool() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).http1_max_buf_size(READ_BYTES_MAX);
    builder
}

fn connector(connect_timeout: Duration, receive_buffer: Option<usize>) -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_nodelay(true);
    connector.set_recv_buffer_size(receive_buffer);
    connector
}

fn failed(error: hyper_util::client::legacy::Error) -> SourceError {
    if error.is_connect() {
        let reason = format!("cannot connect: {}", innermost(&error));
        return SourceError::Unavailable { status: None, reason, cause: Some(Arc::new(error)) };
    }
    let reason = format!("no response: {}", innermost(&error));
    SourceError::Broken { reason, cause: Some(Arc::new(error)) }
}

/// Whether connecting took too long. Nothing else in the pool has a timer.
fn timed_out(error: &(dyn StdError + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    own || error.source().is_some_and(timed_out)
}

fn innermost(error: &dyn StdError) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// The bytes of a response as they arrive. Reads ahead no more than one buffer.
#[derive(Debug)]
pub(crate) struct Content(Incoming);

impl Stream for Content {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match std::task::ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    // Trailers: S3 sends none that concern a client.
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    let reason = format!("the body broke off: {}", innermost(&error));
                    Some(Err(SourceError::Broken { reason, cause: Some(Arc::new(error)) }))
                }
                None => None,
            });
        }
    }
}
