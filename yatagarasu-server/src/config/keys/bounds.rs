//! The values that a key takes, out of those of its type.

/// The values that a key takes, in bytes or milliseconds, or a rule that is checked where the key is read.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Bounds {
    pub(in crate::config) least: u64,
    pub(in crate::config) end: Option<u64>,
    /// What a `0` below `least` is for, or what it means. Empty if it means nothing special.
    pub(in crate::config) zero: &'static str,
    pub(in crate::config) rule: &'static str,
}

impl Bounds {
    /// Every value of the type.
    pub(super) const ANY: Self = Self { least: 0, end: None, zero: "", rule: "" };

    /// Values from `least` on.
    pub(super) const fn from(least: u64) -> Self {
        Self { least, ..Self::ANY }
    }

    /// A rule in words.
    pub(super) const fn rule(rule: &'static str) -> Self {
        Self { rule, ..Self::ANY }
    }

    pub(super) const fn below(self, end: u64) -> Self {
        Self { end: Some(end), ..self }
    }

    pub(super) const fn or_zero(self, zero: &'static str) -> Self {
        Self { zero, ..self }
    }

    /// Returns the range in words. `write` writes a number with its unit.
    pub(super) fn range(self, write: fn(u64) -> String) -> Option<String> {
        let least = write(self.least);
        match self.end {
            Some(end) => Some(format!("{least} to less than {}", write(end))),
            None if self.least > 0 => Some(format!("{least} or more")),
            None => None,
        }
    }

    /// Returns whether a key with these bounds takes `number`.
    pub(in crate::config) fn allow(self, number: u64) -> bool {
        let within = number >= self.least && self.end.is_none_or(|end| number < end);
        within || (number == 0 && !self.zero.is_empty())
    }
}
