//! `_redirects`: each line has a path, where it leads, and a status.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{CONTROLS, percent_decode, percent_decode_str, utf8_percent_encode};
use yatagarasu_core::ObjectKey;

use crate::service::router::rewrite::{Captures, Hop, Part, PathPattern, SamePath, Target, endless_hops};
use crate::service::site::kept::KeptObject;
use crate::service::site::rules::{BadLines, LINE_BYTES_MAX, lines};

/// Maximum number of rules that count if there is no object. Further ones are left out.
const RULES_MAX: usize = 2000;

/// Maximum number of rules that count before objects do: every request is compared with them.
const RULES_FIRST_MAX: usize = 100;

/// Most paths that are compared with patterns in search of endless redirects: some milliseconds.
const COMPARED_MAX: usize = 100_000;

/// The name under which `*` is put into a target.
const SPLAT: &str = "splat";

/// The rules of a website about its paths. The first that is for a path counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Redirects {
    /// Those that count before objects do.
    first: Vec<Rule>,
    /// Those that count if there is no object.
    otherwise: Vec<Rule>,
    pub(crate) bad: BadLines,
    /// The lines of redirects that lead on and on where there are no objects.
    pub(crate) endless: Vec<usize>,
}

/// A rule about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The number of its line.
    pub(crate) line: usize,
    from: PathPattern,
    to: Target,
    action: Action,
    precedence: Precedence,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// It redirects with this status.
    Redirect(StatusCode),
    /// It serves another page with this status.
    Page(StatusCode),
}

/// Whether a rule or an object goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precedence {
    /// The rule counts if there is no object.
    ObjectsFirst,
    /// The rule counts whether or not there is an object (`301!`).
    RuleFirst,
}

/// What a rule makes of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ruled {
    /// A redirect. The reference is a path of the website, or a URL.
    Redirect(StatusCode, HeaderValue),
    /// The page at this decoded path, with this status.
    Page(StatusCode, String),
}

impl Redirects {
    /// Reads the rules of a file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut redirects = Self::default();
        for (line, text) in lines(text) {
            if let Err(reason) = Rule::parse(line, text).and_then(|rule| redirects.add(rule)) {
                redirects.bad.add(line, reason);
            }
        }
        redirects.drop_endless();
        redirects.find_endless();
        redirects
    }

    fn add(&mut self, rule: Rule) -> Result<(), String> {
        let (rules, most, kind) = match rule.precedence {
            Precedence::RuleFirst => (&mut self.first, RULES_FIRST_MAX, " with `!`"),
            Precedence::ObjectsFirst => (&mut self.otherwise, RULES_MAX, ""),
        };
        if rules.len() >= most {
            return Err(format!("there are {most} rules{kind} already"));
        }
        rules.push(rule);
        Ok(())
    }

    /// Leaves out the rules that lead on and on whatever objects there are.
    fn drop_endless(&mut self) {
        loop {
            let hops: Vec<_> = self.first.iter().map(Rule::hop).collect();
            let found = endless_hops(&hops, other_form, SamePath::Ends, usize::MAX).next();
            let Some(index) = found else { return };
            let line = self.first.remove(index).line;
            self.bad.add(line, "the redirect leads back to itself, or on and on".to_owned());
        }
    }

    /// Records the others that may lead on and on. They stay: they end where an object is.
    fn find_endless(&mut self) {
        let rules = || self.first.iter().chain(&self.otherwise);
        let hops: Vec<_> = rules().map(Rule::hop).collect();
        let endless: HashSet<_> = endless_hops(&hops, other_form, SamePath::Ends, COMPARED_MAX).collect();
        let lines = rules().enumerate().filter(|(index, _)| endless.contains(index));
        self.endless = lines.map(|(_, rule)| rule.line).collect();
    }

    /// Returns the number of rules.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.otherwise.len()
    }

    /// Returns the first rule of this precedence for a decoded path.
    pub(crate) fn find(&self, path: &str, precedence: Precedence) -> Option<(&Rule, Ruled)> {
        let rules = match precedence {
            Precedence::RuleFirst => &self.first,
            Precedence::ObjectsFirst => &self.otherwise,
        };
        if rules.is_empty() {
            return None;
        }
        let other = other_form(path);
        rules.iter().find_map(|rule| Some((rule, rule.apply(path, &other)?)))
    }
}

