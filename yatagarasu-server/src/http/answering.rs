//! The body of a response as hyper takes it: its request is being answered for as long as it lasts.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use yatagarasu_core::SourceError;

use super::activity::Running;
use super::body::ResponseBody;
use super::limits::STREAM_PIECE_BYTES;
use super::outlet::Flow;
use super::stream::Stream;

/// The body of a response. Dropped when the client has it all, or leaves, or takes nothing for too long.
#[derive(Debug)]
pub(super) struct AnsweringBody {
    body: ResponseBody,
    running: Running,
    /// Dropped after the body, so that the memory of S3's socket is given back when the socket is closed.
    way: Way,
}

/// How the bytes get to the client.
#[derive(Debug)]
pub(super) enum Way {
    /// Over HTTP/1, maybe past the process.
    Connection(Flow),
    /// Over HTTP/2, in pieces: the rest of what the body gave is handed over piece by piece.
    Stream { stream: Arc<Stream>, rest: Bytes },
}

impl AnsweringBody {
    pub(super) fn new(body: ResponseBody, running: Running, way: Way) -> Self {
        Self { body, running, way }
    }

    fn is_cut(&self) -> bool {
        self.running.activity().is_cut() || matches!(&self.way, Way::Stream { stream, .. } if stream.is_cut())
    }
}

impl Body for AnsweringBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let Self { body, way, .. } = &mut *self;
        let item = match way {
            Way::Connection(flow) => ready!(body.poll_next(Some(flow), cx)),
            Way::Stream { stream, rest } => {
                stream.ask();
                let item = ready!(poll_piece(body, rest, cx));
                if item.is_some() {
                    stream.give();
                }
                item
            }
        };
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
    /// Returns the bytes still to come, if that is known.
    fn remaining(&self) -> Option<u64> {
        let given = match &self.way {
            Way::Connection(_) => 0,
            Way::Stream { rest, .. } => rest.len() as u64,
        };
        Some(self.body.remaining()? + given)
    }
}

impl Drop for AnsweringBody {
    fn drop(&mut self) {
        if self.is_cut() {
            self.body.cut();
        }
    }
}

/// Waits for the next bytes, and hands over no more of them than a piece. hyper holds a piece until h2 takes it: so
/// little is held for a client that takes nothing, and what it takes is seen.
///
/// h2 holds the last piece when the response has ended here. It is a copy, so that it keeps nothing else in memory: a
/// slice of a stored object keeps 256 KiB.
fn poll_piece(
    body: &mut ResponseBody,
    rest: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, SourceError>>> {
    if rest.is_empty() {
        match ready!(body.poll_next(None, cx)) {
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
