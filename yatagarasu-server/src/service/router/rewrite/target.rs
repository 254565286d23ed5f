//! What captures are put into: a path, or the reference of a redirect.

use std::borrow::Cow;
use std::fmt;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::service::router::host::without_port;
use crate::service::router::rewrite::pattern::{
    CAPTURES_MAX, Captures, Part, PathPattern, beginning, parts, show,
};
use crate::service::target::is_host;

/// Maximum length of a path or a reference that is put together, in bytes. Keys and most clients take no longer ones.
const FILLED_BYTES_MAX: usize = 8 * 1024;

/// What is escaped in a path that is put together (RFC 3986 3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path or a URL that captures are put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target(Vec<Part>);

impl Target {
    /// Makes a target of parts for what `from` captures.
    ///
    /// # Errors
    ///
    /// Returns the reason if the text is malformed.
    pub(crate) fn new(parts: Vec<Part>, from: &PathPattern) -> Result<Self, String> {
        if parts.iter().filter_map(Part::name).count() > CAPTURES_MAX {
            return Err(format!("expected at most {CAPTURES_MAX} names"));
        }
        if let Some(name) = parts.iter().filter_map(Part::name).find(|name| !from.has(name)) {
            return Err(format!("`{{{name}}}` is not in `from`"));
        }
        let beginning = beginning(&parts);
        let path = match beginning.split_once("://") {
            // What is captured must not name the host.
            Some(("http" | "https", rest)) => {
                let host = rest.split('/').next().unwrap_or_default();
                let is_host = !host.is_empty() && is_host(host.as_bytes());
                is_host
                    .then(|| &rest[host.len()..])
                    .filter(|path| path.starts_with('/') || (path.is_empty() && parts.len() == 1))
            }
            Some(_) => None,
            None => Some(beginning).filter(|path| path.starts_with('/') && !is_other_host(path)),
        };
        path.map(|_| ())
            .ok_or("expected a path that begins with one `/`, or a URL such as `https://example.com/`")?;
        Ok(Self(parts))
    }

    /// Parses a target with `{name}` for what `from` captures.
    ///
    /// # Errors
    ///
    /// Returns the reason if the text is malformed.
    pub(crate) fn parse(text: &str, from: &PathPattern) -> Result<Self, String> {
        Self::new(parts(text)?, from)
    }

    /// Returns the reference for a redirect. Returns `None` if it would be too long.
    pub(crate) fn reference(&self, captures: &Captures<'_>) -> Option<HeaderValue> {
        let reference = self.filled(captures, escaped_path)?;
        let reference = one_slash(&reference);
        HeaderValue::try_from(reference).ok()
    }

    /// Returns the decoded path. Returns `None` if it would be too long.
    pub(crate) fn path(&self, captures: &Captures<'_>) -> Option<String> {
        self.filled(captures, str::to_owned)
    }

    fn filled(&self, captures: &Captures<'_>, form: impl Fn(&str) -> String) -> Option<String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Segment(name) | Part::Rest(name) => {
                    let captured = captures.iter().find(|(captured, _)| captured == name);
                    filled.push_str(&form(captured.map_or("", |(_, text)| *text)));
                }
            }
            if filled.len() > FILLED_BYTES_MAX {
                return None;
            }
        }
        Some(filled)
    }

    /// Removes the scheme and host of a URL if `is_own` returns `true` for its host, in lower case and without a port.
    pub(super) fn without_host(&self, is_own: impl Fn(&str) -> bool) -> Cow<'_, Self> {
        let Some((_, rest)) = beginning(&self.0).split_once("://") else { return Cow::Borrowed(self) };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_own(&without_port(host).to_ascii_lowercase()) {
            return Cow::Borrowed(self);
        }
        let path = Part::Text(if path.is_empty() { "/" } else { path }.to_owned());
        Cow::Owned(Self([path].into_iter().chain(self.0[1..].iter().cloned()).collect()))
    }

    /// Returns whether it is a path, and not a URL.
    pub(crate) fn is_path(&self) -> bool {
        matches!(self.0.first(), Some(Part::Text(text)) if text.starts_with('/'))
    }

    /// Returns the text before the first capture.
    pub(crate) fn beginning(&self) -> &str {
        beginning(&self.0)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

/// Returns a decoded path as it stands in a reference.
pub(crate) fn escaped_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Returns `true` if browsers take the path for a host: `//host`, `/\host`.
pub(crate) fn is_other_host(path: &str) -> bool {
    path.get(1..).is_some_and(|rest| rest.starts_with(['/', '\\']))
}

/// Returns a reference with one slash at its front: browsers take two for a host.
fn one_slash(reference: &str) -> String {
    match reference.strip_prefix('/') {
        Some(rest) => format!("/{}", rest.trim_start_matches(['/', '\\'])),
        None => reference.to_owned(),
    }
}
