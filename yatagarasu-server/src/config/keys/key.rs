//! A row of the table: the name, meaning, type, default and bounds of a key.

use serde_json::Value;

use crate::config::keys::bounds::Bounds;
use crate::config::keys::choice::alternatives;
use crate::config::units::{write_size, write_span_ms};

/// Keys that stand under one name.
#[derive(Debug)]
pub(in crate::config) struct Section {
    pub(in crate::config) about: &'static str,
    /// What is expected in the place of a section, in words.
    pub(in crate::config) expecting: &'static str,
    pub(in crate::config) keys: &'static [Key],
}

/// A row of the table.
#[derive(Debug)]
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    meaning: &'static str,
    pub(in crate::config) kind: Kind,
    default: fn() -> Value,
    pub(in crate::config) absent: Absent,
    example: fn() -> Value,
    pub(in crate::config) bounds: Bounds,
}

/// What stands under a key.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Kind {
    Value(Type),
    Section(&'static Section),
    /// A list of sections.
    Sections(&'static Section),
    /// A section, or a list of sections.
    Several(&'static Section),
    /// A section that may be absent as a whole.
    Optional(&'static Section),
    /// The keys of a section that stands elsewhere in the table, too, and is described there.
    Again(&'static Section),
    /// One of these names, or a section.
    Either(&'static [&'static str], &'static Section),
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Type {
    Text,
    /// A text of any number of lines.
    Lines,
    Address,
    Secret,
    Boolean,
    /// A number up to 65535.
    Number,
    /// A number up to 4294967295.
    Count,
    /// A number that is not negative.
    Decimal,
    Size,
    Duration,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A list of names.
    Names,
    /// Names of header fields, with their values.
    Fields,
    /// A list of these status codes.
    Statuses(&'static [u16]),
}

/// What holds if a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Absent {
    /// The default of the table.
    Default,
    /// A value that depends on something else, in words.
    Computed(&'static str),
    /// An error.
    Required,
}

impl Kind {
    /// Returns the section of a kind that is one.
    pub(super) const fn inner(self) -> &'static Section {
        match self {
            Self::Section(section) => section,
            _ => panic!("a list has sections"),
        }
    }
}

impl Section {
    /// Returns the section that contains the key at `path`, such as `buckets[0].cache.ttl`. This is the innermost
    /// known section if the table does not have the path.
    pub(in crate::config) fn around(&'static self, path: &str) -> &'static Section {
        let inner = |(head, rest): (&str, _)| {
            let name = head.split('[').next().unwrap_or(head);
            Some((self.keys.iter().find(|key| key.name == name)?.section()?, rest))
        };
        match path.split_once('.').and_then(inner) {
            Some((section, rest)) => section.around(rest),
            None => self,
        }
    }

    /// Returns the key at `path`, such as `buckets[0].cache.ttl`.
    pub(in crate::config) fn find(&'static self, path: &str) -> Option<&'static Key> {
        let name = path.rsplit('.').next().unwrap_or(path);
        self.around(path).keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    pub(super) const fn new(name: &'static str, meaning: &'static str, kind: Kind) -> Self {
        let null = || Value::Null;
        Self {
            name,
            meaning,
            kind,
            default: null,
            absent: Absent::Default,
            example: null,
            bounds: Bounds::ANY,
        }
    }

    pub(super) const fn default(self, default: fn() -> Value) -> Self {
        Self { default, ..self }
    }

    pub(super) const fn absent(self, absent: Absent) -> Self {
        Self { absent, ..self }
    }

    pub(super) const fn example(self, example: fn() -> Value) -> Self {
        Self { example, ..self }
    }

    pub(super) const fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Returns the meaning in one or two sentences.
    pub(in crate::config) fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }

    /// Returns the default as JSON, or null if the key has none.
    pub(in crate::config) fn default_value(&self) -> Value {
        (self.default)()
    }

    /// Returns a value for the example: the default, or another if there is none.
    pub(in crate::config) fn example_value(&self) -> Value {
        if self.default_value().is_null() { (self.example)() } else { self.default_value() }
    }

    /// Returns the section under this key, or that of each entry of its list.
    pub(in crate::config) fn section(&self) -> Option<&'static Section> {
        match self.kind {
            Kind::Section(section)
            | Kind::Sections(section)
            | Kind::Several(section)
            | Kind::Optional(section)
            | Kind::Again(section)
            | Kind::Either(_, section) => Some(section),
            Kind::Value(_) => None,
        }
    }

    /// Returns the path of this key in the section at `place`.
    pub(in crate::config) fn place(&self, place: &str) -> String {
        if place.is_empty() { self.name.to_owned() } else { format!("{place}.{}", self.name) }
    }

    /// Returns the values that the key takes, in words, without the `0`.
    pub(in crate::config) fn range(&self) -> Option<String> {
        let kind = match self.kind {
            Kind::Value(kind) => kind,
            Kind::Either(names, _) => return Some(format!("{}, or its keys", alternatives(names))),
            Kind::Section(_) | Kind::Sections(_) | Kind::Several(_) | Kind::Optional(_) | Kind::Again(_) => {
                return None;
            }
        };
        match kind {
            Type::Number if self.bounds.rule.is_empty() => Some(format!("up to {}", u16::MAX)),
            Type::Number => Some(self.bounds.rule.to_owned()),
            Type::Count => self.bounds.range(|number| number.to_string()),
            Type::Size => self.bounds.range(write_size),
            Type::Duration => self.bounds.range(write_span_ms),
            Type::Choice(names) => Some(alternatives(names)),
            Type::Statuses(statuses) => {
                Some(statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "))
            }
            Type::Decimal
            | Type::Text
            | Type::Lines
            | Type::Address
            | Type::Secret
            | Type::Boolean
            | Type::Names
            | Type::Fields => None,
        }
    }

    /// Returns what there is to say: the meaning, what is allowed, and what holds if the key is absent.
    pub(in crate::config) fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![self.meaning().to_owned()];
        let allowed = self.allowed();
        if !allowed.is_empty() {
            sentences.push(format!("Allowed: {allowed}."));
        }
        if let Absent::Computed(words) = self.absent {
            sentences.push(format!("Default: {words}."));
        }
        sentences
    }

    /// Returns the values that the key takes, in words. Empty if it takes all values of its type.
    pub(in crate::config) fn allowed(&self) -> String {
        let Bounds { zero, rule, .. } = self.bounds;
        match (self.range(), zero) {
            (Some(range), "") => range,
            (Some(range), zero) => format!("{range}, or 0 {zero}"),
            (None, "") => rule.to_owned(),
            (None, zero) => format!("any; 0 {zero}"),
        }
    }
}
