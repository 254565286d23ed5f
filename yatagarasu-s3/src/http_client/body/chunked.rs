//! Decodes chunked bodies (RFC 9112 7.1).

use httparse::Status;

/// Maximum length of a line outside of chunks, in bytes. Chunk extensions and trailers are ignored, so no long line
/// is needed.
const LINE_BYTES_MAX: usize = 1024;

/// Maximum size of all chunk extensions together, in bytes.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Length of the CRLF at the end of a line, in bytes.
const LINE_END: usize = 2;

/// Maximum size of all trailers together, in bytes.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// The result of passing received bytes to a body.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http_client) struct Accepted {
    /// Number of content bytes. They are at the front of the buffer.
    pub(in crate::http_client) content: usize,
    /// Whether the body ends with these bytes.
    pub(in crate::http_client) ended: bool,
    /// Whether more bytes follow that are not part of the body.
    pub(in crate::http_client) surplus: bool,
}

/// Decodes the chunks of a body, wherever reads have split them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http_client) struct Decoder {
    next: Next,
    /// Remaining budget for extensions, in bytes.
    extensions: usize,
    /// The beginning of a line that is not complete yet.
    line: Vec<u8>,
}

/// The next element of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The line with a chunk's size.
    Size,
    /// This many bytes of a chunk.
    BodyReader(u64),
    /// The line end after a chunk.
    LineEnd,
    /// Trailers, with the remaining budget in bytes, and an empty line.
    Trailers(usize),
    /// Nothing: the body has ended.
    End,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { next: Next::Size, extensions: EXTENSION_BYTES_MAX, line: Vec::new() }
    }
}

impl Decoder {
    /// Decodes bytes as received, and moves their content together at the front.
    pub(in crate::http_client) fn accept(&mut self, bytes: &mut [u8]) -> Result<Accepted, &'static str> {
        let (mut at, mut content) = (0, 0);
        while at < bytes.len() {
            match self.next {
                Next::BodyReader(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    bytes.copy_within(at..at + length, content);
                    at += length;
                    content += length;
                    let left = left - length as u64;
                    self.next = if left == 0 { Next::LineEnd } else { Next::BodyReader(left) };
                }
                Next::Size | Next::LineEnd | Next::Trailers(_) => at += self.read_line(&bytes[at..])?,
                Next::End => break,
            }
        }
        Ok(Accepted { content, ended: self.next == Next::End, surplus: at < bytes.len() })
    }

    /// Reads up to the end of a line or of `bytes`. Returns the number of bytes read.
    fn read_line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + length > LINE_BYTES_MAX {
            return Err("a line between chunks is too long");
        }
        self.line.extend_from_slice(&bytes[..length]);
        if end.is_some() {
            self.end_line()?;
        }
        Ok(length)
    }

    fn end_line(&mut self) -> Result<(), &'static str> {
        let blank = self.line == b"\r\n";
        self.next = match self.next {
            Next::Size => {
                let behind_size = self.line.iter().skip_while(|byte| byte.is_ascii_hexdigit()).count();
                let extension = behind_size.saturating_sub(LINE_END);
                self.extensions =
                    self.extensions.checked_sub(extension).ok_or("the extensions are too large")?;
                match size(&self.line)? {
                    0 => Next::Trailers(TRAILER_BYTES_MAX),
                    size => Next::BodyReader(size),
                }
            }
            Next::LineEnd if blank => Next::Size,
            Next::LineEnd => return Err("a chunk is longer than its size"),
            Next::Trailers(_) if blank => Next::End,
            Next::Trailers(left) => {
                Next::Trailers(left.checked_sub(self.line.len()).ok_or("the trailers are too large")?)
            }
            next @ (Next::BodyReader(_) | Next::End) => next,
        };
        self.line.clear();
        Ok(())
    }
}

/// Parses a chunk's size.
fn size(line: &[u8]) -> Result<u64, &'static str> {
    // The parser accepts a line without digits as size 0, which would end the body there.
    if !line.first().is_some_and(u8::is_ascii_hexdigit) {
        return Err("invalid chunk size");
    }
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((_, size))) => Ok(size),
        // The line has a line feed within an extension. Other parsers may treat it as the end of the line.
        Ok(Status::Partial) | Err(_) => Err("invalid chunk size"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a body in pieces. Returns the content, whether the body ended, and whether bytes were left over.
    fn decode(pieces: &[&[u8]]) -> Result<(String, bool, bool), &'static str> {
        let (mut decoder, mut content) = (Decoder::default(), Vec::new());
        let (mut ended, mut surplus) = (false, false);
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let accepted = decoder.accept(&mut bytes)?;
            content.extend_from_slice(&bytes[..accepted.content]);
            (ended, surplus) = (accepted.ended, surplus || accepted.surplus);
        }
        Ok((String::from_utf8(content).unwrap(), ended, surplus))
    }

    #[track_caller]
    fn check(body: &str, expected: Result<(&str, bool, bool), &'static str>) {
        let expected = expected.map(|(content, ended, surplus)| (content.to_owned(), ended, surplus));
        assert_eq!(decode(&[body.as_bytes()]), expected, "{body:?} whole");
        for at in 0..=body.len() {
            let (first, second) = body.as_bytes().split_at(at);
            assert_eq!(decode(&[first, second]), expected, "{body:?} cut at {at}");
        }
        let single: Vec<_> = body.as_bytes().chunks(1).collect();
        assert_eq!(decode(&single), expected, "{body:?} byte by byte");
    }

    #[test]
    fn chunks_are_put_together_wherever_they_are_cut() {
        check("0\r\n\r\n", Ok(("", true, false)));
        check("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", true, false)));
        check("5\r\nhello\r\nA;x=\"y\"\r\n, world...\r\n000\r\n\r\n", Ok(("hello, world...", true, false)));
        check("2\r\n\r\n\r\n0\r\n\r\n", Ok(("\r\n", true, false)));
        check("2\r\nok\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n", Ok(("ok", true, false)));
        check("2\r\nok\r\n0\r\n\r\nHTTP/1.1", Ok(("ok", true, true)));
        check("5\r\nhel", Ok(("hel", false, false)));
        check("2\r\nok\r\n0\r\n", Ok(("ok", false, false)));
    }

    #[test]
    fn what_are_no_chunks_is_refused() {
        for body in [
            "\r\n\r\n",
            "2;a\nb\r\nok\r\n",
            ";x\r\n",
            " 5\r\n",
            "x\r\n",
            "-1\r\n",
            "5\n",
            "10000000000000000\r\n",
        ] {
            check(body, Err("invalid chunk size"));
        }
        check("2\r\nokay\r\n", Err("a chunk is longer than its size"));
        let long = format!("2;{}\r\nok\r\n", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(decode(&[long.as_bytes()]), Err("a line between chunks is too long"));
        let extended = format!("1;{}\r\nx\r\n", "x".repeat(1000)).repeat(EXTENSION_BYTES_MAX / 1000);
        assert!(decode(&[extended.as_bytes()]).is_ok());
        let extended = format!("{extended}1;{}\r\n", "x".repeat(1000));
        assert_eq!(decode(&[extended.as_bytes()]), Err("the extensions are too large"));
        let trailers = format!("0\r\n{}\r\n", "x-a: 1234\r\n".repeat(TRAILER_BYTES_MAX / 10));
        assert_eq!(decode(&[trailers.as_bytes()]), Err("the trailers are too large"));
    }
}
