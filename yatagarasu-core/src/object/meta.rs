//! The header fields of an object, as received and as stored.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::response_fields::ResponseFields;
use crate::http::validator::date_field;

/// The end-to-end header fields that a source sent with an object.
///
/// The source has already removed hop-by-hop fields and fields about itself, such as `x-amz-request-id`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    headers: HeaderMap,
    /// Whether only the close of the connection ends the content.
    uncertain_end: bool,
    /// The fields in the form of a response head; empty unless `to_store` made this value.
    lines: Bytes,
    /// Length of the lines that are not among the fields, in bytes.
    added: usize,
}

/// The changes to the fields that clients get of one object.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The changes.
    pub fields: &'a ResponseFields,
    /// The object's key.
    pub key: &'a str,
}

impl Shape<'_> {
    /// Returns `true` if clients do not get the object's own field of this name.
    fn drops(&self, name: &HeaderName) -> bool {
        self.fields.drops(self.key, name)
    }

    /// Returns the fields that clients get besides the object's own.
    fn added(&self, own: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        self.fields.added(self.key, own)
    }
}

/// Fields that each response sets itself, so `lines` leaves them out.
const ANSWERS_OWN: [&str; 4] = ["age", "content-length", "x-cache", "x-request-id"];

impl ObjectMeta {
    /// Wraps the end-to-end fields of a response.
    pub fn new(headers: HeaderMap) -> Self {
        Self { headers, uncertain_end: false, lines: Bytes::new(), added: 0 }
    }

    /// Marks the content as ended only by the close of its connection (RFC 9112 6.3).
    ///
    /// A truncated body is then indistinguishable from a complete one.
    #[must_use]
    pub fn with_uncertain_end(self) -> Self {
        Self { uncertain_end: true, ..self }
    }

    /// Returns `true` if a truncated body is distinguishable from a complete one.
    pub fn end_is_certain(&self) -> bool {
        !self.uncertain_end
    }

    /// Returns the header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the field lines of a response head (RFC 9112 5), ready to send.
    ///
    /// `Age`, `Content-Length`, `X-Cache` and `X-Request-Id` are left out, because each response sets its own. The
    /// changes of the [`Shape`] are made.
    /// Returns an empty slice unless [`to_store`](Self::to_store) made this value.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Converts into the header fields.
    pub fn into_headers(self) -> HeaderMap {
        self.headers
    }

    /// Returns `Content-Length`, the length of the content in bytes, if it is there (RFC 9110 8.6).
    pub fn content_length(&self) -> Option<u64> {
        content_length(&self.headers)
    }

    /// Returns `true` if the content is only a part of the object: it has `Content-Range` (RFC 9110 14.4).
    pub fn is_partial(&self) -> bool {
        self.headers.contains_key(header::CONTENT_RANGE)
    }

    /// Returns a copy of the fields for the cache, without those in `withheld`.
    ///
    /// If they have no `Date` left, adds one with the date `dated` (RFC 9110 6.6.1).
    ///
    /// A header value read from a socket is a slice of the read buffer and keeps the whole buffer alive. The copied
    /// values do not: all are slices of one allocation, which also holds the [lines](Self::lines).
    #[must_use]
    pub fn to_store(&self, withheld: &[HeaderName], dated: SystemTime, shape: &Shape<'_>) -> Self {
        let has_date = self.headers.contains_key(header::DATE) && !withheld.contains(&header::DATE);
        let date = (!has_date).then(|| (header::DATE, date_field(dated)));
        let kept = self.headers.iter().filter(|(name, _)| !withheld.contains(name));
        let kept = kept.chain(date.iter().map(|(name, value)| (name, value)));
        let (own, shown): (Vec<_>, Vec<_>) =
            kept.partition(|(name, _)| ANSWERS_OWN.contains(&name.as_str()) || shape.drops(name));
        let added = shape.added(&self.headers);
        let lines = || shown.iter().copied().chain(added.iter().map(|(name, value)| (name, value)));
        let lines_end: usize = lines().map(line_length).sum();
        let more: usize = own.iter().map(|field| line_length(*field)).sum();
        let mut written = Vec::with_capacity(lines_end + more);
        let mut ends = Vec::with_capacity(shown.len() + own.len());
        let mut write = |(name, value): (&HeaderName, &HeaderValue)| {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                written.extend_from_slice(part);
            }
            written.len() - b"\r\n".len()
        };
        ends.extend(shown.iter().map(|field| write(*field)));
        for (name, value) in &added {
            write((name, value));
        }
        ends.extend(own.iter().map(|field| write(*field)));
        let written = Bytes::from(written);
        let mut headers = HeaderMap::with_capacity(ends.len());
        for ((name, value), end) in shown.iter().chain(&own).zip(ends) {
            let copy = written.slice(end - value.len()..end);
            let mut copy = HeaderValue::from_maybe_shared(copy).expect("a header value stays one");
            copy.set_sensitive(value.is_sensitive());
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a header name stays one");
            headers.append(name, copy);
        }
        let added = lines_end - shown.iter().map(|field| line_length(*field)).sum::<usize>();
        Self { headers, uncertain_end: self.uncertain_end, lines: written.slice(..lines_end), added }
    }

    /// Returns the memory that the fields take, in bytes: all lines, and the names once more for the map.
    pub fn weight(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|field| line_length(field) + field.0.as_str().len()).sum();
        fields + self.added
    }
}

