//! Rules that lead a path to another one, in the same bucket or by a redirect.
//!
//! A [`pattern`] captures parts of a path, and a [`target`] is what they are put into. [`endless`](mod@endless) finds redirects
//! that lead on and on.

mod endless;
mod pattern;
mod target;

use http::{HeaderValue, StatusCode};

pub(crate) use endless::{Hop, SamePath, endless_hops};
pub(crate) use pattern::{Captures, Part, PathPattern};
pub(crate) use target::{Target, escaped_path, is_other_host};

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

/// Returns the number of the first redirect that leads back to itself, or on and on. `is_own` returns whether
/// requests for a host come to the same rules.
pub(crate) fn endless(rules: &[Rewrite], is_own: impl Fn(&str) -> bool) -> Option<usize> {
    let targets: Vec<_> = rules.iter().map(|rule| rule.to.without_host(&is_own)).collect();
    let hops = rules.iter().zip(&targets).map(|(rule, target)| (&rule.from, rule.status.map(|_| &**target)));
    let hops: Vec<Hop<'_>> = hops.collect();
    endless_hops(&hops, |_| String::new(), SamePath::LeadsOn, usize::MAX).next()
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

    use super::pattern::CAPTURES_MAX;
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
            (vec![rule("/a", "https://a.example/a", 301)], Some(0)),
            (vec![rule("/a", "http://A.example:80/b", 301), rule("/b", "/a", 302)], Some(0)),
            (vec![rule("/{rest}", "https://a.example/x/{rest}", 301)], Some(0)),
            (vec![rule("/a", "https://a.example", 301), rule("/b", "https://a.example/c", 301)], None),
            (vec![rule("/a", "/b?x", 301), rule("/b", "/a#y", 301)], Some(0)),
            (vec![rule("/a b", "/a%20b", 301)], Some(0)),
            (vec![rule("/{rest}", "/x{rest}/{rest}/{rest}", 301)], Some(0)),
        ] {
            assert_eq!(endless(&rules, |host| host == "a.example"), expected, "{rules:?}");
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
