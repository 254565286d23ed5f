//! Connections to S3: pooled HTTP/1.1, with or without TLS.
//!
//! A body is read by who takes it, a buffer at a time, straight from the socket. What leaves this module are
//! a response head and a stream of bytes.

pub(crate) mod body;
mod cause;
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

use body::ResponseBody;
use connector::{Connector, TlsError};
use exchange::{Failure, exchange};
use pool::Pool;

/// A connection that fails later than this was open, and S3 may be at work for the request.
const REPEATED_WITHIN: Duration = Duration::from_secs(1);

/// Opens connections to one server, and keeps those that wait for a request.
#[derive(Debug)]
pub(crate) struct Transport {
    connector: Connector,
    pool: Arc<Pool>,
}

impl Transport {
    /// Connections without TLS, for `http://` endpoints. `receive_buffer` is the size of the system's buffer
    /// for what a connection receives, where the system is not to choose it.
    pub(crate) fn plain(connect_timeout: Duration, receive_buffer: Option<usize>) -> Self {
        Self { connector: Connector::plain(connect_timeout, receive_buffer), pool: Arc::default() }
    }

    /// Connections with TLS that trust the certificates the system trusts, or those in `SSL_CERT_FILE`.
    pub(crate) fn tls(connect_timeout: Duration, receive_buffer: Option<usize>) -> Result<Self, TlsError> {
        Ok(Self { connector: Connector::tls(connect_timeout, receive_buffer)?, pool: Arc::default() })
    }

    /// Sends a request and waits for the response head.
    ///
    /// A request that soon gets no answer on a connection used before is sent once more on a new one: the old one had
    /// been closed while it waited, as far as can be known, and every request made here may be repeated (RFC 9110
    /// 9.2.2).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the body before its end, closes the connection.
    pub(crate) async fn send(&self, request: Request<()>) -> Result<Response<ResponseBody>, SourceError> {
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
