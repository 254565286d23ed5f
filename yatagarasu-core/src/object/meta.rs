use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::validator::date_field;

/// The end-to-end header fields a source sent with an object.
///
/// Hop-by-hop fields and those that speak of the source rather than of the object are gone already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    headers: HeaderMap,
    /// Whether nothing but the end of a connection marks the end of the content.
    uncertain_end: bool,
    /// The fields as they stand in a head, where they are stored.
    lines: Bytes,
}

/// Fields of which each answer has its own.
const ANSWERS_OWN: [&str; 4] = ["age", "content-length", "x-cache", "x-request-id"];

impl ObjectMeta {
    /// Takes the end-to-end fields of a response.
    pub fn new(headers: HeaderMap) -> Self {
        Self { headers, uncertain_end: false, lines: Bytes::new() }
    }

    /// Says that the content ends with its connection, so that a part cannot be told from the whole
    /// (RFC 9112 6.3).
    #[must_use]
    pub fn with_uncertain_end(self) -> Self {
        Self { uncertain_end: true, ..self }
    }

    /// Whether the whole content can be told from a part.
    pub fn end_is_certain(&self) -> bool {
        !self.uncertain_end
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The fields as they stand in a response's head (RFC 9112 5), but for `Age`, `Content-Length`, `X-Cache` and
    /// `X-Request-Id`, of which each answer has its own; nothing where they are not [stored](Self::to_store).
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Gives the header fields away.
    pub fn into_headers(self) -> HeaderMap {
        self.headers
    }

    /// Length in bytes of the content these fields came with, where they say it (RFC 9110 8.6).
    pub fn content_length(&self) -> Option<u64> {
        content_length(&self.headers)
    }

    /// Whether the content is a part of the object (RFC 9110 14.4).
    pub fn is_partial(&self) -> bool {
        self.headers.contains_key(header::CONTENT_RANGE)
    }

    /// Copies the fields to be stored, all but those `withheld`, out of the buffers they were received in, and adds
    /// the `Date` they were received at where they have none (RFC 9110 6.6.1).
    ///
    /// A header value read from a socket is a slice of the read buffer and keeps all of it alive; what is
    /// stored must not. All values that are stored are slices of one allocation, of their [lines](Self::lines).
    #[must_use]
    pub fn to_store(&self, withheld: &[HeaderName], received: SystemTime) -> Self {
        let dated = self.headers.contains_key(header::DATE) && !withheld.contains(&header::DATE);
        let date = (!dated).then(|| (header::DATE, date_field(received)));
        let kept = self.headers.iter().filter(|(name, _)| !withheld.contains(name));
        let kept = kept.chain(date.iter().map(|(name, value)| (name, value)));
        let (own, shown): (Vec<_>, Vec<_>) = kept.partition(|(name, _)| ANSWERS_OWN.contains(&name.as_str()));
        let mut written = Vec::with_capacity(shown.iter().chain(&own).map(|field| line_length(*field)).sum());
        let mut ends = Vec::with_capacity(shown.len() + own.len());
        for (name, value) in shown.iter().chain(&own) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                written.extend_from_slice(part);
            }
            ends.push(written.len() - b"\r\n".len());
        }
        let lines_end: usize = shown.iter().map(|field| line_length(*field)).sum();
        let written = Bytes::from(written);
        let mut headers = HeaderMap::with_capacity(ends.len());
        for ((name, value), end) in shown.iter().chain(&own).zip(ends) {
            let copy = written.slice(end - value.len()..end);
            let mut copy = HeaderValue::from_maybe_shared(copy).expect("a header value stays one");
            copy.set_sensitive(value.is_sensitive());
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a header name stays one");
            headers.append(name, copy);
        }
        Self { headers, uncertain_end: self.uncertain_end, lines: written.slice(..lines_end) }
    }

    /// Bytes the fields take: their lines, and names once more.
    pub fn weight(&self) -> usize {
        self.headers.iter().map(|field| line_length(field) + field.0.as_str().len()).sum()
    }
}

fn line_length((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + b": ".len() + value.len() + b"\r\n".len()
}

/// Length in bytes of the content that comes with these fields, where they say it (RFC 9110 8.6).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_has_lines_of_all_fields_but_those_of_each_answer() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("age", "5"),
            ("etag", "\"e\""),
            ("x-amz-meta-a", "1"),
            ("content-length", "3"),
            ("x-amz-meta-a", "2"),
            ("x-request-id", "r"),
            ("set-cookie", "s"),
            ("x-empty", ""),
            ("x-cache", "HIT"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let meta = ObjectMeta::new(headers.clone());
        assert_eq!(meta.lines(), b"");
        let stored = meta.to_store(&[header::SET_COOKIE], SystemTime::UNIX_EPOCH);
        let lines = "etag: \"e\"\r\nx-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\nx-empty: \r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(std::str::from_utf8(stored.lines()).unwrap(), lines);
        headers.remove(header::SET_COOKIE);
        assert_eq!(stored.headers(), &headers);
        // Again: as when a 304 has brought the fields up to date.
        assert_eq!(stored.to_store(&[], SystemTime::UNIX_EPOCH), stored);
    }

    #[test]
    fn the_date_it_was_received_at_is_among_them() {
        let lines = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        assert_eq!(ObjectMeta::default().to_store(&[], SystemTime::UNIX_EPOCH).lines(), lines);
        // Also where the source's own must not be stored.
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let stored = ObjectMeta::new(headers).to_store(&[header::DATE], SystemTime::UNIX_EPOCH);
        assert_eq!(stored.lines(), lines);
    }
}
