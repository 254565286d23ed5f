//! A client that speaks TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Response;

/// A client that speaks TLS, and resumes sessions.
#[derive(Debug, Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

/// A response, and what the handshake before it has agreed on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) version: ProtocolVersion,
    pub(crate) protocol: Option<Vec<u8>>,
    pub(crate) is_resumed: bool,
}

impl TlsClient {
    /// Returns a client that trusts these certificates.
    pub(crate) fn trusting(certificates: &[CertificateDer<'static>]) -> Self {
        Self::of(certificates, &[&rustls::version::TLS13, &rustls::version::TLS12], None)
    }

    /// Returns a client that speaks these versions, and shows this certificate if it is asked for one.
    pub(crate) fn of(
        certificates: &[CertificateDer<'static>],
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Self(Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        }))
    }

    /// Returns the same client, which offers these protocols.
    pub(crate) fn offering(&self, protocols: &[&[u8]]) -> Self {
        let mut config = (*self.0).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Connects and asks for `name`.
    pub(crate) async fn connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        self.over(socket, name).await
    }

    /// Speaks TLS over a connection.
    pub(crate) async fn over(&self, socket: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        timeout(PATIENCE, TlsConnector::from(Arc::clone(&self.0)).connect(name, socket)).await?
    }

    /// Sends a GET over a new connection, in the protocol that was agreed on.
    pub(crate) async fn get(&self, address: SocketAddr, name: &str, path: &str) -> io::Result<Answer> {
        self.send(address, name, "GET", path).await
    }

    /// Sends a request over a new connection, in the protocol that was agreed on.
    pub(crate) async fn send(
        &self,
        address: SocketAddr,
        name: &str,
        method: &str,
        path: &str,
    ) -> io::Result<Answer> {
        let stream = self.connect(address, name).await?;
        let session = stream.get_ref().1;
        let answer = Answer {
            response: Response { status: 0, headers: HeaderMap::new(), body: Bytes::new() },
            certificate: session.peer_certificates().unwrap()[0].clone().into_owned(),
            version: session.protocol_version().unwrap(),
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        let is_http2 = answer.protocol.as_deref() == Some(b"h2");
        let target = if is_http2 { format!("https://{name}{path}") } else { path.to_owned() };
        let request = http::Request::builder().method(method).uri(target);
        let request = if is_http2 { request } else { request.header("host", name) };
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response =
            timeout(PATIENCE, exchange(stream, is_http2, request)).await?.map_err(io::Error::other)?;
        Ok(Answer { response, ..answer })
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    is_http2: bool,
    request: http::Request<Empty<Bytes>>,
) -> hyper::Result<Response> {
    let io = TokioIo::new(stream);
    let response: http::Response<Incoming> = if is_http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
}

/// Returns an address whose connections reach `address` over TLS, so that other tests can be run over it.
pub(crate) async fn tunnel(client: &TlsClient, address: SocketAddr, name: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, client, name) = (listener.local_addr().unwrap(), client.clone(), name.to_owned());
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            let (client, name) = (client.clone(), name.clone());
            tokio::spawn(async move {
                if let Ok(mut outside) = client.connect(address, &name).await {
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                }
            });
        }
    });
    here
}
