//! Splits `Cache-Control` fields into directives.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{self, HeaderMap};
use smallvec::SmallVec;

use crate::caching::cache_control::DELTA_MAX;

/// One directive: the name in lower case and the argument without quotes.
pub(super) struct Directive<'a> {
    pub(super) name: SmallVec<[u8; 24]>,
    pub(super) argument: Option<Cow<'a, [u8]>>,
}

/// Returns `true` if a `Cache-Control` field ends within a quoted string. Its meaning is then unknown.
pub(super) fn is_cut(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|field| ends_quoted(field.as_bytes()))
}

/// Returns the directives of all `Cache-Control` fields, in field order.
pub(super) fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive<'_>> {
    headers.get_all(header::CACHE_CONTROL).iter().flat_map(|field| members(field.as_bytes())).map(|member| {
        let (name, argument) = match member.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&member[..equals], Some(unquoted(member[equals + 1..].trim_ascii()))),
            None => (member, None),
        };
        let mut name = SmallVec::from_slice(name.trim_ascii());
        name.make_ascii_lowercase();
        Directive { name, argument }
    })
}

impl Directive<'_> {
    /// Returns the argument as a number of seconds, at most [`DELTA_MAX`] (RFC 9111 1.2.2).
    ///
    /// Returns `None` if the argument is missing, empty or has anything but digits.
    pub(super) fn seconds(&self) -> Option<Duration> {
        let digits = self.argument.as_deref()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let seconds = digits
            .iter()
            .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        Some(Duration::from_secs(seconds).min(DELTA_MAX))
    }
}

/// Removes the quotes and escapes of a quoted string (RFC 9110 5.6.4). Returns a token unchanged.
fn unquoted(argument: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = argument.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")) else {
        return Cow::Borrowed(argument);
    };
    let mut escaped = false;
    let keep = |byte: &&u8| {
        escaped = **byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().filter(keep).copied().collect()
}

/// Splits a list at the commas outside quoted strings (RFC 9110 5.6.1, 5.6.4). Skips empty members. A quote without its
/// end is a character like others, so that it hides no directive.
fn members(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut scan, cut) = (Quoting::default(), ends_quoted(field));
    field
        .split(move |&byte| (!scan.encloses(byte) || cut) && byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn ends_quoted(field: &[u8]) -> bool {
    let mut scan = Quoting::default();
    field.iter().fold(false, |_, &byte| scan.encloses(byte))
}

/// Reads a field byte by byte and tells which bytes are in quoted strings.
#[derive(Default)]
struct Quoting {
    quoted: bool,
    escaped: bool,
}

impl Quoting {
    /// Takes the next byte. Returns `true` if it is within a quoted string.
    fn encloses(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ => {}
        }
        self.quoted
    }
}