fn line_length((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + b": ".len() + value.len() + b"\r\n".len()
}

/// Returns `Content-Length` in bytes (RFC 9110 8.6), or `None` if it is missing or malformed.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::http::response_fields::{FieldRule, Pattern, VaryOrigin};

    static NO_CHANGES: LazyLock<ResponseFields> = LazyLock::new(ResponseFields::default);

    #[test]
    fn its_lines_are_those_that_clients_get() {
        let pattern = |text| Pattern::new(text).unwrap();
        let set = [(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))].into_iter().collect();
        let rule = FieldRule { keys: pattern("*"), remove: vec![pattern("cache-tag")], set };
        let fields = ResponseFields::new(vec![pattern("x-amz-expiration")], vec![rule]);
        let fields = fields.varying(VaryOrigin::Always);
        let mut headers = HeaderMap::new();
        for (name, value) in [("cache-tag", "t"), ("etag", "e"), ("x-amz-expiration", "x"), ("date", "d")] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let shape = Shape { fields: &fields, key: "k" };
        let stored = ObjectMeta::new(headers.clone()).to_store(&[], SystemTime::UNIX_EPOCH, &shape);
        let lines = "etag: e\r\ndate: d\r\nx-frame-options: DENY\r\nvary: Origin\r\n";
        assert_eq!(std::str::from_utf8(stored.lines()).unwrap(), lines);
        assert_eq!(stored.headers(), &headers, "tags are looked up among all fields");
        fields.apply(Some("k"), &mut headers);
        assert_eq!(headers.len(), 4, "the same for a response that is not stored");
    }

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
        let stored = meta.to_store(
            &[header::SET_COOKIE],
            SystemTime::UNIX_EPOCH,
            &Shape { fields: &NO_CHANGES, key: "k" },
        );
        let lines = "etag: \"e\"\r\nx-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\nx-empty: \r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(std::str::from_utf8(stored.lines()).unwrap(), lines);
        headers.remove(header::SET_COOKIE);
        assert_eq!(stored.headers(), &headers);
        // Stores the fields once more, as happens after a 304 has updated them.
        assert_eq!(
            stored.to_store(&[], SystemTime::UNIX_EPOCH, &Shape { fields: &NO_CHANGES, key: "k" }),
            stored
        );
    }

    #[test]
    fn the_date_it_was_received_at_is_among_them() {
        let lines = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        assert_eq!(
            ObjectMeta::default()
                .to_store(&[], SystemTime::UNIX_EPOCH, &Shape { fields: &NO_CHANGES, key: "k" })
                .lines(),
            lines
        );
        // Adds it also if the `Date` of the source is withheld.
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let stored = ObjectMeta::new(headers).to_store(
            &[header::DATE],
            SystemTime::UNIX_EPOCH,
            &Shape { fields: &NO_CHANGES, key: "k" },
        );
        assert_eq!(stored.lines(), lines);
    }
}
