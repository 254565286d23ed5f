//! The header fields of a stored object, in the form in which clients get them.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Number of fields that most responses add. A map that grows copies its entries.
const ADDED_TYPICAL: usize = 8;

/// A field's name and value.
pub(super) type Field<'a> = (&'a HeaderName, &'a HeaderValue);

/// The header fields of a stored object: lines of a response head (RFC 9112 5) in one allocation.
///
/// A [`HeaderMap`] of ten fields takes 1.3 KB beside their bytes, more than many objects. Most hits only send the
/// lines; those that need single fields find them here, or [make a map](Self::to_map).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFields {
    /// The object's own lines that clients get, then lines that are added for them, then its own lines that clients do
    /// not get.
    written: Bytes,
    /// End of the first lines.
    shown_own: u32,
    /// End of the second lines.
    shown: u32,
}

impl StoredFields {
    /// Writes the lines of the object's own fields that clients get, of those that are added for clients, and of its
    /// own that they do not get.
    pub(super) fn new(shown: &[Field<'_>], added: &[Field<'_>], hidden: &[Field<'_>]) -> Self {
        let length = |(name, value): &Field<'_>| name.as_str().len() + value.len() + b": \r\n".len();
        let all = shown.iter().chain(added).chain(hidden);
        let mut written = Vec::with_capacity(all.map(length).sum());
        let [shown_own, shown, _] = [shown, added, hidden].map(|fields| {
            for (name, value) in fields {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    written.extend_from_slice(part);
                }
            }
            u32::try_from(written.len()).expect("a head is shorter than 4 GiB")
        });
        Self { shown_own, shown, written: Bytes::from(written) }
    }

    /// Returns the lines that clients get.
    pub(super) fn lines(&self) -> &[u8] {
        &self.written[..self.shown as usize]
    }

    /// Returns the object's own fields.
    fn own(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let shown = Lines(&self.written[..self.shown_own as usize]);
        shown.chain(Lines(&self.written[self.shown as usize..]))
    }

    /// Returns the values of the fields of this name that are added for clients. The name is in lower case.
    pub(super) fn added_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let added = Lines(&self.written[self.shown_own as usize..self.shown as usize]);
        added.filter(move |(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// Returns the values of the object's own fields of this name, which is in lower case.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.own().filter(move |(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// Adds the object's own fields to `map`. Their values share this memory.
    pub(super) fn append_to(&self, map: &mut HeaderMap) {
        for (name, value) in self.own() {
            let name = HeaderName::from_bytes(name).expect("a header name stays one");
            let value = HeaderValue::from_maybe_shared(self.written.slice_ref(value));
            map.append(name, value.expect("a header value stays one"));
        }
    }

    /// Returns the number of the object's own fields.
    pub(super) fn len(&self) -> usize {
        self.own().count()
    }

    /// Returns the object's own fields as a map, with room for those that a response adds.
    pub(super) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len() + ADDED_TYPICAL);
        self.append_to(&mut map);
        map
    }

    /// Returns the memory taken in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.written.len()
    }
}

/// The names and values of lines.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Neither a name nor a value has a line break in it, and a name has no colon.
        let end = self.0.iter().position(|byte| *byte == b'\r')?;
        let (line, rest) = self.0.split_at(end);
        self.0 = &rest[b"\r\n".len()..];
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + b": ".len()..]))
    }
}
