//! A load of hits that takes little CPU time itself. Each connection sends many requests at once and reads the
//! responses every 2 ms. Nothing wakes the load in between.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::Instant;

use super::head::Head;
use super::{Connection, Wanted, Window};

/// Requests that a connection sends at once.
const BATCH: usize = 64;

/// Pause between two passes over all connections.
const LOOK: Duration = Duration::from_millis(2);

/// Most bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Requests `wanted` in batches over all connections until the window ends. Returns the number of responses completed
/// within it.
pub(crate) async fn batches(
    connections: Vec<Connection>,
    wanted: &Wanted,
    window: Window,
) -> anyhow::Result<u64> {
    let batch = wanted.request.repeat(BATCH);
    let length = usize::try_from(wanted.object.length).context("an object too long for a batch")?;
    let clients: anyhow::Result<Vec<_>> = connections.into_iter().map(Client::new).collect();
    let mut clients = clients?;
    let running = tokio::task::spawn_blocking(move || {
        let (mut room, mut answers) = (vec![0; READ_BYTES], 0);
        loop {
            let now = Instant::now();
            if now >= window.end {
                return Ok(answers);
            }
            for client in &mut clients {
                let taken = client.look(&batch, length, &mut room)?;
                answers += if window.holds(now) { taken } else { 0 };
            }
            thread::sleep(LOOK);
        }
    });
    running.await.context("the load panicked")?
}

/// A connection and the responses it waits for.
struct Client {
    socket: TcpStream,
    /// Responses still to come.
    left: usize,
    /// Length of the last response head, in bytes.
    head: usize,
    /// Bytes of a response that is not complete yet.
    begun: Vec<u8>,
}

impl Client {
    fn new(connection: Connection) -> anyhow::Result<Self> {
        let socket = connection.into_std()?;
        Ok(Self { socket, left: 0, head: 0, begun: Vec::new() })
    }

    /// Reads all that has arrived, and sends the next batch once all responses are complete. Returns the number of
    /// responses completed.
    fn look(&mut self, batch: &[u8], length: usize, room: &mut [u8]) -> anyhow::Result<u64> {
        let mut completed = 0;
        while self.left > 0 {
            let begun = self.begun.len();
            room[..begun].copy_from_slice(&self.begun);
            let read = match self.socket.read(&mut room[begun..]) {
                Ok(0) => bail!("the connection was closed with {} answers to come", self.left),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(completed),
                Err(error) => return Err(error).context("the connection broke"),
            };
            completed += self.take(&room[..begun + read], length)?;
        }
        // The batch is far smaller than a socket's send buffer, so the non-blocking socket takes all of it.
        self.socket.write_all(batch).context("requests cannot be sent")?;
        self.left = BATCH;
        Ok(completed)
    }

    /// Counts the complete responses in `bytes` and keeps the rest in `begun`. Returns the count.
    fn take(&mut self, mut bytes: &[u8], length: usize) -> anyhow::Result<u64> {
        let mut completed = 0;
        while let Some(head) = self.head_of(bytes, length)?
            && let Some(rest) = bytes.get(head + length..)
        {
            ensure!(self.left > 0, "more answers than requests");
            self.left -= 1;
            self.head = head;
            bytes = rest;
            completed += 1;
        }
        self.begun.clear();
        self.begun.extend_from_slice(bytes);
        Ok(completed)
    }

    /// Returns the length of the response head at the front of `bytes`, or `None` if it is incomplete.
    ///
    /// Nearly all heads are as long as the previous one. If the bytes of that length begin and end like a head, they
    /// are not parsed.
    fn head_of(&self, bytes: &[u8], length: usize) -> anyhow::Result<Option<usize>> {
        let alike = |head: &[u8]| head.starts_with(b"HTTP/1.1 200 ") && head.ends_with(b"\r\n\r\n");
        if bytes.get(..self.head).is_some_and(alike) {
            return Ok(Some(self.head));
        }
        let Some(head) = Head::parse(bytes)? else { return Ok(None) };
        ensure!(head.status == 200, "status {}", head.status);
        ensure!(head.content_length == Some(length as u64), "a body of another length");
        Ok(Some(head.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn client() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (server, _) = listener.accept().unwrap();
        (Client { socket, left: 0, head: 0, begun: Vec::new() }, server)
    }

    fn answer(age: u32) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nage: {age}\r\ncontent-length: 5\r\n\r\nabcde").into_bytes()
    }

    #[test]
    fn answers_are_counted_however_they_are_cut_and_however_long_their_heads_are() {
        let whole: Vec<u8> = [9, 9, 10, 100, 7].into_iter().flat_map(answer).collect();
        for piece in 1..whole.len() {
            let (mut client, _server) = client();
            client.left = 5;
            let mut completed = 0;
            for bytes in whole.chunks(piece) {
                let bytes = [std::mem::take(&mut client.begun), bytes.to_vec()].concat();
                completed += client.take(&bytes, 5).unwrap();
            }
            assert_eq!((completed, client.left, client.begun.len()), (5, 0, 0), "{piece}");
        }
    }

    #[test]
    fn another_answer_is_refused() {
        let refused = |bytes: &[u8], left, words: &str| {
            let (mut client, _server) = client();
            client.left = left;
            let error = client.take(bytes, 5).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nabcde", 1, "status 503");
        refused(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef", 1, "another length");
        refused(&answer(1), 0, "more answers");
        refused(&[answer(1), b"HTTP/1.0 200 OK\r\n\r\n".to_vec()].concat(), 2, "no status line");
    }

    #[test]
    fn the_next_batch_is_sent_when_the_last_was_answered() {
        let (mut client, mut server) = client();
        let mut room = vec![0; READ_BYTES];
        assert_eq!(client.look(b"batch", 5, &mut room).unwrap(), 0);
        assert_eq!(client.left, BATCH);
        server.write_all(&answer(1).repeat(BATCH)).unwrap();
        client.socket.set_nonblocking(false).unwrap();
        assert_eq!(client.look(b"again", 5, &mut room).unwrap(), BATCH as u64);
        let mut asked = [0; 10];
        server.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"batchagain");
        drop(server);
        assert!(client.look(b"", 5, &mut room).unwrap_err().to_string().contains("was closed"));
    }
}
