//! A response as it arrives, checked against the expected object.

use anyhow::{Context, bail, ensure};

use super::head::Head;
use crate::source::{Cursor, Object};

/// How closely a body is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// Checks its length.
    Length,
    /// Checks each of its bytes.
    Bytes,
}

/// A response that is being received.
#[derive(Debug)]
pub(crate) struct Response {
    object: Object,
    checking: Checking,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes of a head that is not complete yet.
    Head(Vec<u8>),
    /// The part of the body still to come.
    Body(Cursor),
}

impl Response {
    /// Expects the whole of `object`.
    pub(crate) fn new(object: Object, checking: Checking) -> Self {
        // An empty vector allocates no memory.
        Self { object, checking, state: State::Head(Vec::new()) }
    }

    /// Processes received bytes. Returns whether the response is complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<bool> {
        match &mut self.state {
            State::Body(_) => self.body(bytes),
            State::Head(begun) if begun.is_empty() => match Head::parse(bytes)? {
                None => {
                    begun.extend_from_slice(bytes);
                    Ok(false)
                }
                Some(head) => {
                    let body = &bytes[head.bytes..];
                    self.begin(&head)?;
                    self.body(body)
                }
            },
            State::Head(begun) => {
                let before = begun.len();
                begun.extend_from_slice(bytes);
                let Some(head) = Head::parse(begun)? else { return Ok(false) };
                // The head was incomplete before, so it ends within `bytes`.
                let body = &bytes[head.bytes - before..];
                self.begin(&head)?;
                self.body(body)
            }
        }
    }

    /// Returns the number of body bytes received so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        match &self.state {
            State::Head(_) => 0,
            State::Body(cursor) => self.object.length - cursor.left(),
        }
    }

    fn begin(&mut self, head: &Head) -> anyhow::Result<()> {
        ensure!(head.status == 200, "status {}", head.status);
        ensure!(!head.closes, "the connection ends with the response");
        let length = head.content_length.context("a response without Content-Length")?;
        ensure!(length == self.object.length, "{length} bytes instead of {}", self.object.length);
        self.state = State::Body(self.object.bytes());
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> anyhow::Result<bool> {
        let State::Body(cursor) = &mut self.state else { bail!("a body without a head") };
        ensure!(bytes.len() as u64 <= cursor.left(), "more bytes than Content-Length says");
        match self.checking {
            Checking::Length => cursor.advance(bytes.len()),
            Checking::Bytes => {
                let left = cursor.left();
                ensure!(cursor.passes(bytes), "wrong bytes with {left} to come");
            }
        }
        Ok(cursor.left() == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    fn object() -> Object {
        Object::of("1k").unwrap()
    }

    fn whole() -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 2];
        let named = object().bytes().name(&mut slices);
        let mut whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n".to_vec();
        for slice in &slices[..named] {
            whole.extend_from_slice(slice);
        }
        whole
    }

    #[test]
    fn a_response_is_complete_with_its_last_byte_however_it_is_cut() {
        let whole = whole();
        for piece in [1, 2, 3, 17, 40, 41, 100, whole.len()] {
            for checking in [Checking::Length, Checking::Bytes] {
                let mut response = Response::new(object(), checking);
                let mut taken = 0;
                for bytes in whole.chunks(piece) {
                    taken += bytes.len();
                    assert_eq!(response.take(bytes).unwrap(), taken == whole.len(), "{piece} {taken}");
                }
                assert_eq!(response.body_bytes(), 1024);
            }
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], checking: Checking, words: &str) {
        let error = Response::new(object(), checking).take(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn another_response_is_refused() {
        let length = Checking::Length;
        refused(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", length, "status 503");
        refused(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", length, "9 bytes instead of 1024");
        refused(b"HTTP/1.1 200 OK\r\n\r\n", length, "without Content-Length");
        refused(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", length, "connection ends");
        let longer = [&whole()[..], b"x"].concat();
        refused(&longer, length, "more bytes");
    }

    #[test]
    fn wrong_bytes_are_seen_where_they_are_looked_at() {
        let mut wrong = whole();
        wrong[500] ^= 1;
        refused(&wrong, Checking::Bytes, "wrong bytes");
        assert!(Response::new(object(), Checking::Length).take(&wrong).unwrap());
    }
}
