//! Connections to S3: pooled HTTP/1.1, with or without TLS.
//!
//! The [`connector`] opens a [`socket`] to an address that [`resolve`] finds, and the [`pool`] keeps it between
//! requests. An [`exchange`] writes a [`request`] and reads a [`head`](head). The consumer of the [`body`] reads it
//! directly from the socket, a buffer at a time.

pub(crate) mod body;
pub(crate) mod connector;
mod exchange;
mod head;
mod pool;
mod request;
mod resolve;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use yatagarasu_core::SourceError;

use body::BodyReader;
use connector::{Connector, TlsError};
use exchange::{Failure, exchange};
use pool::Pool;

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
    /// Creates a transport without TLS, for `http://` endpoints. `receive_buffer` is the size of a connection's
    /// receive buffer in bytes, or `None` if the operating system chooses it.
    pub(crate) fn plain(connect_timeout: Duration, receive_buffer: Option<usize>) -> Self {
        Self { connector: Connector::plain(connect_timeout, receive_buffer), pool: Arc::default() }
    }

    /// Creates a transport with TLS. It trusts the certificates of the operating system, or those in `SSL_CERT_FILE`.
    pub(crate) fn tls(connect_timeout: Duration, receive_buffer: Option<usize>) -> Result<Self, TlsError> {
        Ok(Self { connector: Connector::tls(connect_timeout, receive_buffer)?, pool: Arc::default() })
    }

    /// Sends a request and waits for the response head.
    ///
    /// If a reused connection fails soon and before any byte of a response, the request is sent once more on a new
    /// connection. The server had most likely closed the old one while it was idle. Every request made here may be
    /// repeated (RFC 9110 9.2.2).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body before its end, closes the connection.
    pub(crate) async fn send(&self, request: Request<()>) -> Result<Response<BodyReader>, SourceError> {
        let head = request::head(&request);
        if let Some(connection) = self.pool.take() {
            let sent = Instant::now();
            match exchange(connection, &head, request.method()).await {
                Ok(response) => return Ok(response),
                Err(Failure::Unanswered(error)) if sent.elapsed() < REPEATED_WITHIN => {
                    tracing::debug!(%error, "an idle connection had been closed: the request is sent again");
                }
                Err(failure) => return Err(failure.into_source_error()),
            }
        }
        let socket = self.connector.connect(request.uri()).await?;
        let connection = self.pool.adopt(socket);
        exchange(connection, &head, request.method()).await.map_err(Failure::into_source_error)
    }
}
