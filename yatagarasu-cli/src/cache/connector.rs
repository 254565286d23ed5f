//! Opens connections to servers: over TCP, with TLS for `https://` URLs, or on a Unix socket.

use std::future::Future;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;
use yatagarasu_s3::https::tls_config;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens the connections below TLS.
#[derive(Debug, Clone)]
pub(super) enum Dialer {
    Tcp(HttpConnector),
    Unix(PathBuf),
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Tcp(connector) => connector.poll_ready(context).map_err(Into::into),
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Tcp(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Unix(path) => {
                let path = path.clone();
                Box::pin(async move { Ok(TokioIo::new(dial_unix(&path).await?)) })
            }
        }
    }
}

/// Connects to a Unix socket. Returns it as one of TCP: it is only read and written, which is the same for both.
async fn dial_unix(path: &Path) -> io::Result<TcpStream> {
    let socket = UnixStream::connect(path).await?.into_std()?;
    TcpStream::from_std(StdTcpStream::from(OwnedFd::from(socket)))
}

/// Returns a connector for the server of `uri`, which uses TLS if the scheme is `https`, or for the server on a Unix socket.
///
/// The certificates of the operating system are loaded only for `https`. If there are none, no server is trusted.
pub(super) fn connector(uri: &Uri, socket: Option<&Path>) -> HttpsConnector<Dialer> {
    let config = tls_config(uri.scheme_str() == Some("https"));
    let config = config.expect("the library has the ciphers of its default versions of TLS");
    let mut over_tcp = HttpConnector::new();
    over_tcp.enforce_http(false);
    let dialer = socket.map_or(Dialer::Tcp(over_tcp), |path| Dialer::Unix(path.to_owned()));
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(dialer)
}
