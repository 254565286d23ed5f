//! Connections to S3: pooled HTTP/1.1, with or without TLS.
//!
//! The [`connector`] opens a [`socket`], directly or through a [`proxy`], with [`tls`] or without it: [`resolve`] finds
//! the addresses of a host, and [`dial`] connects to one of them. The [`pool`] keeps it between requests, and bounds
//! the number of sockets. An [`exchange`] writes a [`request`] and reads a [`head`](head). The consumer of the [`body`]
//! reads it directly from the socket, a buffer at a time.

pub(crate) mod body;
pub(crate) mod connector;
mod dial;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod head;
mod pool;
mod proxy;
pub(crate) mod request;
mod resolve;
mod socket;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use yatagarasu_core::{SourceError, Traffic};

use body::BodyReader;
use connector::Connector;
use exchange::{Failure, exchange};
use pool::Pool;
pub(crate) use proxy::is_always_direct;
use tls::TlsError;

use crate::config::SourceConfig;

/// Time within which a failed request on a reused connection is sent again. After a later failure the connection was
/// open, and S3 may be processing the request.
const REPEATED_WITHIN: Duration = Duration::from_secs(1);

/// Opens connections to one server, and pools the idle ones.
#[derive(Debug)]
pub(crate) struct Transport {
    connector: Connector,
    pool: Arc<Pool>,
}

impl Transport {
    /// Creates the transport of a bucket. `is_tls` says whether its server speaks TLS.
    pub(crate) fn new(config: &SourceConfig, is_tls: bool) -> Result<Self, TlsError> {
        let pool = Pool::new(config.connections_max, config.connect_timeout);
        Ok(Self { connector: Connector::new(config, is_tls)?, pool })
    }

    /// Sends a request and waits for the response head.
    ///
    /// If a reused connection fails soon and before any byte of a response, the request is sent once more on a new
    /// connection. The server had most likely closed the old one while it was idle. The same happens if what arrives
    /// belongs to nobody: bytes that are no response, or a 408, which a server or a proxy sends on an idle connection
    /// (RFC 9110 15.5.9). Every request made here may be repeated (RFC 9110 9.2.2).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body before its end, closes the connection.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        traffic: Traffic,
    ) -> Result<Response<BodyReader>, SourceError> {
        let uri = request.uri();
        let proxy = self.connector.proxy(uri).filter(|_| uri.scheme() == Some(&Scheme::HTTP));
        let head = request::head(&request, proxy.as_ref());
        let server = uri.authority().cloned().unwrap_or_else(|| Authority::from_static("localhost"));
        let turn = self.pool.turn(traffic).await?;
        if let Some(connection) = self.pool.take(&server, &turn) {
            let sent = Instant::now();
            match exchange(connection, &head, request.method()).await {
                Ok(response) if response.status() == StatusCode::REQUEST_TIMEOUT => {
                    tracing::debug!(%server, "an idle connection had timed out: the request is sent again");
                }
                Ok(response) => return Ok(response),
                Err(Failure::Unanswered(error)) if sent.elapsed() < REPEATED_WITHIN => {
                    tracing::debug!(%server, %error, "an idle connection was closed: the request is sent again");
                }
                Err(Failure::Nonsense(error)) => {
                    tracing::debug!(%server, %error, "an idle connection held an unexpected response: the request is sent again");
                }
                Err(failure) => return Err(failure.into_source_error()),
            }
        }
        self.pool.make_room();
        let socket = self.connector.connect(uri).await?;
        let connection = self.pool.adopt(socket, server, &turn);
        exchange(connection, &head, request.method()).await.map_err(Failure::into_source_error)
    }
}
