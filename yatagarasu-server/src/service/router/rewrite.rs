//! Rules that lead a path to another one, in the same bucket or by a redirect.

use std::fmt;

use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::service::target::is_host;

/// Maximum number of captures in a rule.
const CAPTURES_MAX: usize = 16;

/// Maximum length of a path or a reference that is put together, in bytes. Keys and most clients take no longer ones.
const FILLED_BYTES_MAX: usize = 8 * 1024;

/// After this many redirects browsers give up (Fetch, "HTTP-redirect fetch").
const REDIRECTS_MAX: usize = 20;

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

/// A piece of a pattern or of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// Some characters of one segment of a path.
    Segment(String),
    /// All that is left of a path, which may be nothing.
    Rest(String),
}

/// A decoded path with captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern(Vec<Part>);

/// The captured pieces of a path, with their names.
pub(crate) type Captures<'a> = Vec<(&'a str, &'a str)>;

impl PathPattern {
    /// Makes a pattern of parts. A `Rest` has to be the last one.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it.
    pub(crate) fn new(parts: Vec<Part>) -> Result<Self, String> {
        let mut names: Vec<&str> = parts.iter().filter_map(Part::name).collect();
        if names.len() > CAPTURES_MAX {
            return Err(format!("expected at most {CAPTURES_MAX} names"));
        }
        let touch = parts.windows(2).any(|pair| pair.iter().all(|part| part.name().is_some()));
        if touch {
            return Err("expected text between two names".to_owned());
        }
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
            return Err(format!("the name `{twice}` stands there twice"));
        }
        match parts.first() {
            Some(Part::Text(text)) if text.starts_with('/') => Ok(Self(parts)),
            _ => Err("expected a path that begins with `/`".to_owned()),
        }
    }

    /// Parses a path with `{name}` for some characters of a segment, or for the rest of the path at its end.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = parts(text)?;
        if let Some(last @ Part::Segment(_)) = parts.last_mut()
            && let Part::Segment(name) = last.clone()
        {
            *last = Part::Rest(name);
        }
        Self::new(parts)
    }

    /// Returns the captures if the whole of a decoded path matches. A capture is as short as the text behind it allows.
    pub(crate) fn captures<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let (mut rest, mut captures) = (path, Vec::new());
        let mut parts = self.0.as_slice();
        // The text at the end is what the path has to end with, wherever else it is found.
        if let [before @ .., Part::Text(text)] = parts
            && !before.is_empty()
        {
            rest = rest.strip_suffix(text.as_str())?;
            parts = before;
        }
        while let Some((part, after)) = parts.split_first() {
            parts = after;
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Rest(name) => {
                    captures.push((name.as_str(), rest));
                    rest = "";
                }
                Part::Segment(name) => {
                    let end = match after.first() {
                        // At least one character is captured.
                        Some(Part::Text(text)) => {
                            let first = rest.chars().next()?.len_utf8();
                            first + rest[first..].find(text.as_str())?
                        }
                        _ => rest.len(),
                    };
                    let (captured, behind) = rest.split_at(end);
                    if captured.is_empty() || captured.contains('/') {
                        return None;
                    }
                    captures.push((name.as_str(), captured));
                    rest = behind;
                }
            }
        }
        rest.is_empty().then_some(captures)
    }

    /// Returns whether there is a capture of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|part| part.name() == Some(name))
    }

    /// Returns a path that matches, with a sign in the place of each capture that no rule names.
    fn sample(&self) -> String {
        self.0.iter().map(|part| if let Part::Text(text) = part { text } else { "\u{1}" }).collect()
    }

    /// Returns the text before the first capture.
    pub(crate) fn beginning(&self) -> &str {
        beginning(&self.0)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Segment(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Returns the text before the first name in braces.
fn beginning(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}

fn show(parts: &[Part], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    parts.iter().try_for_each(|part| match part {
        Part::Text(text) => f.write_str(text),
        Part::Segment(name) | Part::Rest(name) => write!(f, "{{{name}}}"),
    })
}

/// Splits a text at its names in braces.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}').ok_or("expected `}` after `{`")?;
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(format!("expected a name of letters and digits in braces, found `{{{name}}}`"));
        }
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Segment(name.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
        return Err("expected `{` before `}`".to_owned());
    }
    Ok(parts)
}

/// A path or a URL that captures are put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target(Vec<Part>);

impl Target {
    /// Makes a target of parts for what `from` captures.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it.
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
    /// Returns what is wrong with it.
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

/// A rule that leads a path to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pub(crate) from: PathPattern,
    pub(crate) to: Target,
    /// The status of the redirect. Without one, the other path is served in the place of the first.
    pub(crate) status: Option<StatusCode>,
}

