//! Heads of HTTP/1.1 messages (RFC 9112).

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Reads the head of a message, without the empty line at its end. Returns `None` if the connection ends before.
pub(crate) async fn read_head(socket: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_until(b'\n', &mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    head.truncate(head.len() - 4);
    Some(head)
}

/// Returns the first line, and the lines after it.
pub(crate) fn first_line(lines: &[u8]) -> (&[u8], &[u8]) {
    let end = lines.windows(2).position(|pair| pair == b"\r\n").unwrap_or(lines.len());
    let (line, rest) = lines.split_at(end);
    (line, rest.strip_prefix(b"\r\n").unwrap_or(rest))
}

/// Parses header fields, one on each line.
pub fn fields(mut lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    while !lines.is_empty() {
        let (line, rest) = first_line(lines);
        let colon = line.iter().position(|byte| *byte == b':').expect("a field");
        let name = HeaderName::from_bytes(&line[..colon]).expect("a field's name");
        let value = line[colon + 1..].trim_ascii();
        fields.append(name, HeaderValue::from_bytes(value).expect("a field's value"));
        lines = rest;
    }
    fields
}
