//! Frames several parts of an object as `multipart/byteranges` (RFC 9110 14.6, RFC 2046 5.1).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use crate::http::content_range::content_range;

/// Returns a random number to use as the boundary.
///
/// Its 64 bits are unknown outside the process and drawn after the object was written. An object of one tebibyte has at
/// most 2^40 offsets, so the boundary occurs in it with a probability below 2^-24.
pub fn boundary() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The layout of a body with several parts of one object.
///
/// For each item of [`next_part`](Self::next_part) the body has the head and then the bytes of the range. It closes
/// with [`end`](Self::end).
#[derive(Debug, Clone)]
pub struct Layout {
    parts: std::vec::IntoIter<(Bytes, Range<u64>)>,
    end: Bytes,
    content_type: HeaderValue,
    length: u64,
}

impl Layout {
    /// Lays out `parts` of an object of `complete_length` bytes and of `content_type`.
    ///
    /// No part may be empty.
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

    /// Returns the `Content-Type` of the response, with the boundary.
    pub fn content_type(&self) -> HeaderValue {
        self.content_type.clone()
    }

    /// Returns the length of the whole body in bytes. Reading parts does not change it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the head of the next part, with the delimiter before it, and the range of the object that follows it.
    ///
    /// Returns `None` after the last part.
    pub fn next_part(&mut self) -> Option<(Bytes, Range<u64>)> {
        self.parts.next()
    }

    /// Returns the closing delimiter.
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

    /// Content type, range, complete length and bytes of one part.
    type Parsed = (Option<String>, Range<u64>, u64, Vec<u8>);

    /// Parses a body like a client that takes the length of each part from its `Content-Range`.
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
