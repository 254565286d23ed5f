//! Sends one request on one connection and reads the response head.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use http::{Method, Response};
use yatagarasu_core::{SourceError, innermost};

use crate::http_client::body::BodyReader;
use crate::http_client::body::buffer::ReadBuffer;
use crate::http_client::head::{HEAD_BYTES_MAX, Parsed, parse, too_large};
use crate::http_client::pool::Connection;
use crate::http_client::socket::closed;

/// An error before the response head is complete.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection failed or was closed before any byte of a response arrived.
    Unanswered(io::Error),
    /// The first bytes on a reused connection are not those of a response.
    Nonsense(SourceError),
    /// The bytes received are not a valid, complete response head.
    Broken(SourceError),
}

impl Failure {
    pub(super) fn into_source_error(self) -> SourceError {
        match self {
            Self::Unanswered(error) => no_response(error),
            Self::Nonsense(error) | Self::Broken(error) => error,
        }
    }
}

/// Sends a request and waits for the response head. `request` is the serialized request head.
///
/// If the whole body arrived with the head, the connection is returned to the pool at once.
pub(super) async fn exchange(
    mut connection: Connection,
    request: &[u8],
    method: &Method,
) -> Result<Response<BodyReader>, Failure> {
    let reused = connection.reused;
    let socket = &mut connection.socket;
    socket.write_all(request).await.map_err(Failure::Unanswered)?;
    let mut chunk = poll_fn(|cx| ReadBuffer::poll_read(socket, cx)).await.map_err(Failure::Unanswered)?;
    if chunk.is_empty() {
        return Err(Failure::Unanswered(closed()));
    }
    let mut interim = 0;
    let head = loop {
        let parsed = parse(chunk.filled(), method);
        match parsed.map_err(if reused && interim == 0 { Failure::Nonsense } else { Failure::Broken })? {
            Parsed::Final(length, head) => {
                chunk.skip(length);
                break head;
            }
            Parsed::Interim(length) => {
                interim += length;
                if interim > HEAD_BYTES_MAX {
                    return Err(Failure::Broken(too_large()));
                }
                chunk.skip(length);
            }
            Parsed::Partial => {
                if !chunk.make_room(HEAD_BYTES_MAX) {
                    return Err(Failure::Broken(too_large()));
                }
                if reused {
                    socket.acknowledge_at_once();
                }
                let read = poll_fn(|cx| chunk.poll_more(socket, cx)).await;
                if read.map_err(no_response).map_err(Failure::Broken)? == 0 {
                    return Err(Failure::Broken(no_response(closed())));
                }
            }
        }
    };
    connection.persists = head.persists;
    let content = BodyReader::begin(connection, head.framing, chunk).map_err(Failure::Broken)?;
    let mut response = Response::new(content);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

fn no_response(error: io::Error) -> SourceError {
    let reason = format!("no response: {}", innermost(&error));
    SourceError::broken(reason).caused_by(Arc::new(error))
}
