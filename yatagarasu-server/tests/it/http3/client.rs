//! A client that speaks HTTP/3.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use h3::client::{RequestStream, SendRequest};
use h3::error::{Code, ConnectionError, StreamError};
use h3_quinn::OpenStreams;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig, VarInt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Response;

/// The name that the client asks for.
pub(crate) const NAME: &str = "www.example";

/// A stream of a request, on which the response comes.
pub(crate) type Exchange = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A connection of HTTP/3.
pub(crate) struct Http3 {
    sender: SendRequest<OpenStreams, Bytes>,
    pub(crate) connection: quinn::Connection,
    pub(crate) endpoint: Endpoint,
    /// Ends with the reason why the connection has ended.
    pub(crate) driver: JoinHandle<ConnectionError>,
}

/// How a client connects.
pub(crate) struct Dial {
    pub(crate) trusted: CertificateDer<'static>,
    /// The certificate that it shows if it is asked for one.
    pub(crate) shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    pub(crate) protocol: &'static [u8],
    pub(crate) transport: TransportConfig,
    /// The socket that it uses, if it is not a new one.
    pub(crate) endpoint: Option<Endpoint>,
}

impl Dial {
    pub(crate) fn trusting(certificate: &CertificateDer<'static>) -> Self {
        Self {
            trusted: certificate.clone(),
            shown: None,
            protocol: b"h3",
            transport: TransportConfig::default(),
            endpoint: None,
        }
    }

    /// Lets the server send this many bytes of a stream before it must wait for the client.
    pub(crate) fn window(mut self, bytes: u32) -> Self {
        self.transport.stream_receive_window(VarInt::from(bytes));
        self
    }

    /// Connects from the port of another connection.
    pub(crate) fn over(mut self, client: &Http3) -> Self {
        self.endpoint = Some(client.endpoint.clone());
        self
    }

    /// Makes a connection of QUIC.
    pub(crate) async fn quic(self, address: SocketAddr) -> io::Result<(Endpoint, quinn::Connection)> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.trusted).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        };
        config.alpn_protocols = vec![self.protocol.to_vec()];
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        config.transport_config(Arc::new(self.transport));
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?,
        };
        let connecting = endpoint.connect_with(config, address, NAME).unwrap();
        let connection = timeout(PATIENCE, connecting).await?.map_err(io::Error::other)?;
        Ok((endpoint, connection))
    }

    /// Connects.
    pub(crate) async fn http3(self, address: SocketAddr) -> io::Result<Http3> {
        let (endpoint, connection) = self.quic(address).await?;
        let quic = h3_quinn::Connection::new(connection.clone());
        let (mut driver, sender) = h3::client::new(quic).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Ok(Http3 { sender, connection, endpoint, driver })
    }
}

impl Http3 {
    /// Returns the sender of requests.
    pub(crate) fn requests(&mut self) -> &mut SendRequest<OpenStreams, Bytes> {
        &mut self.sender
    }

    /// Sends a request head, and no content.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Exchange> {
        let mut request = http::Request::builder().method(method).uri(format!("https://{NAME}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut stream =
            self.sender.send_request(request.body(()).unwrap()).await.map_err(io::Error::other)?;
        // RFC 9114 4.1: a server that has answered may not want the rest of the request.
        match stream.finish().await {
            Err(StreamError::RemoteTerminate { code: Code::H3_NO_ERROR, .. }) | Ok(()) => Ok(stream),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Sends a request. Returns the whole response.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        let stream = self.begin(method, path, headers).await?;
        timeout(PATIENCE, whole(stream)).await?
    }

    /// Sends a GET. Returns the whole response.
    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send("GET", path, &[]).await
    }
}

/// Reads a whole response.
pub(crate) async fn whole(mut stream: Exchange) -> io::Result<Response> {
    let head = stream.recv_response().await.map_err(io::Error::other)?;
    let mut body = BytesMut::new();
    while let Some(mut part) = stream.recv_data().await.map_err(io::Error::other)? {
        while part.has_remaining() {
            let length = part.chunk().len();
            body.extend_from_slice(part.chunk());
            part.advance(length);
        }
    }
    let headers = head.headers().clone();
    Ok(Response { status: head.status().as_u16(), headers, body: body.freeze() })
}
