//! The `Cache-Control` field of a response (RFC 9111 5.2).

use std::time::Duration;

use http::header::{self, HeaderMap};

/// A lifetime too long to count (RFC 9111 1.2.2).
pub const DELTA_MAX: Duration = Duration::from_secs(1 << 31);

/// The response directives a shared cache decides by.
///
/// Where a directive is repeated with different arguments the shortest lifetime counts, and an argument that
/// cannot be read counts as zero, so that a doubt makes the response stale (RFC 9111 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: bool,
    /// `private`, with or without field names.
    pub private: bool,
    /// `max-age`
    pub max_age: Option<Duration>,
    /// `s-maxage`
    pub s_maxage: Option<Duration>,
}

impl CacheControl {
    /// Reads all `Cache-Control` fields of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for field in headers.get_all(header::CACHE_CONTROL) {
            for directive in directives(field.as_bytes()) {
                control.add(directive);
            }
        }
        control
    }

    fn add(&mut self, directive: &[u8]) {
        let (name, argument) = match directive.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&directive[..equals], Some(directive[equals + 1..].trim_ascii())),
            None => (directive, None),
        };
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"max-age" => self.max_age = Some(shorter(self.max_age, delta_seconds(argument))),
            b"s-maxage" => self.s_maxage = Some(shorter(self.s_maxage, delta_seconds(argument))),
            _ => {}
        }
    }
}

fn shorter(known: Option<Duration>, new: Duration) -> Duration {
    known.map_or(new, |known| known.min(new))
}

/// Reads the argument of a directive that counts seconds, quoted or not (RFC 9111 1.2.2, 5.2).
fn delta_seconds(argument: Option<&[u8]>) -> Duration {
    let argument = argument.unwrap_or_default();
    let digits = argument.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let seconds =
        digits.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Duration::from_secs(seconds).min(DELTA_MAX)
}

/// Splits a list at the commas outside quoted strings (RFC 9110 5.6.1, 5.6.4).
fn directives(field: &[u8]) -> impl Iterator<Item = &[u8]> {
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
        .filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: CacheControl) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::CACHE_CONTROL, field.parse().unwrap());
        }
        assert_eq!(CacheControl::of(&headers), expected, "{fields:?}");
    }

    fn max_age(seconds: u64) -> CacheControl {
        CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() }
    }

    #[test]
    fn directives_are_found_in_any_dress() {
        check(&[], CacheControl::default());
        check(&["public, MAX-AGE=60"], max_age(60));
        check(&["max-age=\"60\""], max_age(60));
        check(&["x=\"no-store, private\\\", no-cache\", max-age=5"], max_age(5));
        check(
            &["no-store", "private"],
            CacheControl { no_store: true, private: true, ..CacheControl::default() },
        );
        check(&["private=\"a, b\""], CacheControl { private: true, ..CacheControl::default() });
        check(&["no-cache"], CacheControl { no_cache: true, ..CacheControl::default() });
        check(
            &["s-maxage=1, max-age=2"],
            CacheControl { s_maxage: Some(Duration::from_secs(1)), ..max_age(2) },
        );
    }

    #[test]
    fn a_doubt_makes_it_stale() {
        check(&["max-age"], max_age(0));
        check(&["max-age=-1"], max_age(0));
        check(&["max-age=1.5"], max_age(0));
        check(&["max-age=60, max-age=30"], max_age(30));
        check(&["max-age=60, max-age=x"], max_age(0));
        check(&["max-age=99999999999999999999999"], max_age(1 << 31));
    }
}
