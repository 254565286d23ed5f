//! Checks for arbitrary input. The targets in `fuzz/` and the tests of past findings call them.
//!
//! Each check takes what a client, a proxy or an operator may have written. It panics if the code under it does, or
//! contradicts itself or hyper.

mod heard;
mod rules;

use config::FileFormat;
use percent_encoding::percent_encode_byte;

use crate::config::{Config, Environment, show};
use crate::connection::fast_path::request_head::{RequestHead, escaped, without_upgrade};
use crate::connection::opening::proxy_protocol::{self, Header};
use crate::service::router::{KeyPrefix, Place, Route, Routes, decode};
use heard::heard;

/// A request that may follow another one on its connection.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

/// The longest input whose prefixes are all tried, in bytes.
const PIECES_MAX: usize = 300;

/// Takes the beginning of a connection: hyper hears the request that the fast path sees, and nothing else.
pub fn request_head(input: &[u8]) {
    match RequestHead::of(input) {
        RequestHead::Partial => assert_eq!(heard(input), Vec::new()),
        RequestHead::Plain(target, length) => {
            comes_in_pieces(&input[..length]);
            let expected = [("GET", target), ("GET", "/next")];
            let followed = [&input[..length], NEXT].concat();
            let found = heard(&followed);
            assert!(found.iter().map(|(method, target)| (method.as_str(), target.as_str())).eq(expected));
        }
        RequestHead::Head(length) => {
            comes_in_pieces(&input[..length]);
            assert_eq!(heard(&input[..length]).len(), 1, "hyper refuses it");
        }
        RequestHead::Odd(target, length) => {
            let (before, after) = (&input[..target.start], &input[target.end..length]);
            let escaped = [before, &escaped(&input[target]), after].concat();
            assert!(!matches!(RequestHead::of(&escaped), RequestHead::Odd(..) | RequestHead::Partial));
            request_head(&escaped);
        }
        RequestHead::Upgrade(length) => {
            let without = without_upgrade(&input[..length]);
            assert!(!matches!(RequestHead::of(&without), RequestHead::Upgrade(_) | RequestHead::Partial));
            request_head(&without);
        }
        RequestHead::Http2 | RequestHead::Invalid(_) => {}
    }
}

fn comes_in_pieces(head: &[u8]) {
    for end in (0..head.len()).rev().take(PIECES_MAX) {
        let found = RequestHead::of(&head[..end]);
        assert!(matches!(found, RequestHead::Partial), "{end}: {found:?}");
    }
}

/// Takes the path of a request.
pub fn path(input: &[u8]) {
    let Ok(path) = str::from_utf8(input) else { return };
    let none = KeyPrefix::default();
    let place = |path_prefix| Place {
        hosts: &[],
        path_prefix,
        key_prefix: &none,
        keeps_path_prefix: false,
        rewrites: &[],
        index: None,
    };
    let routes = Routes::new(PREFIXES.into_iter().map(place));
    let found = match routes.find(None, path) {
        Route::Object(bucket, key) => Some((bucket, key.to_string())),
        Route::Folder | Route::Redirect(..) | Route::Nowhere | Route::Misdirected | Route::Malformed(_) => {
            None
        }
    };
    assert_eq!(found, routed(path));
    let Ok(decoded) = decode(path) else { return };
    let escaped: String = decoded.bytes().skip(1).map(percent_encode_byte).collect();
    assert_eq!(routes.find(None, &format!("/{escaped}")), routes.find(None, path));
}

const PREFIXES: [&str; 4] = ["/", "/a", "/a/b", "/\u{e9}/"];

/// Returns the bucket and the key of a path, segment by segment.
fn routed(path: &str) -> Option<(usize, String)> {
    let mut bytes = path.strip_prefix('/')?.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let mut segments: Vec<_> = decoded.split('/').collect();
    if let Some(last @ &mut ".") = segments.last_mut() {
        *last = "";
    }
    segments.retain(|segment| *segment != ".");
    let (bucket, prefix) = match segments[..] {
        ["a", "b", _, ..] => (2, 2),
        ["a", _, ..] => (1, 1),
        ["\u{e9}", _, ..] => (3, 1),
        _ => (0, 0),
    };
    let key = segments[prefix..].join("/");
    let is_key = (1..=1024).contains(&key.len()) && !key.contains('\0') && !segments.contains(&"..");
    is_key.then_some((bucket, key))
}

/// Takes a path, and behind its line a file with rules of a website.
pub fn site_rules(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else { return };
    let (path, file) = input.split_once('\n').unwrap_or((input, ""));
    if path.starts_with('/') {
        rules::check(path, file);
    }
}

/// Takes a configuration file. Its first byte chooses the format. What `show` prints of it loads as the same.
pub fn configuration(input: &[u8]) {
    let Some((first, text)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let format = match first % 3 {
        0 => FileFormat::Yaml,
        1 => FileFormat::Toml,
        _ => FileFormat::Json,
    };
    let environment: Environment = [("NAME", "value"), ("EMPTY", "")].into_iter().collect();
    match Config::parse("file", text, format, &environment) {
        Ok(config) => {
            let shown = show(&config);
            // Secrets are masked, and one of these characters alone is none.
            let again = Config::from_yaml("shown", &shown, &environment);
            let again = again.unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
            assert_eq!(show(&again), shown);
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

/// Takes the beginning of what a proxy sends.
pub fn proxy_header(input: &[u8]) {
    let found = proxy_protocol::read(input);
    if let Header::Complete { length, .. } = found {
        assert!((1..=input.len()).contains(&length));
        assert_eq!(proxy_protocol::read(&input[..length]), found);
        for end in (0..length).rev().take(PIECES_MAX) {
            assert_eq!(proxy_protocol::read(&input[..end]), Header::Partial, "{end}");
        }
    }
}

#[cfg(test)]
mod tests {
    use yatagarasu_testing::replay;

    #[test]
    fn what_fuzzing_has_found_is_right() {
        replay("request_head", super::request_head);
        replay("site_rules", super::site_rules);
        replay("path", super::path);
        replay("configuration", super::configuration);
        replay("proxy_header", super::proxy_header);
    }
}
