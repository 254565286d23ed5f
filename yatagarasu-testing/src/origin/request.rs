//! A request that reached an origin.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::BUCKET;
use crate::message::{fields, first_line};

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query, as they were on the wire.
    pub target: String,
    /// The query without its question mark, or an empty string.
    pub query: String,
    /// The key of the object of [`BUCKET`] that the path names, or an empty string.
    pub key: String,
    /// The body. Empty if a test answers by hand.
    pub body: Bytes,
    /// The header fields.
    pub headers: HeaderMap,
    joined: HashMap<String, String>,
}

impl Request {
    /// Parses the head of a request.
    pub(super) fn parse(head: &[u8]) -> Self {
        let (line, lines) = first_line(head);
        let mut words = std::str::from_utf8(line).expect("a request line").split(' ');
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)?.strip_prefix('/'));
        let key = percent_decode_str(key.unwrap_or_default()).decode_utf8().expect("keys are UTF-8");
        let headers = fields(lines);
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            query: query.to_owned(),
            key: key.into_owned(),
            body: Bytes::new(),
            joined: joined(&headers),
            headers,
        }
    }

    /// Returns the value of a field, or an empty string if it is missing. Several values are joined with `, `.
    pub fn field(&self, name: &str) -> &str {
        self.joined.get(name).map_or("", String::as_str)
    }
}

fn joined(headers: &HeaderMap) -> HashMap<String, String> {
    let mut joined = HashMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let all = joined.entry(name.to_string()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&value);
    }
    joined
}
