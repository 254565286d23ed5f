use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::validator::date_field;

/// The end-to-end header fields a source sent with an object.
///
/// Hop-by-hop fields and those that speak of the source rather than of the object are gone already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    headers: HeaderMap,
    /// Whether nothing but the end of a connection marks the end of the content.
    uncertain_end: bool,
}

impl ObjectMeta {
    /// Takes the end-to-end fields of a response.
    pub fn new(headers: HeaderMap) -> Self {
        Self { headers, uncertain_end: false }
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
    /// stored must not.
    #[must_use]
    pub fn to_store(&self, withheld: &[HeaderName], received: SystemTime) -> Self {
        let dated = self.headers.contains_key(header::DATE);
        let mut headers = HeaderMap::with_capacity(self.headers.keys_len() + usize::from(!dated));
        for (name, value) in self.headers.iter().filter(|(name, _)| !withheld.contains(name)) {
            let mut copy = HeaderValue::from_bytes(value.as_bytes()).expect("a header value stays one");
            copy.set_sensitive(value.is_sensitive());
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a header name stays one");
            headers.append(name, copy);
        }
        if !headers.contains_key(header::DATE) {
            headers.insert(header::DATE, date_field(received));
        }
        Self { headers, uncertain_end: self.uncertain_end }
    }

    /// Bytes the fields take: names and values.
    pub fn weight(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }
}

/// Length in bytes of the content that comes with these fields, where they say it (RFC 9110 8.6).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
