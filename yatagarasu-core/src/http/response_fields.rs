//! What an operator changes about the header fields of responses.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub use glob::{Pattern, PatternError};

use crate::http::coding::{CodedTypes, varies_by_coding, vary_by_coding};

/// The name that stands in `Vary`.
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// The changes to the fields of a bucket's responses.
#[derive(Debug, Clone, Default)]
pub struct ResponseFields {
    /// Names of fields that no client gets.
    hidden: Vec<NamePattern>,
    rules: Vec<FieldRule>,
    vary: VaryOrigin,
    /// The types of objects that some clients get in a content coding, which `Vary` says.
    coded: Option<Arc<CodedTypes>>,
}

/// A pattern of field names. Most are plain names, and comparing those takes no time.
#[derive(Debug, Clone)]
enum NamePattern {
    Plain(Box<str>),
    Glob(Pattern),
}

impl NamePattern {
    fn as_str(&self) -> &str {
        match self {
            Self::Plain(name) => name,
            Self::Glob(pattern) => pattern.as_str(),
        }
    }

    fn matches(&self, name: &HeaderName) -> bool {
        match self {
            Self::Plain(plain) => **plain == *name.as_str(),
            Self::Glob(pattern) => pattern.matches(name.as_str()),
        }
    }
}

impl From<Pattern> for NamePattern {
    fn from(pattern: Pattern) -> Self {
        if pattern.as_str().contains(['*', '?', '[']) {
            Self::Glob(pattern)
        } else {
            Self::Plain(pattern.as_str().into())
        }
    }
}

/// A change to the fields of the responses for some keys.
#[derive(Debug, Clone)]
pub struct FieldRule {
    /// The keys. `*` also stands for `/`.
    pub keys: Pattern,
    /// Names of fields that are removed, in lower case.
    pub remove: Vec<Pattern>,
    /// Fields that are set in the place of others of their names.
    pub set: HeaderMap,
}

/// Whether responses name `Origin` in `Vary` (RFC 9110 12.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VaryOrigin {
    /// They do if the source says so.
    #[default]
    AsTheSource,
    /// They always do, because answers to other origins may differ.
    Always,
}

impl ResponseFields {
    /// Hides fields whose names match `hidden`, and applies all rules that match.
    pub fn new(hidden: Vec<Pattern>, rules: Vec<FieldRule>) -> Self {
        let hidden = hidden.into_iter().map(NamePattern::from).collect();
        Self { hidden, rules, vary: VaryOrigin::default(), coded: None }
    }

    /// Returns the same changes, with another `Vary`.
    #[must_use]
    pub fn varying(self, vary: VaryOrigin) -> Self {
        Self { vary, ..self }
    }

    /// Returns the same changes, for a bucket that sends objects of these types in content codings.
    #[must_use]
    pub fn coding(self, types: Option<Arc<CodedTypes>>) -> Self {
        Self { coded: types, ..self }
    }

    /// Returns the names that are hidden.
    pub fn hidden(&self) -> impl Iterator<Item = &str> {
        self.hidden.iter().map(NamePattern::as_str)
    }

    /// Returns the rules.
    pub fn rules(&self) -> impl Iterator<Item = &FieldRule> {
        self.rules.iter()
    }

