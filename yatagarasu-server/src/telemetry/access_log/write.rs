//! Writes single values into a line. A hit takes a few microseconds, and its line must not take long beside that: what
//! is usual is copied, and only the rest goes through the formatting of the standard library.

use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use yatagarasu_core::CacheStatus;
use yatagarasu_core::caching::freshness::Freshness;

/// Length of a time without its fraction, such as `2026-11-29T10:43:42`.
const SECONDS_BYTES: usize = 19;

thread_local! {
    /// The second of the last line, and how it is written.
    static SECOND: Cell<(u64, [u8; SECONDS_BYTES])> = const { Cell::new((u64::MAX, [0; SECONDS_BYTES])) };
}

/// Writes a time as in RFC 3339, with microseconds.
pub(super) fn timestamp(at: SystemTime, line: &mut Vec<u8>) {
    let Ok(since) = at.duration_since(SystemTime::UNIX_EPOCH) else {
        let _ = write!(line, "{}", humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH));
        return;
    };
    let (mut second, mut written) = SECOND.get();
    if second != since.as_secs() {
        second = since.as_secs();
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let mut rest = &mut written[..];
        // The `Z` at its end has no room: the fraction comes first.
        let _ = write!(rest, "{}", humantime::format_rfc3339_seconds(whole));
        SECOND.set((second, written));
    }
    line.extend_from_slice(&written);
    let mut fraction = *b".000000Z";
    let mut micros = since.subsec_micros();
    for digit in fraction[1..7].iter_mut().rev() {
        *digit = b'0' + u8::try_from(micros % 10).expect("a digit");
        micros /= 10;
    }
    line.extend_from_slice(&fraction);
}

/// Writes a text in quotes, with escapes as Rust has them.
pub(super) fn quoted(text: &str, line: &mut Vec<u8>) {
    if is_plain(text) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        let _ = write!(line, "{text:?}");
    }
}

/// Writes a text as a JSON string.
pub(super) fn json(text: &str, line: &mut Vec<u8>) {
    if is_plain(text) {
        quoted(text, line);
    } else {
        let _ = serde_json::to_writer(line, text);
    }
}

/// Writes a text with all bytes escaped but printable ASCII, quotes and backslashes included, as Apache and nginx do.
pub(super) fn escaped(text: &str, line: &mut Vec<u8>) {
    if is_plain(text) {
        return line.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        if is_plain_byte(byte) {
            line.push(byte);
        } else {
            let _ = write!(line, "\\x{byte:02X}");
        }
    }
}

/// Returns `true` if no format escapes any of it.
fn is_plain(text: &str) -> bool {
    text.bytes().all(is_plain_byte)
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

pub(super) fn number(number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a time in milliseconds, with three decimals.
pub(crate) fn millis(time: Duration, line: &mut Vec<u8>) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, line);
    let rest = micros % 1000;
    let digit = |digit: u64| b'0' + u8::try_from(digit).expect("a digit");
    line.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10 % 10), digit(rest % 10)]);
}

pub(super) fn address(address: IpAddr, line: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        let _ = write!(line, "{address}");
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            line.push(b'.');
        }
        number(octet.into(), line);
    }
}

/// Writes what the cache did (RFC 9211).
pub(super) fn cache(status: CacheStatus, line: &mut Vec<u8>) {
    if let CacheStatus::Hit { freshness: Freshness::Fresh(rest), detail: None } = status {
        line.extend_from_slice(b"hit; ttl=");
        number(rest.as_secs(), line);
    } else {
        let _ = write!(line, "{status}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut line = Vec::new();
        write(&mut line);
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn values_are_written_as_the_standard_library_does() {
        for micros in [0, 1, 999_999, 1_795_948_222_000_001, 1_795_948_222_123_456, 1_795_948_223_000_000] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            check(|line| timestamp(at, line), &humantime::format_rfc3339_micros(at).to_string());
            let time = Duration::from_micros(micros);
            check(|line| millis(time, line), &format!("{}.{:03}", micros / 1000, micros % 1000));
        }
        for text in ["", "a b~", "a\"b", "a\\b", "\u{1b}[0m", "日本", "\u{7f}"] {
            check(|line| quoted(text, line), &format!("{text:?}"));
            check(|line| json(text, line), &serde_json::to_string(text).unwrap());
        }
        check(|line| escaped("a b\"\\\u{7f}é", line), "a b\\x22\\x5C\\x7F\\xC3\\xA9");
        for text in ["192.0.2.7", "0.0.0.0", "255.255.255.255", "2001:db8::1"] {
            check(|line| address(text.parse().unwrap(), line), text);
        }
        for seconds in [0, 3599] {
            let freshness = Freshness::Fresh(Duration::from_millis(seconds * 1000 + 999));
            let status = CacheStatus::Hit { freshness, detail: None };
            check(|line| cache(status, line), &status.to_string());
        }
    }
}
