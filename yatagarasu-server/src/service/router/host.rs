//! The hosts that a bucket is for, and what they say about its keys.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// The hosts that a bucket is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One host: a name in lower case, or an address.
    Exact(String),
    /// All names with one label before this one: `*.example.org`.
    Below(String),
}

impl HostPattern {
    /// Parses a host, or a name with `*.` at its front.
    ///
    /// # Errors
    ///
    /// Returns what is expected instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) if is_name(parent) => Ok(Self::Below(parent.to_owned())),
            _ if !name.is_ascii() => Err(
                "expected a name in the form of DNS, such as `xn--bcher-kva.example` for `bücher.example`",
            ),
            Some(_) => Err("expected a name after `*.`, as in `*.example.org`"),
            None if name.contains('*') => Err("expected `*` as the first label only, as in `*.example.org`"),
            None if is_name(&name) => Ok(Self::Exact(name)),
            None if name.starts_with('[') => {
                ipv6(&name).map(Self::Exact).ok_or("expected an address such as `[::1]`")
            }
            None if name.parse::<Ipv6Addr>().is_ok() => {
                Err("expected an address in brackets, such as `[::1]`")
            }
            None if text.contains("//") => Err("expected a host without `https://`"),
            None if text.contains(':') => Err("expected a host without a port"),
            None => Err("expected a host such as `www.example.com`, or `*.example.org`"),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Returns `true` for labels of letters, digits, `-` and `_`. No such name is a path, or leads out of one.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split('.').all(is_label)
}

/// Returns an address in brackets in the form of RFC 5952.
fn ipv6(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"))
}

/// Returns a host as it stands in a request in the form of the patterns: without a port, without a dot at its end, in lower
/// case, and an address in its shortest form.
pub(crate) fn without_port(host: &str) -> Cow<'_, str> {
    let host = host.trim();
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = host[..end].trim_end_matches('.');
    if let Some(address) = ipv6(name) {
        return Cow::Owned(address);
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// What stands before the keys of a bucket at S3. It may have parts of the host of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPrefix {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The whole host.
    Host,
    /// The label that the `*` of a pattern stands for.
    Label,
}

impl KeyPrefix {
    /// Parses a prefix with `{host}` and `{label}`.
    ///
    /// # Errors
    ///
    /// Returns the reason if the text is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from.split_once('}').ok_or("expected `}` after `{`")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "host" => Part::Host,
                "label" => Part::Label,
                other => return Err(format!("expected `{{host}}` or `{{label}}`, found `{{{other}}}`")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
            return Err("expected `{` before `}`".to_owned());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the prefix as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether it has a part of the host.
    pub(super) fn has_host(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Host | Part::Label))
    }

    /// Returns whether it is different for each label.
    pub(crate) fn has_label(&self) -> bool {
        self.parts.contains(&Part::Label)
    }

    /// Returns the key at S3 for the rest of a path. Returns `None` if the prefix needs the name of a host, and the
    /// request has none.
    pub(crate) fn key<'a>(&self, host: Option<&str>, rest: &'a str) -> Option<Cow<'a, str>> {
        if self.parts.is_empty() {
            return Some(Cow::Borrowed(rest));
        }
        let mut key = String::with_capacity(self.text.len() + rest.len() + host.map_or(0, str::len));
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Host => key.push_str(host.filter(|host| is_name(host))?),
                Part::Label => key.push_str(host.filter(|host| is_name(host))?.split('.').next()?),
            }
        }
        key.push_str(rest);
        Some(Cow::Owned(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_addresses_or_all_names_below_one() {
        for (text, shown) in [
            ("www.example.com", "www.example.com"),
            ("WWW.Example.com.", "www.example.com"),
            ("*.Example.org", "*.example.org"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a.*.b",
            "*a.b",
            "a..b",
            "a:80",
            "https://a",
            "a/b",
            "::1",
            "[::1]:80",
            "b\u{fc}cher.example",
            "a b",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_of_requests_have_one_form() {
        for (host, form) in [
            ("Www.Example.com:8080", "www.example.com"),
            ("www.example.com.", "www.example.com"),
            (" a ", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]"),
            ("[FE80::A]", "[fe80::a]"),
            (":80", ""),
            ("", ""),
        ] {
            assert_eq!(without_port(host), form, "{host}");
        }
    }

    #[test]
    fn no_host_leads_out_of_a_prefix() {
        let prefix = KeyPrefix::parse("sites/{host}/{label}-x/").unwrap();
        assert_eq!(prefix.key(Some("a.example"), "k").as_deref(), Some("sites/a.example/a-x/k"));
        for host in ["", ".", "..", "a/b", "..%2f", "a..b", "[::1]", "a b", "a%2e"] {
            assert_eq!(prefix.key(Some(host), "k"), None, "{host}");
        }
        assert_eq!(prefix.key(None, "k"), None);
        assert_eq!(KeyPrefix::parse("a/").unwrap().key(None, "k").as_deref(), Some("a/k"));
        assert!(KeyPrefix::parse("{x}").is_err() && KeyPrefix::parse("{host").is_err());
    }
}
