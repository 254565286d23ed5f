//! Responses of the fast path: sends stored objects, without a copy if possible.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::write;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use yatagarasu_core::cache::entry::CacheEntry;
use yatagarasu_core::cache::segment::Segment;
use yatagarasu_core::turns::BodyTurn;
use yatagarasu_sys::pipe::{Pipe, can_share, note_refusal};
use yatagarasu_sys::shared::SharedPages;
use yatagarasu_sys::tcp::send_more;

use crate::connection::transport::Transport;
use crate::service::handler::Hit;
use crate::service::response;
use crate::telemetry::access_log::Entry;

/// Minimum number of bytes to lend at the end of an object. Fewer are copied, because that is faster than lending.
const LENT_BYTES_MIN: usize = 16 * 1024;

/// A response of the fast path that is being sent.
#[derive(Debug)]
pub(in crate::connection) struct HitWriter {
    head: Vec<u8>,
    /// Number of head bytes that were sent.
    head_sent: usize,
    stored: Arc<CacheEntry>,
    /// Number of content bytes that were sent.
    sent: u64,
    turn: BodyTurn,
    entry: Entry,
}

impl HitWriter {
    /// Creates the response for an object that is stored as a whole.
    pub(in crate::connection) fn new(hit: Hit) -> Self {
        let Hit { head, stored, mut entry } = hit;
        entry.promised(Some(stored.length()));
        Self { head, head_sent: 0, stored, sent: 0, turn: BodyTurn::default(), entry }
    }

    /// Waits until this response may send its next bytes. A socket that has no room is not waited for here, and takes no
    /// turn.
    pub(in crate::connection) fn poll_turn(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        if socket.poll_write_ready(cx).is_pending() {
            return Poll::Ready(());
        }
        self.turn.poll(cx)
    }

    /// Sends bytes and returns how many the socket took. Waits while the socket is full.
    pub(in crate::connection) fn poll_send(
        &mut self,
        transport: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let head = &self.head[self.head_sent..];
        let (segments, offset) = self.rest();
        let sent = match (segments, transport.plain()) {
            ([Segment::Pages(pages), later @ ..], Some(socket))
                if can_share() && (!later.is_empty() || pages.len() >= offset + LENT_BYTES_MIN) =>
            {
                let loan = ZeroCopyChunk { head, content: pages.share(offset), more: !later.is_empty() };
                loan.poll_send(socket, cx)
            }
            _ => {
                let content = segments.first().map_or(&[][..], |segment| &segment[offset..]);
                Pin::new(transport).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(content)])
            }
        };
        let sent = ready!(sent)?;
        let of_head = sent.min(head.len());
        let of_content = (sent - of_head) as u64;
        self.head_sent += of_head;
        self.sent += of_content;
        self.entry.sent(of_content);
        self.turn.moved(sent);
        Poll::Ready(Ok(sent))
    }

    /// Returns the segments that are not completely sent, and the number of bytes sent of the first one.
    fn rest(&self) -> (&[Segment], usize) {
        self.stored.whole().map_or((&[], 0), |segments| segments.from(self.sent))
    }

    /// Returns the object.
    pub(in crate::connection) fn stored(&self) -> &Arc<CacheEntry> {
        &self.stored
    }

    pub(in crate::connection) fn is_done(&self) -> bool {
        self.head_sent == self.head.len() && self.sent == self.stored.length()
    }

    /// Records in the access log why the client gets no more.
    pub(in crate::connection) fn cut(&mut self, reason: &str) {
        self.entry.cut(reason);
    }

    /// Ends a complete response. The next response head reuses its buffer.
    pub(in crate::connection) fn end(&mut self) {
        response::head_sent(mem::take(&mut self.head));
    }
}

/// The next bytes of a response, if the pages of their content can be lent to the kernel.
#[derive(Clone, Copy)]
struct ZeroCopyChunk<'a> {
    /// The bytes before the content. They are copied.
    head: &'a [u8],
    content: SharedPages<'a>,
    /// Whether more content follows.
    more: bool,
}

/// The number of bytes that a socket took, and whether it is full.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    More(usize),
    Full(usize),
}

