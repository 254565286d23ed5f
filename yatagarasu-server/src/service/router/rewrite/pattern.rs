//! Patterns of paths, with names for what they capture.

use std::fmt;

/// Maximum number of captures in a rule.
pub(super) const CAPTURES_MAX: usize = 16;

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
    /// Returns the reason if the text is malformed.
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
    /// Returns the reason if the text is malformed.
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
    pub(crate) fn sample(&self) -> String {
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
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Segment(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Returns the text before the first name in braces.
pub(super) fn beginning(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}

pub(super) fn show(parts: &[Part], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    parts.iter().try_for_each(|part| match part {
        Part::Text(text) => f.write_str(text),
        Part::Segment(name) | Part::Rest(name) => write!(f, "{{{name}}}"),
    })
}

/// Splits a text at its names in braces.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
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