/// What a rule leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// A redirect to this reference.
    Redirect(StatusCode, HeaderValue),
    /// A decoded path.
    Path(String),
}

impl Rewrite {
    /// Returns where it leads from, and where to if it is a redirect.
    fn hop(&self) -> Hop<'_> {
        (&self.from, self.status.map(|_| &self.to))
    }

    /// Returns what the rule makes of a decoded path. Returns `None` if it is not for it.
    pub(crate) fn apply(&self, path: &str) -> Option<Rewritten> {
        let captures = self.from.captures(path)?;
        match self.status {
            Some(status) => Some(Rewritten::Redirect(status, self.to.reference(&captures)?)),
            None => Some(Rewritten::Path(self.to.path(&captures)?)),
        }
    }
}

/// Returns the result of the first rule that is for a decoded path.
pub(crate) fn rewritten(rules: &[Rewrite], path: &str) -> Option<Rewritten> {
    rules.iter().find_map(|rule| rule.apply(path))
}

/// Returns the number of the first redirect that leads back to itself, or on and on.
pub(crate) fn endless(rules: &[Rewrite]) -> Option<usize> {
    let hops: Vec<_> = rules.iter().map(Rewrite::hop).collect();
    endless_hops(&hops, |_| String::new(), SamePath::LeadsOn)
}

/// A step of a client. Without a target it is the last one.
pub(crate) type Hop<'a> = (&'a PathPattern, Option<&'a Target>);

/// What becomes of a redirect from a path to the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SamePath {
    /// It is sent, and clients come back.
    LeadsOn,
    /// It is not sent.
    Ends,
}

