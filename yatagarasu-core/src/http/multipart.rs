//! The framing of `multipart/byteranges` (RFC 9110 14.6, RFC 2046 5.1).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use crate::http::content_range::content_range;

/// Draws the number that becomes a boundary.
///
/// It is 64 bits nobody outside the process knows, drawn after the object was written: an object of a tebibyte
/// has at most 2^40 places where it could stand, so it occurs in it with a chance below one in 2^24.
pub fn boundary() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// How parts of one object follow each other in one body.
///
/// What [`next_part`](Self::next_part) gives, each head before the bytes it announces, and then
/// [`end`](Self::end) make the body.
#[derive(Debug, Clone)]
pub struct Layout {
    parts: std::vec::IntoIter<(Bytes, Range<u64>)>,
    end: Bytes,
    content_type: HeaderValue,
    length: u64,
}

impl Layout {
    /// Lays out `parts`, none of them empty, of an object of `complete_length` bytes and of `content_type`.
    pub fn new(
        parts: Vec<Range<u64>>,
        content_type: Option<&HeaderValue>,
        complete_length: u64,
        boundary: u64,
    ) -> Self {
        let boundary = format!("{boundary:016x}");
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let mut length = end.len() as u64;
        let mut delimiter = format!("--{boundary}");
        let mut framed = Vec::with_capacity(parts.len());
        for part in parts {
            let head = head(&delimiter, content_type, &content_range(&part, complete_length));
            length = length.saturating_add(head.len() as u64).saturating_add(part.end - part.start);
            framed.push((head, part));
            delimiter = format!("\r\n--{boundary}");
        }
        let content_type = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"))
            .expect("hexadecimal digits are a value");
        Self { parts: framed.into_iter(), end, content_type, length }
    }

    /// The response's `Content-Type`.
    pub fn content_type(&self) -> HeaderValue {
        self.content_type.clone()
    }

    /// Bytes of the whole body, however far it was read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The head of the next part, with the delimiter before it, and the bytes of the object that follow it.
    pub fn next_part(&mut self) -> Option<(Bytes, Range<u64>)> {
        self.parts.next()
    }

    /// The closing delimiter.
    pub fn end(&self) -> Bytes {
        self.end.clone()
    }
}

fn head(delimiter: &str, content_type: Option<&HeaderValue>, content_range: &HeaderValue) -> Bytes {
    let mut head = delimiter.as_bytes().to_vec();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"\r\nContent-Type: ");
        head.extend_from_slice(content_type.as_bytes());
    }
    head.extend_from_slice(b"\r\nContent-Range: ");
    head.extend_from_slice(content_range.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    Bytes::from(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::content_range::parse_content_range;

    fn place(offset: u64) -> usize {
        usize::try_from(offset).unwrap()
    }

    fn body(mut layout: Layout, content: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some((head, part)) = layout.next_part() {
            body.extend_from_slice(&head);
            body.extend_from_slice(&content[place(part.start)..place(part.end)]);
        }
        body.extend_from_slice(&layout.end());
        body
    }

    /// Type, place, length of the whole, and bytes of a part.
    type Parsed = (Option<String>, Range<u64>, u64, Vec<u8>);

    /// Reads a body as a client does that takes the length of each part from its `Content-Range`.
    fn parse(mut body: &[u8], boundary: &str) -> Vec<Parsed> {
        let mut parts = Vec::new();
        let mut delimiter = format!("--{boundary}");
        while let Some(rest) = body.strip_prefix(format!("{delimiter}\r\n").as_bytes()) {
            let blank = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
            let head = std::str::from_utf8(&rest[..blank]).unwrap();
            let field = |wanted: &str| {
                head.split("\r\n").find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": "))
            };
            let range: HeaderValue = field("Content-Range").unwrap().parse().unwrap();
            let (range, complete) = parse_content_range(&range).unwrap();
            let (bytes, rest) = rest[blank + 4..].split_at(place(range.end - range.start));
            parts.push((field("Content-Type").map(String::from), range, complete.unwrap(), bytes.to_vec()));
            body = rest;
            delimiter = format!("\r\n--{boundary}");
        }
        assert_eq!(body, format!("{delimiter}--\r\n").as_bytes());
        parts
    }

    #[test]
    fn two_parts_look_as_in_the_rfc() {
        let kind = HeaderValue::from_static("text/plain");
        let layout = Layout::new(vec![0..2, 8..10], Some(&kind), 10, 0xab);
        assert_eq!(layout.content_type(), "multipart/byteranges; boundary=00000000000000ab");
        let expected = "--00000000000000ab\r\n\
                        Content-Type: text/plain\r\n\
                        Content-Range: bytes 0-1/10\r\n\
                        \r\n\
                        01\r\n\
                        --00000000000000ab\r\n\
                        Content-Type: text/plain\r\n\
                        Content-Range: bytes 8-9/10\r\n\
                        \r\n\
                        89\r\n\
                        --00000000000000ab--\r\n";
        assert_eq!(layout.length(), expected.len() as u64);
        assert_eq!(String::from_utf8(body(layout, b"0123456789")).unwrap(), expected);
    }

    #[test]
    fn a_part_of_unknown_type_has_no_content_type() {
        let mut layout = Layout::new(vec![0..1, 5..6], None, 10, 1);
        let (head, part) = layout.next_part().unwrap();
        assert_eq!(part, 0..1);
        assert_eq!(&head[..], b"--0000000000000001\r\nContent-Range: bytes 0-0/10\r\n\r\n");
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(boundary(), boundary());
    }

    proptest! {
        #[test]
        fn the_body_parses_back_and_its_length_is_exact(
            content in proptest::collection::vec(any::<u8>(), 150),
            pairs in proptest::collection::vec((0u64..100, 1u64..50), 1..8),
            typed: bool,
            number: u64,
        ) {
            let parts: Vec<_> = pairs.iter().map(|&(start, span)| start..start + span).collect();
            let kind = typed.then(|| HeaderValue::from_static("image/png"));
            let layout = Layout::new(parts.clone(), kind.as_ref(), 150, number);
            let length = layout.length();
            let content_type = layout.content_type();
            let (_, boundary) = content_type.to_str().unwrap().split_once("boundary=").unwrap();
            let body = body(layout, &content);
            prop_assert_eq!(body.len() as u64, length);
            let expected: Vec<_> = parts
                .into_iter()
                .map(|part| {
                    let bytes = content[place(part.start)..place(part.end)].to_vec();
                    (typed.then(|| "image/png".to_owned()), part, 150u64, bytes)
                })
                .collect();
            prop_assert_eq!(parse(&body, boundary), expected);
        }
    }
}
