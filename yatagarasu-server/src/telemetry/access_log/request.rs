//! What the access log is told of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{HOST, HeaderName};
use http::{HeaderMap, Method, Version};
use tokio::time::Instant;

use crate::service::client_address::ClientAddress;

/// A request, for the access log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// The path, as it was sent. Empty if it could not be read.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) version: Version,
    /// The host in the target, as over HTTP/2.
    pub(crate) authority: Option<&'a str>,
    /// The client as the connection tells it, and what else may.
    pub(crate) peer: Option<(IpAddr, &'a ClientAddress)>,
    /// Whether it came over TLS.
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only traces have it"))]
    pub(crate) is_secure: bool,
    pub(crate) fields: Fields<'a>,
    /// When its head was complete.
    pub(crate) begun: Instant,
}

/// The header fields of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// They could not be read.
    None,
    /// As hyper has parsed them.
    Map(&'a HeaderMap),
    /// A valid head, as it was received.
    Head(&'a [u8]),
}

impl Asked<'_> {
    /// Returns the host that the request is for.
    pub(crate) fn host(&self) -> Option<Cow<'_, str>> {
        self.authority.map(Cow::Borrowed).or_else(|| self.fields.get(&HOST))
    }

    /// Returns the address of the client.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        let (peer, rules) = self.peer?;
        let Some(name) = rules.field(peer) else { return Some(peer) };
        Some(rules.named(peer, &self.fields.all(&name)))
    }
}

impl<'a> Fields<'a> {
    /// Returns the first value of a field as text.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<Cow<'a, str>> {
        let value = match self {
            Self::None => None,
            Self::Map(headers) => headers.get(name).map(http::HeaderValue::as_bytes),
            Self::Head(head) => lines(head).find_map(|line| value_of(line, name)),
        };
        value.map(String::from_utf8_lossy)
    }

    /// Returns all values of a field.
    pub(crate) fn all(&self, name: &HeaderName) -> Vec<&'a [u8]> {
        match self {
            Self::None => Vec::new(),
            Self::Map(headers) => headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect(),
            Self::Head(head) => lines(head).filter_map(|line| value_of(line, name)).collect(),
        }
    }
}

/// Returns the lines of a request head after the first one.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut begin = 0;
    memchr::memchr_iter(b'\n', head)
        .map(move |end| &head[std::mem::replace(&mut begin, end + 1)..end])
        .skip(1)
}

/// Returns the value in a field line if it has this name.
fn value_of<'a>(line: &'a [u8], name: &HeaderName) -> Option<&'a [u8]> {
    let (field, rest) = line.split_at_checked(name.as_str().len())?;
    let value = rest.strip_prefix(b":")?;
    field.eq_ignore_ascii_case(name.as_str().as_bytes()).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::header::{REFERER, USER_AGENT};

    use super::*;

    #[test]
    fn both_forms_of_a_head_say_the_same() {
        let head = b"GET / HTTP/1.1\r\nHOST: a\r\nuser-agent:  b c \r\nx-forwarded-for: 1\r\nX-Forwarded-For: 2\r\n\r\n";
        let mut map = HeaderMap::new();
        for (name, value) in
            [("host", "a"), ("user-agent", "b c"), ("x-forwarded-for", "1"), ("x-forwarded-for", "2")]
        {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        for fields in [Fields::Head(head), Fields::Map(&map)] {
            assert_eq!(fields.get(&HOST).as_deref(), Some("a"));
            assert_eq!(fields.get(&USER_AGENT).as_deref(), Some("b c"));
            assert_eq!(fields.get(&REFERER), None);
            let name = HeaderName::from_static("x-forwarded-for");
            assert_eq!(fields.all(&name), [b"1", b"2"]);
        }
    }
}
