//! `?download`, with which a browser saves an object instead of showing it.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parameter. Its value, if there is one, is the name to save as.
const PARAMETER: &str = "download";

/// The bytes of a name that are percent-encoded: all but some of `attr-char` (RFC 8187 3.2.1).
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Maximum length of a name. File systems take no longer ones.
const NAME_BYTES_MAX: usize = 255;

/// Returns the `Content-Disposition` (RFC 6266) that a query asks for. Returns `None` if it asks for none.
pub(super) fn disposition(query: Option<&str>, key: &str) -> Option<HeaderValue> {
    let given = value(query?)?;
    let decoded = percent_decode_str(&given.replace('+', " ")).decode_utf8_lossy().into_owned();
    let name = [decoded.as_str(), key].into_iter().map(file_name).find(|name| !name.is_empty());
    let Some(name) = name else { return Some(HeaderValue::from_static("attachment")) };
    // For clients that do not know the other form.
    let plain = |c: char| if c.is_ascii_alphanumeric() || " -._~()[]".contains(c) { c } else { '_' };
    let (plain, escaped) = (name.chars().map(plain).collect::<String>(), utf8_percent_encode(&name, NAME));
    HeaderValue::try_from(format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{escaped}")).ok()
}

/// Returns whether a query asks for it.
pub(super) fn is_asked(query: Option<&str>) -> bool {
    query.and_then(value).is_some()
}

fn value(query: &str) -> Option<&str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(name, _)| *name == PARAMETER).map(|(_, value)| value).next()
}

/// Returns the last part of a path, without characters that no file's name should have, and never a hidden file.
fn file_name(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or_default();
    let mut kept: String = name.chars().filter(|c| !c.is_control()).collect();
    kept.truncate(kept.floor_char_boundary(NAME_BYTES_MAX));
    kept.trim_start_matches('.').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_keys_or_the_clients() {
        for (query, key, expected) in [
            (None, "a/b.txt", None),
            (Some("downloads=1&x"), "a/b.txt", None),
            (Some("download"), "a/b.txt", Some("attachment; filename=\"b.txt\"; filename*=UTF-8''b.txt")),
            (Some("x=y&download="), "b.txt", Some("attachment; filename=\"b.txt\"; filename*=UTF-8''b.txt")),
            (
                Some("download=r%C3%A9sum%C3%A9+1.pdf"),
                "b",
                Some("attachment; filename=\"r_sum_ 1.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9%201.pdf"),
            ),
            (
                Some("download=..%2F..%5Cetc%2F.profile%0D%0A"),
                "b",
                Some("attachment; filename=\"profile\"; filename*=UTF-8''profile"),
            ),
            (Some("download=a%22;b"), "b", Some("attachment; filename=\"a__b\"; filename*=UTF-8''a%22%3Bb")),
            (Some("download"), "..a/...", Some("attachment")),
        ] {
            let found = disposition(query, key);
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected, "{query:?} {key}");
            assert_eq!(is_asked(query), expected.is_some());
        }
        let long = disposition(Some("download"), &"\u{e9}".repeat(512)).unwrap();
        assert!(long.to_str().unwrap().ends_with(&"%C3%A9".repeat(127)));
    }
}
