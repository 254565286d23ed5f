//! `_headers`: paths, and below each the header fields of its responses.

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue};
use yatagarasu_core::ObjectKey;
use yatagarasu_core::http::fields::is_own_of_responses;

use crate::service::router::rewrite::PathPattern;
use crate::service::site::kept::KeptObject;
use crate::service::site::rules::redirects::pattern;
use crate::service::site::rules::{BadLines, LINE_BYTES_MAX, lines};

/// Maximum number of paths. What follows is left out.
const RULES_MAX: usize = 500;

/// Maximum number of fields of all paths together. A response may have all of them.
const FIELDS_MAX: usize = 500;

/// The rules of a website about the fields of its responses. All that are for a path count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldRules {
    rules: Vec<Rule>,
    pub(crate) bad: BadLines,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// The number of its line.
    line: usize,
    path: PathPattern,
    changes: Vec<(HeaderName, Change)>,
}

/// A change to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Set(HeaderValue),
    /// It is removed (`! Name`), also if a rule before sets it.
    Remove,
}

/// What the rules change about the response to one path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PathFields {
    removed: Vec<HeaderName>,
    set: HeaderMap,
}

impl FieldRules {
    /// Reads the rules of a file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut rules = Self::default();
        // Whether the fields of a path that is left out are left out with it.
        let mut skipped = false;
        for (line, text) in lines(text) {
            let parsed = match text.split_whitespace().next() {
                Some(word) if ["/", "http://", "https://"].iter().any(|begin| word.starts_with(begin)) => {
                    let begun = rules.begin(line, text);
                    skipped = begun.is_err();
                    begun
                }
                _ if skipped => continue,
                _ => rules.add(text),
            };
            if let Err(reason) = parsed {
                rules.bad.add(line, reason);
            }
        }
        rules
    }

    fn begin(&mut self, line: usize, path: &str) -> Result<(), String> {
        if self.rules.len() >= RULES_MAX {
            return Err(format!("there are {RULES_MAX} paths already"));
        }
        self.rules.push(Rule { line, path: pattern(path)?, changes: Vec::new() });
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        if text.len() > LINE_BYTES_MAX {
            return Err(format!("it has more than {LINE_BYTES_MAX} bytes"));
        }
        if self.rules.iter().map(|rule| rule.changes.len()).sum::<usize>() >= FIELDS_MAX {
            return Err(format!("there are {FIELDS_MAX} fields already"));
        }
        let rule = self.rules.last_mut().ok_or("expected a path such as `/*` before the fields")?;
        let (name, change) = match (text.strip_prefix('!'), text.split_once(':')) {
            (Some(name), _) => (name, Change::Remove),
            (None, Some((name, value))) => {
                let value = HeaderValue::from_str(value.trim());
                (name, Change::Set(value.map_err(|_| "expected printable ASCII characters as the value")?))
            }
            (None, None) => {
                return Err(format!("expected a field such as `X-Frame-Options: DENY`, found `{text}`"));
            }
        };
        let name = name.trim();
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| format!("`{name}` is no name of a header field"))?;
        if is_own_of_responses(&parsed) {
            return Err(format!("`{name}` is the gateway's or the object's own"));
        }
        if parsed == CONTENT_ENCODING {
            return Err(format!("`{name}` has to be set at S3, with the object"));
        }
        rule.changes.push((parsed, change));
        Ok(())
    }

    /// Returns the number of paths.
    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns the lines of the rules that are for a decoded path.
    pub(crate) fn lines_for(&self, path: &str) -> Vec<usize> {
        let rules = self.rules.iter().filter(|rule| rule.path.captures(path).is_some());
        rules.map(|rule| rule.line).collect()
    }

    /// Returns whether a rule is for a decoded path.
    pub(crate) fn are_for(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| rule.path.captures(path).is_some())
    }

    /// Returns the changes to the response to a decoded path. Values of one name stand beside each other.
    pub(crate) fn changes(&self, path: &str) -> PathFields {
        let mut fields = PathFields::default();
        let rules = self.rules.iter().filter(|rule| rule.path.captures(path).is_some());
        for (name, change) in rules.flat_map(|rule| &rule.changes) {
            if !fields.removed.contains(name) {
                fields.removed.push(name.clone());
            }
            match change {
                Change::Set(value) => {
                    fields.set.append(name, value.clone());
                }
                Change::Remove => {
                    fields.set.remove(name);
                }
            }
        }
        fields
    }
}

impl KeptObject for FieldRules {
    const WHAT: &'static str = "a file of header fields";

    fn read(_key: &ObjectKey, _headers: HeaderMap, content: Bytes) -> Self {
        Self::parse(&String::from_utf8_lossy(&content))
    }

    fn announce(&self, key: &ObjectKey) {
        self.bad.announce(key);
    }
}

impl PathFields {
    /// Changes the fields of a response.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, path: &str, expected: &[(&str, &str)]) {
        let rules = FieldRules::parse(rules);
        assert_eq!(rules.bad.first(), []);
        let mut headers: HeaderMap = [("etag", "e"), ("x-powered-by", "s3")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        rules.changes(path).apply(&mut headers);
        let found: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn all_rules_for_a_path_count() {
        let rules = "# for all\n/*\n  X-Frame-Options: DENY\n  ! X-Powered-By\n\n\
                     /assets/*\n  Cache-Control: public\n  Cache-Control: max-age=60\n  ! x-frame-options\n\
                     /:page.html\nlink: </a.css>; rel=preload\nAccess-Control-Allow-Origin:https://a.example\n";
        check(rules, "/", &[("etag", "e"), ("x-frame-options", "DENY")]);
        check(
            rules,
            "/assets/a.js",
            &[("etag", "e"), ("cache-control", "public"), ("cache-control", "max-age=60")],
        );
        check(
            rules,
            "/b.html",
            &[
                ("etag", "e"),
                ("x-frame-options", "DENY"),
                ("link", "</a.css>; rel=preload"),
                ("access-control-allow-origin", "https://a.example"),
            ],
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let text = "X-A: 1\n/a\n  no field\n  content-length: 5\n  connection: close\n  b c: d\n  X-B: \u{1}\n\
                    https://a.example/*\n  X-C: left out with its path\n/b/*/c\n/d\n  X-D: 1\n  ETag: e\n  \
                    Content-Encoding: gzip";
        let rules = FieldRules::parse(text);
        let lines: Vec<_> = rules.bad.first().iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8, 10, 13, 14], "{:#?}", rules.bad.first());
        assert_eq!(rules.len(), 2);
        assert!(rules.are_for("/d") && !rules.are_for("/b"));
    }

    #[test]
    fn rules_are_bounded() {
        let rules = FieldRules::parse(&"/a\n".repeat(RULES_MAX + 1));
        assert_eq!((rules.len(), rules.bad.first().len()), (RULES_MAX, 1));
        let fields: Vec<_> = (0..FIELDS_MAX + 2).map(|number| format!("X-{number}: 1")).collect();
        let rules = FieldRules::parse(&format!("/a\n{}", fields.join("\n")));
        let mut headers = HeaderMap::new();
        rules.changes("/a").apply(&mut headers);
        assert_eq!((headers.len(), rules.bad.first().len()), (FIELDS_MAX, 2));
    }
}