impl KeptObject for Redirects {
    const WHAT: &'static str = "a file of redirects";

    fn read(_key: &ObjectKey, _headers: HeaderMap, content: Bytes) -> Self {
        Self::parse(&String::from_utf8_lossy(&content))
    }

    fn announce(&self, key: &ObjectKey) {
        self.bad.announce(key);
        if !self.endless.is_empty() {
            let (key, lines) = (key.as_str(), &self.endless);
            tracing::warn!(key, ?lines, "redirects of a website lead on and on where there are no objects");
        }
    }
}

impl Rule {
    fn hop(&self) -> Hop<'_> {
        let is_redirect = matches!(self.action, Action::Redirect(_));
        (&self.from, Some(&self.to).filter(|_| is_redirect))
    }

    fn parse(line: usize, text: &str) -> Result<Self, String> {
        if text.len() > LINE_BYTES_MAX {
            return Err(format!("it has more than {LINE_BYTES_MAX} bytes"));
        }
        let words = text.split_whitespace().take_while(|word| !word.starts_with('#'));
        let words: Vec<_> = words.collect();
        let (from, to, status) = match *words.as_slice() {
            [from, to] => (from, to, "301"),
            [from, to, status] => (from, to, status),
            _ => {
                return Err("expected a path, where it leads, and a status, such as `/old /new 301`; \
                            conditions are not supported"
                    .to_owned());
            }
        };
        let precedence = if status.ends_with('!') { Precedence::RuleFirst } else { Precedence::ObjectsFirst };
        let action = action(status.trim_end_matches('!'))?;
        if from.contains('?') {
            return Err(format!(
                "expected a path without a query, found `{from}`: query parameters are not supported"
            ));
        }
        let from = pattern(from)?;
        let to = target(to, action, &from)?;
        if matches!(action, Action::Redirect(_)) && leads_to_itself(&from, &to) {
            return Err("the redirect leads to the path that it is for".to_owned());
        }
        Ok(Self { line, from, to, action, precedence })
    }

    /// Returns what it makes of a decoded path, of which `other` is the other form.
    fn apply(&self, path: &str, other: &str) -> Option<Ruled> {
        let captures = captures_page(&self.from, path, other)?;
        match self.action {
            Action::Redirect(status) => {
                let reference = self.to.reference(&captures)?;
                // Clients would come back with the same path.
                (!is_path(&reference, path)).then_some(Ruled::Redirect(status, reference))
            }
            Action::Page(status) => Some(Ruled::Page(status, self.to.path(&captures)?)),
        }
    }
}

/// Returns whether a redirect leads to any path that it is for.
fn leads_to_itself(from: &PathPattern, to: &Target) -> bool {
    let path = from.sample();
    let reference = from.captures(&path).and_then(|captures| to.reference(&captures));
    reference.is_some_and(|reference| is_path(&reference, &path))
}

/// Returns whether a reference is this decoded path.
fn is_path(reference: &HeaderValue, path: &str) -> bool {
    percent_decode(reference.as_bytes()).eq(path.bytes())
}

/// Returns a path with a slash at its end without it, and with it otherwise.
fn other_form(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// Returns what a pattern captures of a path, or of its other form: with and without a slash at its end, a path is the same
/// page.
fn captures_page<'a>(from: &'a PathPattern, path: &'a str, other: &'a str) -> Option<Captures<'a>> {
    from.captures(path).or_else(|| from.captures(other))
}

fn action(status: &str) -> Result<Action, String> {
    match status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => Ok(Action::Redirect(status)),
            200 | 404 | 410 => Ok(Action::Page(status)),
            number => Err(format!("expected 301, 302, 303, 307, 308, 200, 404 or 410, found `{number}`")),
        },
        None => Err(format!(
            "expected a status such as 301, or `301!`, found `{status}`; conditions are not supported"
        )),
    }
}

