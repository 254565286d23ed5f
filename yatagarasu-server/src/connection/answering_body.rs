//! The response body as each version of HTTP polls it. Its request counts as running until the body is dropped.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, StatusCode, Version, response};
use http_body::{Body, Frame, SizeHint};
use yatagarasu_core::http::validator::date_field;
use yatagarasu_core::{Clock, SourceError, SystemClock};

use crate::connection::limits::{CUT, STREAM_PIECE_BYTES};
use crate::connection::splice::stream::SpliceStream;
use crate::connection::state::{InFlight, Order};
use crate::connection::stream::Stream;
use crate::service::body::ResponseBody;

/// The body of a response. Dropped when the client has all of it, disconnects, or takes nothing for too long.
#[derive(Debug)]
pub(super) struct AnsweringBody {
    body: ResponseBody,
    running: InFlight,
    /// Declared after the body to be dropped after it: the memory reserved for S3's socket is released once that is
    /// closed.
    way: Way,
}

/// The route of the bytes to the client.
#[derive(Debug)]
pub(super) enum Way {
    /// Over HTTP/1. The bytes may bypass the process.
    Connection { stream: SpliceStream, version: Version },
    /// Over HTTP/2 or HTTP/3, piece by piece. `rest` is the part of the last chunk that has not been returned.
    Stream { stream: Arc<Stream>, rest: Bytes },
}

impl AnsweringBody {
    pub(super) fn new(body: ResponseBody, running: InFlight, way: Way) -> Self {
        Self { body, running, way }
    }

    fn is_cut(&self) -> bool {
        self.running.state().is_cut() || matches!(&self.way, Way::Stream { stream, .. } if stream.is_cut())
    }
}

impl Body for AnsweringBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let Self { body, way, running } = &mut *self;
        let item = match way {
            Way::Connection { stream, version } => {
                let item = ready!(body.poll_next_by(cx, |object, cx| stream.poll_next(object, cx)));
                // The end of the connection is the end of the body, so that only a reset tells that it broke off.
                if *version == Version::HTTP_10 && matches!(item, Some(Err(_))) {
                    running.state().tell(Order::Cut);
                }
                item
            }
            Way::Stream { stream, rest } => {
                stream.ask();
                let item = ready!(poll_piece(body, rest, cx));
                if item.is_some() {
                    stream.give();
                }
                item
            }
        };
        if !matches!(item, Some(Ok(_))) {
            running.end();
        }
        Poll::Ready(item.map(|item| item.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl AnsweringBody {
    /// Returns the number of bytes still to come, if it is known.
    fn remaining(&self) -> Option<u64> {
        let given = match &self.way {
            Way::Connection { .. } => 0,
            Way::Stream { rest, .. } => rest.len() as u64,
        };
        Some(self.body.remaining()? + given)
    }
}

impl Drop for AnsweringBody {
    fn drop(&mut self) {
        if self.is_cut() {
            self.body.cut(CUT);
        }
        // hyper does not ask for the end of a body whose length it knows.
        if self.remaining() == Some(0) {
            self.running.end();
        }
        if let Way::Connection { stream, .. } = &self.way
            && let Some(entry) = self.body.take_entry()
        {
            stream.end(entry);
        }
    }
}

/// Completes the head of a response over HTTP/2 or HTTP/3, as hyper does over HTTP/1: with the length of the body, if it is
/// known, and the date.
pub(super) fn complete(head: &mut response::Parts, body: &AnsweringBody, method: &Method) {
    if let Some(length) = body.remaining()
        && (length > 0 || *method != Method::HEAD)
        && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status)
    {
        head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    head.headers.entry(DATE).or_insert_with(|| date_field(SystemClock.date()));
}

/// Returns the next bytes of the body, at most one piece. It is held until the client's windows cover it. Small pieces bound the
/// memory that a stalled client holds, and show the progress of a slow one.
///
/// Returns a copy for the last piece, because h2 still holds it after the response has ended here. A slice of a stored
/// object would keep 256 KiB in memory.
fn poll_piece(
    body: &mut ResponseBody,
    rest: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, SourceError>>> {
    if rest.is_empty() {
        match ready!(body.poll_next(cx)) {
            Some(Ok(bytes)) => *rest = bytes,
            item => return Poll::Ready(item),
        }
    }
    let piece = if rest.len() <= STREAM_PIECE_BYTES && body.remaining() == Some(0) {
        Bytes::copy_from_slice(&mem::take(rest))
    } else {
        rest.split_to(rest.len().min(STREAM_PIECE_BYTES))
    };
    Poll::Ready(Some(Ok(piece)))
}
