//! The header fields of an object, as received and as stored.

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::response_fields::ResponseFields;
use crate::http::validator::date_field;
use crate::object::stored_fields::StoredFields;

/// The end-to-end header fields that a source sent with an object.
///
/// The source has already removed hop-by-hop fields and fields about itself, such as `x-amz-request-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    fields: Fields,
    /// Whether only the close of the connection ends the content.
    uncertain_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fields {
    /// As they were received. The map is large, and stored entries have none.
    Received(Box<HeaderMap>),
    /// As `to_store` wrote them.
    Stored(StoredFields),
}

impl Default for ObjectMeta {
    fn default() -> Self {
        Self::new(HeaderMap::new())
    }
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

/// Memory of a field's slot in a map beyond name and value, in bytes: the slot and its index, used or not.
const SLOT_BYTES: usize = 128;

impl ObjectMeta {
    /// Wraps the end-to-end fields of a response.
    pub fn new(headers: HeaderMap) -> Self {
        Self { fields: Fields::Received(Box::new(headers)), uncertain_end: false }
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

    /// Returns the header fields. A map of stored fields is made for the call; [`values`](Self::values) needs none.
    pub fn headers(&self) -> Cow<'_, HeaderMap> {
        match &self.fields {
            Fields::Received(headers) => Cow::Borrowed(headers),
            Fields::Stored(stored) => Cow::Owned(stored.to_map()),
        }
    }

    /// Returns the values of the field `name`, which must be in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let (received, stored) = match &self.fields {
            Fields::Received(headers) => (Some(headers.get_all(name).into_iter()), None),
            Fields::Stored(stored) => (None, Some(stored.values(name))),
        };
        received.into_iter().flatten().map(HeaderValue::as_bytes).chain(stored.into_iter().flatten())
    }

    /// Adds what `Vary` says besides the object's own fields. A response without content, from which nobody can tell what it
    /// depends on, has it, too (RFC 9110 15.4.5).
    pub fn append_vary(&self, map: &mut HeaderMap) {
        if let Fields::Stored(stored) = &self.fields {
            for value in stored.added_values(header::VARY.as_str()) {
                map.append(header::VARY, HeaderValue::from_bytes(value).expect("it was one before"));
            }
        }
    }

    /// Adds the header fields to `map`, and reserves room for `more` others.
    pub fn append_to(&self, map: &mut HeaderMap, more: usize) {
        // Reserve once, because a map that grows copies its entries.
        match &self.fields {
            Fields::Received(headers) => {
                map.reserve(headers.len() + more);
                map.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            Fields::Stored(stored) => {
                map.reserve(stored.len() + more);
                stored.append_to(map);
            }
        }
    }

    /// Returns the field lines of a response head (RFC 9112 5), ready to send.
    ///
    /// `Age`, `Content-Length`, `X-Cache` and `X-Request-Id` are left out, because each response sets its own. The
    /// changes of the [`Shape`] are made.
    /// Returns an empty slice unless [`to_store`](Self::to_store) made this value.
    pub fn lines(&self) -> &[u8] {
        match &self.fields {
            Fields::Received(_) => &[],
            Fields::Stored(stored) => stored.lines(),
        }
    }

    /// Converts into the header fields.
    pub fn into_headers(self) -> HeaderMap {
        match self.fields {
            Fields::Received(headers) => *headers,
            Fields::Stored(stored) => stored.to_map(),
        }
    }

    /// Returns `Content-Length`, the length of the content in bytes, if it is there (RFC 9110 8.6).
    pub fn content_length(&self) -> Option<u64> {
        number(self.values(header::CONTENT_LENGTH.as_str()).next()?)
    }

    /// Returns `true` if the content is only a part of the object: it has `Content-Range` (RFC 9110 14.4).
    pub fn is_partial(&self) -> bool {
        self.values(header::CONTENT_RANGE.as_str()).next().is_some()
    }

    /// Returns a copy of the fields for the cache, without those in `withheld`.
    ///
    /// If they have no `Date` left, adds one with the date `dated` (RFC 9110 6.6.1).
    ///
    /// A header value read from a socket is a slice of the read buffer and keeps the whole buffer alive. The copy does
    /// not: it is one allocation, with the [lines](Self::lines).
    #[must_use]
    pub fn to_store(&self, withheld: &[HeaderName], dated: SystemTime, shape: &Shape<'_>) -> Self {
        let headers = self.headers();
        let has_date = headers.contains_key(header::DATE) && !withheld.contains(&header::DATE);
        let date = (!has_date).then(|| (header::DATE, date_field(dated)));
        let kept = headers.iter().filter(|(name, _)| !withheld.contains(name));
        let kept = kept.chain(date.iter().map(|(name, value)| (name, value)));
        let (hidden, shown): (Vec<_>, Vec<_>) =
            kept.partition(|(name, _)| ANSWERS_OWN.contains(&name.as_str()) || shape.drops(name));
        let added = shape.added(&headers);
        let added: Vec<_> = added.iter().map(|(name, value)| (name, value)).collect();
        let stored = StoredFields::new(&shown, &added, &hidden);
        Self { fields: Fields::Stored(stored), uncertain_end: self.uncertain_end }
    }

    /// Returns the same fields, with this one in the place of others of its name.
    #[must_use]
    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        let uncertain_end = self.uncertain_end;
        let mut headers = self.into_headers();
        headers.insert(name, value);
        Self { uncertain_end, ..Self::new(headers) }
    }

    /// Returns the memory that the fields take beside this value, in bytes.
    pub fn weight(&self) -> usize {
        match &self.fields {
            Fields::Received(headers) => {
                let bytes: usize =
                    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                bytes + headers.capacity() * SLOT_BYTES
            }
            Fields::Stored(stored) => stored.allocated(),
        }
    }
}

/// Returns `Content-Length` in bytes (RFC 9110 8.6), or `None` if it is missing or malformed.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(header::CONTENT_LENGTH)?.as_bytes())
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
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
        assert_eq!(*stored.headers(), headers, "tags are looked up among all fields");
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
        assert_eq!(*stored.headers(), headers);
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