/// Parses a path with `:name` for a segment and `*` for the rest at its end.
pub(super) fn pattern(text: &str) -> Result<PathPattern, String> {
    if !text.starts_with('/') {
        return Err(format!("expected a path of the website, found `{text}`"));
    }
    let (text, splat) = match text.strip_suffix('*') {
        Some(before) => (before, Some(Part::Rest(SPLAT.to_owned()))),
        None => (text, None),
    };
    if text.contains('*') {
        return Err("`*` stands only at the end of a path".to_owned());
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    // The colon in `/Category:Books` names nothing.
    let is_name = |before: &str, _: &str| before.ends_with('/');
    PathPattern::new(parts(text, is_name, decode).into_iter().chain(splat).collect())
}

/// Parses a path or a URL with `:name` and `:splat`.
fn target(text: &str, action: Action, from: &PathPattern) -> Result<Target, String> {
    let is_name = |before: &str, name: &str| before.ends_with('/') || from.has(name);
    let made = match action {
        Action::Page(_) if !text.starts_with('/') => {
            return Err(format!(
                "expected a path of the website, as only redirects lead to others; found `{text}`"
            ));
        }
        Action::Page(_) => {
            let path = text.split(['?', '#']).next().unwrap_or_default();
            parts(path, is_name, |text| percent_decode_str(text).decode_utf8_lossy().into_owned())
        }
        Action::Redirect(_) => parts(text, is_name, |text| utf8_percent_encode(text, CONTROLS).to_string()),
    };
    let unknown = made.iter().find_map(|part| match part {
        Part::Segment(name) | Part::Rest(name) if !from.has(name) => Some(name),
        _ => None,
    });
    match unknown {
        Some(name) => Err(format!("`:{name}` is not in the path before")),
        None => Target::new(made, from),
    }
}

/// Splits a text at its `:name`s. `is_name` says whether a colon names something, by the text before it and the name.
/// `form` is how the text between names is written.
fn parts(text: &str, is_name: impl Fn(&str, &str) -> bool, form: impl Fn(&str) -> String) -> Vec<Part> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(colon) = rest.find(':') {
        let after = &rest[colon + 1..];
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        literal.push_str(&rest[..colon]);
        // The port of a URL is no name.
        if after.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(&literal, &after[..end]) {
            if !literal.is_empty() {
                parts.push(Part::Text(form(&literal)));
                literal.clear();
            }
            parts.push(Part::Segment(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            literal.push(':');
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(form(&literal)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, path: &str, expected: Option<(u16, &str)>) {
        let redirects = Redirects::parse(rules);
        assert_eq!(redirects.bad.first(), [], "{rules}");
        let found = [Precedence::RuleFirst, Precedence::ObjectsFirst];
        let found = found.iter().find_map(|precedence| redirects.find(path, *precedence));
        let found = found.map(|(_, ruled)| match ruled {
            Ruled::Redirect(status, to) => (status.as_u16(), to.to_str().unwrap().to_owned()),
            Ruled::Page(status, path) => (status.as_u16(), path),
        });
        let found = found.as_ref().map(|(status, to)| (*status, to.as_str()));
        assert_eq!(found, expected, "{rules} {path}");
    }

    #[test]
    fn the_first_rule_for_a_path_counts() {
        check("/a /b", "/a", Some((301, "/b")));
        check("/a /b 302\n/a /c 301", "/a", Some((302, "/b")));
        check("# all\n\n  /a\t/b  307   # why", "/a/", Some((307, "/b")));
        check("\u{feff}/a/ /b 308\r\n/c /d 303\r\n", "/c", Some((303, "/d")));
        check("/a /b", "/ab", None);
        check("/blog/* /news/:splat", "/blog/2020/x", Some((301, "/news/2020/x")));
        check("/blog/* /news/:splat", "/blog", Some((301, "/news/")));
        check("/:year/:slug.html /p/:slug?y=:year 302", "/2020/x.html", Some((302, "/p/x?y=2020")));
        check(
            "/* https://new.example:8443/:splat 301!",
            "/a b",
            Some((301, "https://new.example:8443/a%20b")),
        );
        check("/caf%C3%A9 /th\u{e9}", "/caf\u{e9}", Some((301, "/th%C3%A9")));
        check("/app/* /app/index.html?x#y 200", "/app/x/y", Some((200, "/app/index.html")));
        check("/gone /gone.html 410", "/gone", Some((410, "/gone.html")));
        check("/* /404.html 404", "/x", Some((404, "/404.html")));
        check("/wiki/Category:Foo /x", "/wiki/Category:Foo", Some((301, "/x")));
        check("/wiki/Category:Foo /x", "/wiki/CategoryBar", None);
        check("/x /wiki/Category:Foo", "/x", Some((301, "/wiki/Category:Foo")));
        // With and without a slash it is the same page, which leads nowhere else.
        check("/blog /blog/ 301", "/blog", Some((301, "/blog/")));
        check("/blog /blog/ 301", "/blog/", None);
        // An object is there, and ends it.
        check("/* /index.html 302", "/x", Some((302, "/index.html")));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let text = "/a\n\
                    # fine\n\
                    old /b\n\
                    /a /b 500\n\
                    /a /b x\n\
                    /a /b 301 Country=de\n\
                    /store id=:id /b/:id 301\n\
                    /a/*/b /c\n\
                    /a /b/:c\n\
                    /a https://b.example/ 200\n\
                    /a //b.example/\n\
                    /good /better\n\
                    /a /:b:c:d\n\
                    https://a.example/* /b\n\
                    /x/* /x/y/:splat 301!\n\
                    /y /z 301!\n\
                    /z /y 301!\n\
                    /s /s/ 301!\n\
                    /t /u/ 301!\n\
                    /u /t/ 301!\n\
                    /w/* /:splat/:splat/:splat 301!\n\
                    /q?x=1 /b\n\
                    /a%20b /a%20b 301\n\
                    /v/* /v/:splat 302!";
        let redirects = Redirects::parse(text);
        let lines: Vec<_> = redirects.bad.first().iter().map(|bad| bad.line).collect();
        assert_eq!(
            lines,
            [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 22, 23, 24, 15, 16, 19],
            "{:#?}",
            redirects.bad
        );
        assert_eq!(redirects.len(), 5);
        assert_eq!(redirects.find("/good", Precedence::ObjectsFirst).unwrap().0.line, 12);
    }

    #[test]
    fn redirects_that_only_objects_end_are_named() {
        for (text, expected) in [
            ("/a /b\n/b /a", &[1, 2][..]),
            ("/x /y\n/a/* /a/b/:splat", &[2]),
            ("/a /b\n/b /c", &[]),
            ("/* /index.html 302", &[]),
            ("/blog /blog/", &[]),
            ("/a /b 301!\n/b /a", &[1, 2]),
            ("/a /b\n/b /a 200", &[]),
        ] {
            let redirects = Redirects::parse(text);
            assert_eq!((redirects.endless.as_slice(), redirects.bad.first()), (expected, &[][..]), "{text}");
        }
        // The search ends: a file of this kind takes no longer than others.
        let many: Vec<_> = (0..RULES_MAX).map(|n| format!("/{n} /{}", (n + 1) % RULES_MAX)).collect();
        assert!(Redirects::parse(&many.join("\n")).endless.len() < RULES_MAX);
    }

    #[test]
    fn rules_are_bounded() {
        let text = "/a /b\n".repeat(RULES_MAX + 1);
        let redirects = Redirects::parse(&text);
        assert_eq!((redirects.len(), redirects.bad.first().len()), (RULES_MAX, 1));
        assert_eq!(redirects.bad.first()[0].line, RULES_MAX + 1);
        let bad = Redirects::parse(&"a\n".repeat(5000)).bad;
        assert_eq!((bad.first().len(), bad.others), (100, 4900));
        let long = Redirects::parse(&format!("/a /{}", "b".repeat(5000)));
        assert_eq!((long.len(), long.bad.first().len()), (0, 1));
        let first = Redirects::parse(&"/a /b 301!\n".repeat(RULES_FIRST_MAX + 1));
        assert_eq!((first.len(), first.bad.first().len()), (RULES_FIRST_MAX, 1));
    }
}