impl ZeroCopyChunk<'_> {
    /// Sends the head and at most one pipe of the content. Returns the number of bytes that the socket took at once.
    fn poll_send(self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let mut sent = 0;
            let tried = socket.try_io(Interest::WRITABLE, || match self.send(socket)? {
                Taken::More(bytes) => {
                    sent = bytes;
                    Ok(())
                }
                // `WouldBlock` makes tokio wait for the socket before the next try.
                Taken::Full(bytes) => {
                    sent = bytes;
                    Err(io::ErrorKind::WouldBlock.into())
                }
            });
            match tried {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) if sent == 0 => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(sent)),
            }
        }
    }

    fn send(self, socket: &TcpStream) -> io::Result<Taken> {
        if self.head.is_empty() {
            return self.send_content(socket);
        }
        let ahead = send_more(socket, self.head)?;
        if ahead < self.head.len() {
            return Ok(Taken::Full(ahead));
        }
        match self.send_content(socket) {
            Ok(Taken::More(bytes)) => Ok(Taken::More(ahead + bytes)),
            Ok(Taken::Full(bytes)) => Ok(Taken::Full(ahead + bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Full(ahead)),
            // The next call returns the error again.
            Err(_) => Ok(Taken::More(ahead)),
        }
    }

    /// Sends the content through a pipe. Does not keep the pipe until the socket takes the rest, because that would
    /// take two more file descriptors per waiting client.
    fn send_content(self, socket: &TcpStream) -> io::Result<Taken> {
        match Pipe::of_shared(self.content) {
            // A user with very many pipes gets small ones, which are not worth the system calls.
            Ok((pipe, bytes)) if bytes >= LENT_BYTES_MIN.min(self.content.len()) => {
                self.drain(socket, pipe, bytes)
            }
            // Writes the content if it cannot be lent, for any reason.
            Ok(_) | Err(_) => Ok(Taken::More(write(socket, &self.content)?)),
        }
    }

    /// Moves the content from the pipe to the socket. A signal may also cut a move short. So the socket is full only if
    /// it says so: only then does it report when it has room again.
    fn drain(self, socket: &TcpStream, pipe: Pipe, bytes: usize) -> io::Result<Taken> {
        let more = self.more || bytes < self.content.len();
        let mut moved = 0;
        while moved < bytes {
            match pipe.drain(socket, bytes - moved, more) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(now) => moved += now,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && moved == 0 => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Full(moved)),
                // The next call returns the error again.
                Err(_) if moved > 0 => return Ok(Taken::More(moved)),
                Err(error) => {
                    let written = write(socket, &self.content)?;
                    // Reached only if the write succeeded: an error of the socket itself must not end lending.
                    note_refusal(&error);
                    return Ok(Taken::More(written));
                }
            }
        }
        pipe.give_back();
        Ok(Taken::More(moved))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};
    use yatagarasu_core::cache::segments::SegmentsBuilder;
    use yatagarasu_sys::pages::{Pages, are_shareable};

    use super::*;

    const HEAD: &[u8] = b"head";
    const LENGTH: usize = 128 * 1024;

    /// Returns the two ends of a connection. The first one takes about `buffer` bytes before the second one reads any.
    async fn connected(buffer: u32) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffer).expect("a size");
        let client = socket.connect(listener.local_addr().expect("bound")).await.expect("someone listens");
        let (server, _) = listener.accept().await.expect("someone has come");
        socket2::SockRef::from(&server).set_send_buffer_size(buffer as usize).expect("a size");
        (server, client)
    }

    fn pages() -> Arc<Pages> {
        let content: Vec<u8> = (0..LENGTH).map(|index| (index % 251).to_le_bytes()[0]).collect();
        let mut builder = SegmentsBuilder::new(Some(LENGTH as u64));
        builder.push(&content);
        match builder.finish().from(0) {
            ([Segment::Pages(pages)], 0) => Arc::clone(pages),
            other => panic!("it is not in pages: {other:?}"),
        }
    }

    fn loan(pages: &Pages) -> ZeroCopyChunk<'_> {
        ZeroCopyChunk { head: HEAD, content: pages.share(0), more: false }
    }

    #[tokio::test]
    async fn a_socket_with_room_takes_head_and_content_without_a_copy() {
        if !are_shareable() {
            return;
        }
        let (server, mut client) = connected(4 << 20).await;
        let pages = pages();
        assert_eq!(loan(&pages).send(&server).expect("it takes them"), Taken::More(HEAD.len() + LENGTH));
        let mut received = vec![0; HEAD.len() + LENGTH];
        client.read_exact(&mut received).await.expect("all comes");
        assert!(received == [HEAD, &pages].concat());
    }

    #[tokio::test]
    async fn one_with_little_room_takes_what_it_can_and_one_with_none_nothing() {
        if !are_shareable() {
            return;
        }
        let (server, mut client) = connected(16 * 1024).await;
        let pages = pages();
        let sent = match loan(&pages).send(&server) {
            Ok(Taken::Full(sent)) => sent,
            other => panic!("it takes something, and is full then: {other:?}"),
        };
        assert!((HEAD.len() + 1..HEAD.len() + LENGTH).contains(&sent), "{sent}");
        // A little room may be left or appear, although the client takes nothing.
        let error = (0..1000).find_map(|_| loan(&pages).send(&server).err()).expect("there is no room");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut received = vec![0; sent];
        client.read_exact(&mut received).await.expect("what was sent comes");
        assert!(received == [HEAD, &pages].concat()[..sent]);
    }

    #[tokio::test]
    async fn what_a_client_has_left_takes_nothing() {
        if !are_shareable() {
            return;
        }
        let (server, client) = connected(16 * 1024).await;
        drop(client);
        let pages = pages();
        // The first bytes may be sent before the reset arrives.
        let error = loop {
            match loan(&pages).send(&server) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break error,
                Ok(_) | Err(_) => {}
            }
        };
        let kind = error.kind();
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind}");
    }
}
