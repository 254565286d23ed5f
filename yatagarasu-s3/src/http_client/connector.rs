//! Opens sockets: TCP, with or without TLS, directly or through a proxy.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use yatagarasu_core::{ErrorKind, SourceError, innermost};
use yatagarasu_sys::process::is_out_of_files;
use yatagarasu_sys::tcp;

use crate::config::SourceConfig;
use crate::http_client::dial::Dialer;
use crate::http_client::proxy::is_always_direct;
use crate::http_client::resolve::Resolver;
use crate::http_client::socket::Socket;
use crate::http_client::tls::{self, TlsError};

type BoxError = Box<dyn StdError + Send + Sync>;

/// Opens connections to the server of a URI, with a timeout.
#[derive(Debug)]
pub(super) struct Connector {
    dialer: Dialer,
    /// The proxies of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    proxies: Matcher,
    tls: Option<Tls>,
    timeout: Duration,
    /// Size of the receive buffer in bytes, or `None` if the operating system chooses it.
    receive_buffer: Option<usize>,
}

struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Connector {
    /// Creates a connector for a bucket. `is_tls` says whether its server speaks TLS.
    pub(super) fn new(config: &SourceConfig, is_tls: bool) -> Result<Self, TlsError> {
        let tls = if is_tls { Some(Tls(Arc::new(tls::client(&config.tls)?).into())) } else { None };
        let dialer = Dialer::new(Resolver::of_process());
        let (timeout, receive_buffer) = (config.connect_timeout, config.receive_buffer);
        Ok(Self { dialer, proxies: Matcher::from_env(), tls, timeout, receive_buffer })
    }

    /// Returns the proxy that requests to `uri` go through.
    pub(super) fn proxy(&self, uri: &Uri) -> Option<Intercept> {
        self.proxies.intercept(uri).filter(|_| !uri.host().is_some_and(is_always_direct))
    }

    /// Opens a connection and, if configured, bounds its receive buffer. The time limit includes the DNS lookup, the
    /// proxy and the TLS handshake.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Socket, SourceError> {
        match timeout(self.timeout, self.open(uri)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => {
                self.forget(uri);
                Err(self.failed(uri, error))
            }
            Err(_) => {
                self.forget(uri);
                Err(self.too_slow(uri))
            }
        }
    }

    /// Has the name that was connected to resolved anew.
    fn forget(&self, uri: &Uri) {
        let proxy = self.proxy(uri);
        let connected = proxy.as_ref().map_or(uri, Intercept::uri);
        self.dialer.forget(connected.host().unwrap_or_default());
    }

    async fn open(&self, uri: &Uri) -> Result<Socket, BoxError> {
        let stream = match self.proxy(uri) {
            None => self.dialer.connect(uri).await?,
            // Requests without TLS are sent to the proxy as they are.
            Some(proxy) if self.tls.is_none() => self.dialer.connect(proxy.uri()).await?,
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), self.dialer.clone());
                let tunnel = proxy.basic_auth().map_or(tunnel.clone(), |auth| tunnel.with_auth(auth.clone()));
                call(tunnel, with_port(uri)?).await?.into_inner()
            }
        };
        if let Some(bytes) = self.receive_buffer {
            // A refusal is ignored: requests still work, but use more memory.
            let _ = tcp::bound_receive_buffer(&stream, bytes);
        }
        let Some(Tls(connector)) = &self.tls else {
            return Ok(Socket::Plain { stream, receive_buffer: self.receive_buffer });
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        // Behind a proxy, it is not its address that is at fault.
        let attempt =
            if self.proxy(uri).is_none() { Some(self.dialer.attempt(stream.peer_addr()?)) } else { None };
        let secured = connector.connect(name, stream).await.map_err(tls::explained);
        if let Some(attempt) = attempt {
            attempt.ended(secured.is_ok());
        }
        Ok(Socket::Tls(Box::new(secured?)))
    }

    fn too_slow(&self, uri: &Uri) -> SourceError {
        let limited = format!("no connection to {} (`connect_timeout`)", self.peer(uri));
        SourceError::timed_out(self.timeout, &limited)
    }

    /// Returns who is connected to, for operators: the server, or a proxy.
    fn peer(&self, uri: &Uri) -> String {
        let server = uri.authority().map(ToString::to_string).unwrap_or_default();
        match self.proxy(uri) {
            None => server,
            Some(proxy) => {
                let (host, port) = (proxy.uri().host().unwrap_or_default(), proxy.uri().port_u16());
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{server} through the proxy {host}{port} of the environment")
            }
        }
    }

    fn failed(&self, uri: &Uri, error: BoxError) -> SourceError {
        if timed_out(&*error) {
            return self.too_slow(uri);
        }
        if has_no_descriptor(&*error) {
            let reason = "no file descriptors are left: raise the limit (`LimitNOFILE`, `ulimit -n`)";
            return SourceError::new(ErrorKind::Saturated).because(reason);
        }
        let kind =
            if tls::is_misconfigured(&*error) { ErrorKind::Misconfigured } else { ErrorKind::Unavailable };
        let reason = format!("cannot connect to {}: {}", self.peer(uri), innermost(&*error));
        SourceError::new(kind).because(reason).caused_by(Arc::from(error))
    }
}

/// A tunnel needs the port of the server.
fn with_port(uri: &Uri) -> Result<Uri, http::Error> {
    let port = uri.port_u16().unwrap_or(443);
    Uri::builder()
        .scheme("https")
        .authority(format!("{}:{port}", uri.host().unwrap_or_default()))
        .path_and_query("/")
        .build()
}

async fn call<C>(mut connector: C, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError>
where
    C: Service<Uri, Response = TokioIo<TcpStream>>,
    C::Error: Into<BoxError>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Into::<BoxError>::into)?;
    connector.call(uri).await.map_err(Into::into)
}

/// Returns `true` if the error or one of its causes is that the process, or the machine, may open no more files.
fn has_no_descriptor(error: &(dyn StdError + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>().is_some_and(is_out_of_files);
    own || error.source().is_some_and(has_no_descriptor)
}

/// Returns `true` if the error or one of its causes is a timeout.
fn timed_out(error: &(dyn StdError + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    own || error.source().is_some_and(timed_out)
}
