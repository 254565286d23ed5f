//! Opens sockets: TCP, with or without TLS.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower_service::Service;
use yatagarasu_core::{SourceError, innermost};
use yatagarasu_sys::tcp;

use crate::http_client::resolve::Resolver;
use crate::http_client::socket::Socket;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Opens connections to the server of a URI, with a timeout.
#[derive(Debug)]
pub(super) struct Connector {
    kind: Kind,
    timeout: Duration,
    /// Size of the receive buffer in bytes, or `None` if the operating system chooses it.
    receive_buffer: Option<usize>,
}

#[derive(Debug)]
enum Kind {
    Plain(HttpConnector<Resolver>),
    Tls(HttpsConnector<HttpConnector<Resolver>>),
}

/// An error in setting up TLS.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {reason}; install the system's CA certificates or set SSL_CERT_FILE")]
pub struct TlsError {
    reason: String,
}

impl Connector {
    pub(super) fn plain(timeout: Duration, receive_buffer: Option<usize>) -> Self {
        Self { kind: Kind::Plain(tcp(timeout)), timeout, receive_buffer }
    }

    pub(super) fn tls(timeout: Duration, receive_buffer: Option<usize>) -> Result<Self, TlsError> {
        let mut connector = tcp(timeout);
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
        Ok(Self { kind: Kind::Tls(connector), timeout, receive_buffer })
    }

    /// Opens a connection and, if configured, bounds its receive buffer.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Socket, SourceError> {
        let opened = match &self.kind {
            Kind::Plain(connector) => {
                open(connector.clone(), uri).await.map(|stream| self.plain_socket(stream.into_inner()))
            }
            Kind::Tls(connector) => open(connector.clone(), uri).await.map(|stream| match stream {
                MaybeHttpsStream::Http(stream) => self.plain_socket(stream.into_inner()),
                MaybeHttpsStream::Https(stream) => {
                    self.bound(stream.inner().get_ref().0.inner().inner());
                    Socket::Tls(Box::new(stream.into_inner()))
                }
            }),
        };
        opened.map_err(|error| self.failed(error))
    }

    fn plain_socket(&self, stream: TcpStream) -> Socket {
        self.bound(&stream);
        Socket::Plain { stream, receive_buffer: self.receive_buffer }
    }

    fn bound(&self, stream: &TcpStream) {
        if let Some(bytes) = self.receive_buffer {
            // A refusal is ignored: requests still work, but use more memory.
            let _ = tcp::bound_receive_buffer(stream, bytes);
        }
    }

    fn failed(&self, error: BoxError) -> SourceError {
        if timed_out(&*error) {
            return SourceError::TimedOut(self.timeout);
        }
        let reason = format!("cannot connect: {}", innermost(&*error));
        SourceError::Unavailable { status: None, reason, cause: Some(Arc::from(error)) }
    }
}

fn tcp(timeout: Duration) -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.set_connect_timeout(Some(timeout));
    connector.set_nodelay(true);
    connector
}

async fn open<C>(mut connector: C, uri: &Uri) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Into::<BoxError>::into)?;
    connector.call(uri.clone()).await.map_err(Into::into)
}

/// Returns `true` if the error or one of its causes is a timeout.
fn timed_out(error: &(dyn StdError + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    own || error.source().is_some_and(timed_out)
}