    /// Changes the fields of a response. `key` is the object's key, or `None` for a response about none.
    pub fn apply(&self, key: Option<&str>, headers: &mut HeaderMap) {
        let key = key.unwrap_or_default();
        let added = self.added(key, headers);
        let names: Vec<_> = headers.keys().filter(|name| self.drops(key, name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
        for (name, value) in added {
            headers.append(name, value);
        }
    }

    fn rules_for<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a FieldRule> {
        self.rules.iter().filter(move |rule| rule.keys.matches(key))
    }

    /// Returns `true` if a field of a response for `key` is removed, or another one takes its place.
    pub(crate) fn drops(&self, key: &str, name: &HeaderName) -> bool {
        let is = |pattern: &Pattern| pattern.matches(name.as_str());
        let changed = |rule: &FieldRule| rule.set.contains_key(name) || rule.remove.iter().any(is);
        self.hidden.iter().any(|hidden| hidden.matches(name)) || self.rules_for(key).any(changed)
    }

    /// Returns the fields that a response for `key` with the fields `own` has besides them.
    pub(crate) fn added(&self, key: &str, own: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        if self.rules.is_empty() && self.coded.is_none() {
            let named = !self.drops(key, &header::VARY) && varies(own);
            let lacks_origin = self.vary == VaryOrigin::Always && !named;
            return if lacks_origin { vec![(header::VARY, ORIGIN)] } else { Vec::new() };
        }
        let mut set = HeaderMap::new();
        for (name, value) in self.rules_for(key).flat_map(|rule| &rule.set) {
            set.insert(name, value.clone());
        }
        let named = if self.drops(key, &header::VARY) { varies(&set) } else { varies(own) };
        if self.vary == VaryOrigin::Always && !named {
            set.append(header::VARY, ORIGIN);
        }
        // What is in a coding already says so, and must go on saying so whatever becomes of its own `Vary`.
        if self.coded.as_ref().is_some_and(|types| types.are_for(own) || varies_by_coding(own)) {
            let named = !self.drops(key, &header::VARY) && varies_by_coding(own);
            if !named {
                vary_by_coding(&mut set);
            }
        }
        set.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Names `Origin` in `Vary`, unless it or `*` is there.
pub fn vary_by_origin(headers: &mut HeaderMap) {
    if !varies(headers) {
        headers.append(header::VARY, ORIGIN);
    }
}

/// Returns `true` if `Vary` names `Origin` or `*`.
pub fn varies(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::VARY).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    names.map(<[u8]>::trim_ascii).any(|name| name.eq_ignore_ascii_case(b"origin") || name == b"*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[track_caller]
    fn check(fields: &ResponseFields, key: &str, given: &[(&'static str, &str)], expected: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, value.parse().unwrap());
        }
        fields.apply(Some(key), &mut headers);
        let mut found: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{key}");
    }

    #[test]
    fn fields_are_hidden_removed_and_set() {
        let set = [(header::X_FRAME_OPTIONS, "DENY".parse().unwrap())].into_iter().collect();
        let html = FieldRule { keys: pattern("*.html"), remove: vec![pattern("x-amz-meta-*")], set };
        let fields = ResponseFields::new(vec![pattern("x-amz-expiration")], vec![html]);
        let given =
            [("etag", "e"), ("x-amz-expiration", "r"), ("x-amz-meta-a", "1"), ("x-frame-options", "x")];
        check(&fields, "a/b.html", &given, &[("etag", "e"), ("x-frame-options", "DENY")]);
        let kept = [("etag", "e"), ("x-amz-meta-a", "1"), ("x-frame-options", "x")];
        check(&fields, "a/b.css", &given, &kept);
    }

    #[test]
    fn codings_are_named_once_for_what_may_have_one() {
        let types = Arc::new(CodedTypes(vec![pattern("text/*")]));
        let fields = ResponseFields::default().coding(Some(types)).varying(VaryOrigin::Always);
        let both = [("content-type", "text/css"), ("vary", "Accept-Encoding"), ("vary", "Origin")];
        check(&fields, "k", &[("content-type", "text/css")], &both);
        check(&fields, "k", &both, &both);
        check(&fields, "k", &[("content-type", "a/b")], &[("content-type", "a/b"), ("vary", "Origin")]);
        let set = [(header::VARY, "Cookie".parse().unwrap())].into_iter().collect();
        let cookie = FieldRule { keys: pattern("*"), remove: Vec::new(), set };
        let types = Arc::new(CodedTypes(vec![pattern("text/*")]));
        let fields = ResponseFields::new(vec![pattern("vary")], vec![cookie]).coding(Some(types));
        let coded = [("content-encoding", "br"), ("content-type", "text/css")];
        let given = [coded[0], coded[1], ("vary", "Accept-Encoding")];
        let kept = [coded[0], coded[1], ("vary", "Accept-Encoding"), ("vary", "Cookie")];
        check(&fields, "k", &given, &kept);
        check(&fields, "k", &coded, &[coded[0], coded[1], ("vary", "Cookie")]);
    }

    #[test]
    fn origin_is_named_once() {
        let fields = ResponseFields::default().varying(VaryOrigin::Always);
        check(&fields, "k", &[], &[("vary", "Origin")]);
        check(&fields, "k", &[("vary", "accept , ORIGIN")], &[("vary", "accept , ORIGIN")]);
        check(&fields, "k", &[("vary", "*")], &[("vary", "*")]);
        check(&fields, "k", &[("vary", "accept")], &[("vary", "Origin"), ("vary", "accept")]);
    }
}
