//! Rules that a website brings with it, as objects in the form that static hosts have made common: [`redirects`] and
//! header [`fields`].
//!
//! Their paths begin at the root of the website, so that the rules are good for any prefix. A line that cannot be read is left out
//! and named with its number: in the log when the object is read, and by `yatagarasu explain`.

pub(crate) mod fields;
pub(crate) mod redirects;

use yatagarasu_core::ObjectKey;

/// Maximum number of unreadable lines that the log names for one object.
const LOGGED_MAX: usize = 10;

/// Maximum number of unreadable lines that are kept of one object.
const BAD_LINES_MAX: usize = 100;

/// Maximum length of a line, in bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// A line that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The lines of an object that are left out, the first ones of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BadLines {
    lines: Vec<BadLine>,
    /// How many others there are.
    pub(crate) others: usize,
}

impl BadLines {
    /// Notes a line.
    fn add(&mut self, line: usize, reason: String) {
        if self.lines.len() < BAD_LINES_MAX {
            self.lines.push(BadLine { line, reason });
        } else {
            self.others += 1;
        }
    }

    /// Returns the first ones.
    pub(crate) fn first(&self) -> &[BadLine] {
        &self.lines
    }

    /// Logs some of them.
    fn announce(&self, key: &ObjectKey) {
        for BadLine { line, reason } in self.lines.iter().take(LOGGED_MAX) {
            tracing::warn!(key = key.as_str(), line, "a rule of a website is left out: {reason}");
        }
        let others = self.lines.len().saturating_sub(LOGGED_MAX) + self.others;
        if others > 0 {
            tracing::warn!(key = key.as_str(), others, "further rules of a website are left out");
        }
    }
}

/// Returns the lines of a file with their numbers, without comments and empty ones.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    let trimmed = numbered.map(|(index, line)| (index + 1, line.trim()));
    trimmed.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::fields::FieldRules;
    use super::redirects::Redirects;
    use super::*;

    const MANUAL: &str = include_str!("../../../../docs/src/website.md");

    #[test]
    fn the_files_in_the_documentation_have_no_bad_lines() {
        let blocks: Vec<_> =
            MANUAL.split("```text\n").skip(1).map(|block| block.split("```").next()).collect();
        let [Some(redirects), Some(fields)] = *blocks.as_slice() else { panic!("expected two files") };
        let (redirects, fields) = (Redirects::parse(redirects), FieldRules::parse(fields));
        assert_eq!((redirects.bad, fields.bad), (BadLines::default(), BadLines::default()));
    }
}
