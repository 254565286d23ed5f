//! Answers of the gateway itself, for which no bucket is asked: small files such as `/robots.txt`, and the health of the
//! server for clients of its listeners.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

/// The answer to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAnswer {
    /// Its status.
    pub status: StatusCode,
    /// The type of its content.
    pub content_type: HeaderValue,
    /// Its content, which may be empty.
    pub content: Bytes,
}

/// The paths that the gateway answers itself, for all hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAnswers {
    /// The path that says whether the server is ready.
    pub health_path: Option<String>,
    /// The answers by path, as it stands in requests.
    pub answers: HashMap<String, OwnAnswer>,
}

impl OwnAnswer {
    /// Returns a line of text.
    pub(super) fn line(status: StatusCode, content: &'static str) -> Self {
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        Self { status, content_type, content: Bytes::from_static(content.as_bytes()) }
    }
}

impl OwnAnswers {
    /// Returns whether a path is answered here.
    pub(super) fn have(&self, path: &str) -> bool {
        self.is_health(path) || (!self.answers.is_empty() && self.answers.contains_key(path))
    }

    /// Returns whether a path is that of the health.
    pub(super) fn is_health(&self, path: &str) -> bool {
        self.health_path.as_deref() == Some(path)
    }
}
