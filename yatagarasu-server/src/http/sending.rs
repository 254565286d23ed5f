use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use yatagarasu_core::stored::{Pages, Segment};

use super::pipe::{Pipe, lends, note_refusal, send_ahead};
use super::response;
use crate::access_log::Entry;

/// An answer of the express lane on its way.
#[derive(Debug)]
pub(super) struct Sending {
    head: Vec<u8>,
    content: Segment,
    /// Bytes of the head, and then of the content, that are sent.
    sent: usize,
    entry: Entry,
}

impl Sending {
    pub(super) fn new(head: Vec<u8>, content: Segment, mut entry: Entry) -> Self {
        entry.promised(Some(content.len() as u64));
        Self { head, content, sent: 0, entry }
    }

    /// Waits until the socket takes more; says how much that was.
    pub(super) fn poll_send(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = match &self.content {
            Segment::Pages(pages) if self.sent == 0 && lends() => poll_lend(socket, cx, &self.head, pages),
            Segment::Pages(_) | Segment::Heap(_) => Pin::new(socket).poll_write_vectored(cx, &self.slices()),
        };
        let sent = ready!(sent)?;
        let of_head = sent.min(self.head.len().saturating_sub(self.sent));
        self.entry.sent((sent - of_head) as u64);
        self.sent += sent;
        Poll::Ready(Ok(sent))
    }

    /// What is not sent.
    fn slices(&self) -> [IoSlice<'_>; 2] {
        match self.head.get(self.sent..) {
            Some(head) => [IoSlice::new(head), IoSlice::new(&self.content)],
            None => [IoSlice::new(&[]), IoSlice::new(&self.content[self.sent - self.head.len()..])],
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent == self.head.len() + self.content.len()
    }

    /// Ends what is done: the next head is written in the room of this one.
    pub(super) fn end(&mut self) {
        response::head_sent(mem::take(&mut self.head));
    }
}

/// Sends a head and, as far as the socket takes it at once, what is in `pages` without a copy. The rest is for writing:
/// a pipe that waited for its client would be two open files more.
fn poll_lend(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    head: &[u8],
    pages: &Pages,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || lend(socket, head, pages)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

fn lend(socket: &TcpStream, head: &[u8], pages: &Pages) -> io::Result<usize> {
    let sent = send_ahead(socket, head)?;
    if sent < head.len() {
        return Ok(sent);
    }
    // Whatever keeps the content from being lent, it is written then.
    Ok(sent + lend_content(socket, pages).unwrap_or_default())
}

fn lend_content(socket: &TcpStream, pages: &Pages) -> io::Result<usize> {
    let (pipe, bytes) = Pipe::holding(pages)?;
    let moved = pipe.drain(socket, bytes).inspect_err(note_refusal)?;
    if moved == bytes {
        pipe.give_back();
    }
    Ok(moved)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};
    use yatagarasu_core::stored::SegmentsBuilder;

    use super::*;

    const HEAD: &[u8] = b"head";
    const LENGTH: usize = 128 * 1024;

    /// The two ends of a connection, the first of which takes about so many bytes before the second reads any.
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
        match builder.finish().single() {
            Some(Segment::Pages(pages)) => Arc::clone(pages),
            other => panic!("it is not in pages: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_socket_with_room_takes_head_and_content_without_a_copy() {
        let (server, mut client) = connected(4 << 20).await;
        let pages = pages();
        assert_eq!(lend(&server, HEAD, &pages).expect("it takes them"), HEAD.len() + LENGTH);
        let mut received = vec![0; HEAD.len() + LENGTH];
        client.read_exact(&mut received).await.expect("all comes");
        assert!(received == [HEAD, &pages].concat());
    }

    #[tokio::test]
    async fn one_with_little_room_takes_what_it_can_and_one_with_none_nothing() {
        let (server, mut client) = connected(16 * 1024).await;
        let pages = pages();
        let sent = lend(&server, HEAD, &pages).expect("it takes something");
        assert!((HEAD.len() + 1..HEAD.len() + LENGTH).contains(&sent), "{sent}");
        // Some room may be left or come, but the client takes nothing.
        let error = (0..1000).find_map(|_| lend(&server, HEAD, &pages).err()).expect("there is no room");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut received = vec![0; sent];
        client.read_exact(&mut received).await.expect("what was sent comes");
        assert!(received == [HEAD, &pages].concat()[..sent]);
    }

    #[tokio::test]
    async fn what_a_client_has_left_takes_nothing() {
        let (server, client) = connected(16 * 1024).await;
        drop(client);
        let pages = pages();
        // The first may be sent before the answer to it comes.
        let error = loop {
            match lend(&server, HEAD, &pages) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break error,
                Ok(_) | Err(_) => {}
            }
        };
        let kind = error.kind();
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind}");
    }
}
