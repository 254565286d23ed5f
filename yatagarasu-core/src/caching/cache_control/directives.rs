//! Splits `Cache-Control` fields into directives.

use std::time::Duration;

use http::header::{self, HeaderMap};

use crate::caching::cache_control::DELTA_MAX;

/// One directive: the name in lower case and the argument without quotes.
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) argument: Option<Vec<u8>>,
}

/// Returns the directives of all `Cache-Control` fields, in field order.
pub(super) fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive> {
    headers.get_all(header::CACHE_CONTROL).iter().flat_map(|field| members(field.as_bytes())).map(|member| {
        let (name, argument) = match member.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&member[..equals], Some(unquoted(member[equals + 1..].trim_ascii()))),
            None => (member, None),
        };
        Directive { name: String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), argument }
    })
}

impl Directive {
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
fn unquoted(argument: &[u8]) -> Vec<u8> {
    let Some(inner) = argument.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")) else {
        return argument.to_vec();
    };
    let mut escaped = false;
    let keep = |byte: &&u8| {
        escaped = **byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().filter(keep).copied().collect()
}

/// Splits a list at the commas outside quoted strings (RFC 9110 5.6.1, 5.6.4). Skips empty members.
fn members(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    field
        .split(move |&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        })
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}