/// Returns the number of the first redirect that leads back to itself, or on and on. A path that no pattern is for may have
/// another form.
pub(crate) fn endless_hops(
    hops: &[Hop<'_>],
    other_form: impl Fn(&str) -> String,
    same_path: SamePath,
) -> Option<usize> {
    let is_redirect = |to: Option<&Target>| to.is_some_and(Target::is_path);
    (0..hops.len()).filter(|&index| is_redirect(hops[index].1)).find(|&index| {
        let mut path = hops[index].0.sample();
        for _ in 0..=REDIRECTS_MAX {
            let other = other_form(&path);
            let matching = hops.iter().find_map(|(from, to)| {
                let captured = from.captures(&path).or_else(|| from.captures(&other))?;
                Some((*to, captured))
            });
            let Some((Some(to), captured)) = matching.filter(|(to, _)| is_redirect(*to)) else {
                return false;
            };
            // What gets longer and longer leads on and on, too.
            let Some(next) = to.path(&captured) else { return true };
            // A query or a fragment is no part of the next path.
            let end = next.find(['?', '#']).unwrap_or(next.len());
            let next = percent_decode_str(&next[..end]).decode_utf8_lossy().into_owned();
            if next == path && same_path == SamePath::Ends {
                return false;
            }
            path = next;
        }
        true
    })
}

/// Returns a reference with the query of the request, unless it has one of its own.
pub(crate) fn with_query(reference: HeaderValue, query: Option<&str>) -> HeaderValue {
    let Some((text, query)) = reference.to_str().ok().zip(query) else { return reference };
    if text.contains('?') {
        return reference;
    }
    let (before, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
    HeaderValue::try_from(format!("{before}?{query}{fragment}")).unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(from: &str, to: &str, status: u16) -> Rewrite {
        let from = PathPattern::parse(from).unwrap();
        let to = Target::parse(to, &from).unwrap();
        Rewrite { from, to, status: (status != 0).then(|| StatusCode::from_u16(status).unwrap()) }
    }

    fn applied(from: &str, to: &str, status: u16, path: &str) -> Option<String> {
        rule(from, to, status).apply(path).map(|rewritten| match rewritten {
            Rewritten::Redirect(_, reference) => reference.to_str().unwrap().to_owned(),
            Rewritten::Path(path) => path,
        })
    }

    #[test]
    fn captures_go_where_the_target_names_them() {
        for (from, to, path, expected) in [
            ("/old/{rest}", "/new/{rest}", "/old/a/b", Some("/new/a/b")),
            ("/old/{rest}", "/new/{rest}", "/old/", Some("/new/")),
            ("/old/{rest}", "/new/{rest}", "/old", None),
            ("/old", "/new", "/old", Some("/new")),
            ("/old", "/new", "/old/", None),
            ("/{year}/{slug}.html", "/posts/{slug}-{year}", "/2020/a.html.html", Some("/posts/a.html-2020")),
            ("/{year}/{slug}.html", "/posts/{slug}", "/2020/a/b.html", None),
            ("/{a}-{b}/x", "/{b}/{a}", "/1-2-3/x", Some("/2-3/1")),
            ("/{a}-{b}/x", "/{b}/{a}", "/-2/x", None),
            ("/v/{id}/", "/w/{id}", "/v/\u{e9}/", Some("/w/\u{e9}")),
        ] {
            assert_eq!(applied(from, to, 0, path).as_deref(), expected, "{from} {to} {path}");
        }
    }

    #[test]
    fn a_redirect_is_escaped_and_leads_to_no_other_host() {
        for (to, path, expected) in [
            ("/{rest}", "/old//evil.example/", "/evil.example/"),
            ("/{rest}", "/old/\\evil.example", "/%5Cevil.example"),
            ("/{rest}", "/old/a b\r\nc?d#e%", "/a%20b%0D%0Ac%3Fd%23e%25"),
            ("https://b.example/x/{rest}", "/old/@evil.example", "https://b.example/x/@evil.example"),
            ("/new#{rest}", "/old/part", "/new#part"),
        ] {
            assert_eq!(applied("/old/{rest}", to, 301, path).as_deref(), Some(expected), "{to} {path}");
        }
        for (reference, query, expected) in [
            ("/a", Some("b=c"), "/a?b=c"),
            ("/a?x", Some("b=c"), "/a?x"),
            ("/a#f", Some("b"), "/a?b#f"),
            ("/a", None, "/a"),
        ] {
            assert_eq!(with_query(HeaderValue::from_static(reference), query), expected);
        }
    }

    #[test]
    fn what_gets_too_long_is_not_put_together() {
        let long = format!("/old/{}", "a".repeat(3000));
        assert!(applied("/old/{rest}", "/{rest}/{rest}", 301, &long).is_some());
        for status in [0, 301] {
            assert_eq!(applied("/old/{rest}", "/{rest}/{rest}/{rest}", status, &long), None);
        }
        let from = PathPattern::parse("/{a}").unwrap();
        assert!(Target::parse(&"/{a}".repeat(CAPTURES_MAX), &from).is_ok());
        assert!(Target::parse(&"/{a}".repeat(CAPTURES_MAX + 1), &from).is_err());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for from in ["old", "", "/{a}{b}", "/{a}/{a}", "/{", "/}", "/{a b}", "{a}", "/{}"] {
            assert!(PathPattern::parse(from).is_err(), "{from}");
        }
        let from = PathPattern::parse("/{a}").unwrap();
        for to in
            ["x", "", "//x", "/\\x", "{a}", "/{b}", "https://{a}/", "https://x{a}", "ftp://x/", "https:///x"]
        {
            assert!(Target::parse(to, &from).is_err(), "{to}");
        }
        for to in ["/", "/x/{a}", "https://x.example", "https://x.example:8/{a}", "/?q={a}"] {
            assert!(Target::parse(to, &from).is_ok(), "{to}");
        }
    }

    #[test]
    fn endless_redirects_are_found() {
        for (rules, expected) in [
            (vec![rule("/a", "/b", 301), rule("/b", "/a", 302)], Some(0)),
            (vec![rule("/a", "/a", 301)], Some(0)),
            (vec![rule("/x", "/y", 301), rule("/a/{rest}", "/a/b/{rest}", 301)], Some(1)),
            (vec![rule("/{rest}", "/x/{rest}", 308)], Some(0)),
            (vec![rule("/a", "/b", 301), rule("/b", "/c", 302)], None),
            (vec![rule("/a/{rest}", "/{rest}", 301)], None),
            (vec![rule("/a", "/b", 301), rule("/b", "/a", 0)], None),
            (vec![rule("/a", "https://b.example/a", 301)], None),
            (vec![rule("/a", "/b?x", 301), rule("/b", "/a#y", 301)], Some(0)),
            (vec![rule("/a b", "/a%20b", 301)], Some(0)),
            (vec![rule("/{rest}", "/x{rest}/{rest}/{rest}", 301)], Some(0)),
        ] {
            assert_eq!(endless(&rules), expected, "{rules:?}");
        }
    }

    proptest! {
        #[test]
        fn no_redirect_leads_to_another_host(path in "(/[/\\\\a.@:]{0,8}){1,3}", to in "/(x/)?\\{rest\\}") {
            let reference = applied("/{rest}", &to, 301, &path).unwrap();
            prop_assert!(reference.starts_with('/') && !is_other_host(&reference), "{}", reference);
        }
    }
}
