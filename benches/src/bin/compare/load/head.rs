//! The parts of a response head that the load needs.

use anyhow::{Context, ensure};

/// Longest head that is accepted, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A response head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Length of the body in bytes, if `Content-Length` gives it.
    pub(super) content_length: Option<u64>,
    /// Whether the connection ends with the response.
    pub(super) closes: bool,
    /// Length of the head in bytes, including the empty line.
    pub(super) bytes: usize,
}

impl Head {
    /// Parses the head at the front of `bytes`. Returns `None` if it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(bytes.len() < HEAD_BYTES_MAX, "a response head of more than {HEAD_BYTES_MAX} bytes");
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("a response head that is no text")?;
        let mut lines = text.lines();
        let status = lines.next().and_then(status).context("no status line")?;
        let mut head = Self { status, content_length: None, closes: false, bytes: end + 4 };
        for line in lines {
            let (name, value) = line.split_once(':').context("a line of a response head that is no field")?;
            let value = value.trim_ascii();
            if name.eq_ignore_ascii_case("content-length") {
                head.content_length = Some(value.parse().context("a content length that is no number")?);
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}

fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<&Head>) {
        assert_eq!(Head::parse(bytes.as_bytes()).ok().flatten().as_ref(), expected, "{bytes:?}");
    }

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let whole =
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 10\r\nConnection: keep-alive\r\n\r\nbody";
        for end in 0..whole.len() - 4 {
            check(&whole[..end], None);
        }
        let bytes = whole.len() - 4;
        check(whole, Some(&Head { status: 200, content_length: Some(10), closes: false, bytes }));
    }

    #[test]
    fn fields_are_known_in_any_case() {
        let text = "HTTP/1.1 503 \r\nCONTENT-LENGTH:0\r\nConnection: Close\r\n\r\n";
        check(text, Some(&Head { status: 503, content_length: Some(0), closes: true, bytes: text.len() }));
        let text = "HTTP/1.1 200 OK\r\n\r\n";
        check(text, Some(&Head { status: 200, content_length: None, closes: false, bytes: text.len() }));
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 ok\r\n\r\n", "HTTP/1.1 200 OK\r\nno field\r\n\r\n"] {
            assert!(Head::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").is_err());
        assert!(Head::parse(&vec![b'x'; HEAD_BYTES_MAX]).is_err());
    }
}
