//! Recognizes plain GET requests at the front of the bytes that a client has sent, and requests that are none.

use std::mem::MaybeUninit;
use std::ops::Range;

use http::Uri;
use httparse::{Header, Status};
use yatagarasu_core::http::fields::is_immaterial;

use crate::connection::limits::FIELDS_MAX;
use crate::service::target::is_host;

/// Number of header fields that are parsed without an allocation.
const FIELDS_TYPICAL: usize = 64;

/// The preface of HTTP/2 (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes that begin a TLS connection (RFC 8446 5.1).
const TLS: &[u8] = &[0x16, 0x03];

/// The front of the bytes that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestHead<'a> {
    /// An incomplete request head.
    Partial,
    /// A GET for this target without a field that affects the response, and the length of its head in bytes.
    Plain(&'a str, usize),
    /// Another request, and the length of its head in bytes. The connection ends with it if it has content, which a
    /// read-only gateway does not read.
    Head(usize),
    /// A request whose target, at these places, has bytes that no parser of URIs takes, and the length of its head in
    /// bytes. Browsers send some of them.
    Odd(Range<usize>, usize),
    /// A request that offers another protocol, and the length of its head in bytes.
    Upgrade(usize),
    /// The preface of HTTP/2.
    Http2,
    /// No valid request. hyper would close the connection without a word about it.
    Invalid(Invalidity),
}

/// The reason why bytes are no valid request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalidity {
    /// They are no HTTP.
    NotHttp,
    /// They are the beginning of a TLS connection.
    Tls,
    /// The target is no URI.
    Target,
    /// It is a request for a tunnel (RFC 9110 9.3.6).
    Connect,
    /// The length or the coding of the content is invalid or contradictory (RFC 9112 6.1, 6.2).
    Framing,
    /// There are more than [`FIELDS_MAX`] header fields.
    TooManyFields,
}

/// The effect of a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldEffect {
    /// None.
    None,
    /// The response may depend on it.
    Answer,
    /// It concerns the connection, or announces content.
    Connection,
}

impl<'a> RequestHead<'a> {
    /// Parses the front of `bytes` with httparse, the parser that hyper uses.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        // Uninitialized, because clearing 2 KiB would take as long as parsing most heads.
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_TYPICAL];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(length)) => Self::complete(bytes, &request, length),
            Ok(Status::Partial) => Self::Partial,
            Err(httparse::Error::TooManyHeaders) => Self::of_many(bytes),
            Err(_) if bytes.starts_with(PREFACE) => Self::Http2,
            Err(_) if bytes.starts_with(TLS) => Self::Invalid(Invalidity::Tls),
            Err(_) if PREFACE.starts_with(bytes) || TLS.starts_with(bytes) => Self::Partial,
            Err(_) => Self::Invalid(Invalidity::NotHttp),
        }
    }

    fn of_many(bytes: &'a [u8]) -> Self {
        let mut fields = vec![MaybeUninit::uninit(); FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(length)) => Self::complete(bytes, &request, length),
            Ok(Status::Partial) => Self::Partial,
            Err(httparse::Error::TooManyHeaders) => Self::Invalid(Invalidity::TooManyFields),
            Err(_) => Self::Invalid(Invalidity::NotHttp),
        }
    }

    fn complete(bytes: &'a [u8], request: &httparse::Request<'_, 'a>, length: usize) -> Self {
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Self::Invalid(Invalidity::NotHttp);
        };
        let effect = bearing(request.headers);
        if effect == FieldEffect::Connection && !is_framed(request.headers, version) {
            return Self::Invalid(Invalidity::Framing);
        }
        if method == "CONNECT" {
            return Self::Invalid(Invalidity::Connect);
        }
        if effect == FieldEffect::Connection && request.headers.iter().any(is_upgrade) {
            return Self::Upgrade(length);
        }
        let plain = is_plain(target);
        if !plain && target.parse::<Uri>().is_err() {
            // The target is a part of the bytes.
            let start = target.as_ptr() as usize - bytes.as_ptr() as usize;
            return if target.starts_with('/') && target.bytes().any(needs_escape) {
                Self::Odd(start..start + target.len(), length)
            } else {
                Self::Invalid(Invalidity::Target)
            };
        }
        match effect {
            FieldEffect::None if method == "GET" && plain && version == 1 => Self::Plain(target, length),
            FieldEffect::None | FieldEffect::Answer | FieldEffect::Connection => Self::Head(length),
        }
    }
}

/// Returns a head without the fields that offer another protocol. The gateway takes none, and hyper would not end the
/// connection of such a request as it ends others.
pub(crate) fn without_upgrade(head: &[u8]) -> Vec<u8> {
    let is_upgrade = |line: &[u8]| line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"upgrade:"));
    head.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_upgrade(line)).flatten().copied().collect()
}

fn is_upgrade(field: &Header<'_>) -> bool {
    field.name.eq_ignore_ascii_case("upgrade")
}

/// Returns a target with the bytes escaped that no parser of URIs takes, and without a fragment, which is not for
/// servers. `[`, `|` and UTF-8 come from browsers and are meant as they are.
pub(crate) fn escaped(target: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for &byte in target.split(|byte| *byte == b'#').next().unwrap_or_default() {
        if needs_escape(byte) {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            escaped.push(byte);
        }
    }
    escaped
}

fn needs_escape(byte: u8) -> bool {
    !is_unambiguous(byte)
}

/// Returns `true` if hyper can find the end of the content (RFC 9112 6.3): lengths are numbers and all the same, and the
/// last coding is `chunked`.
fn is_framed(fields: &[Header<'_>], version: u8) -> bool {
    let mut length = None;
    let mut coded = None;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
            let same = length.is_none_or(|length| length == field.value);
            if !digits || field.value.len() > 19 || !same {
                return false;
            }
            length = Some(field.value);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !field.value.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
                return false;
            }
            coded = field.value.rsplit(|&byte| byte == b',').next();
        }
    }
    match coded {
        None => true,
        Some(last) => version == 1 && length.is_none() && last.trim_ascii().eq_ignore_ascii_case(b"chunked"),
    }
}

/// Returns the combined effect of all fields. A request without exactly one `Host` is invalid (RFC 9112 3.2): the
/// request handler must reject it.
fn bearing(fields: &[Header<'_>]) -> FieldEffect {
    let (mut hosts, mut answer) = (0, false);
    for field in fields {
        let name = field.name;
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
            // The request handler must reject another one.
            answer |= !is_host(field.value);
        } else if name.eq_ignore_ascii_case("connection") {
            if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                return FieldEffect::Connection;
            }
        } else if is_about_the_connection(name) {
            return FieldEffect::Connection;
        } else {
            answer |= !is_immaterial(name);
        }
    }
    if answer || hosts != 1 { FieldEffect::Answer } else { FieldEffect::None }
}

fn is_about_the_connection(name: &str) -> bool {
    ["content-length", "transfer-encoding", "expect", "upgrade", "http2-settings", "trailer"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns `true` if a target is an absolute path with an optional query, and has only characters that every parser
/// reads alike (RFC 3986 3.3, 3.4).
fn is_plain(target: &str) -> bool {
    target.starts_with('/') && !target.starts_with("//") && target.bytes().all(is_unambiguous)
}

/// Returns `true` if a byte is such a character. The ranges are merged; a test below lists the characters.
fn is_unambiguous(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: &RequestHead<'_>) {
        assert_eq!(&RequestHead::of(head.as_bytes()), expected, "{head:?}");
        // Bytes after the head change nothing.
        let followed = format!("{head}GET / HTTP/1.1\r\n");
        if *expected != RequestHead::Partial {
            assert_eq!(&RequestHead::of(followed.as_bytes()), expected, "{followed:?}");
        }
    }

    fn get(fields: &str) -> String {
        format!("GET /a?b=1 HTTP/1.1\r\n{fields}\r\n")
    }

    #[test]
    fn a_get_without_a_field_that_matters_is_plain() {
        for fields in [
            "Host: a\r\n",
            "HOST: a\r\nUser-Agent: b\r\nAccept-Encoding: gzip\r\nSec-Fetch-Mode: cors\r\n",
            "connection: Keep-Alive\r\ncookie: a=b\r\nhost: a\r\n",
        ] {
            let head = get(fields);
            check(&head, &RequestHead::Plain("/a?b=1", head.len()));
        }
        let length = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n".len();
        check("GET /a HTTP/1.1\r\nhost: a\r\n\r\n", &RequestHead::Plain("/a", length));
    }

    #[test]
    fn the_characters_of_a_plain_target_are_unreserved_delimiters_or_escapes() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%?".contains(&byte);
            assert_eq!(is_unambiguous(byte), expected, "{byte}");
        }
    }

    #[test]
    fn what_the_answer_may_depend_on_is_for_hyper() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nRange: bytes=0-1\r\n",
            "Host: a\r\nIf-None-Match: \"e\"\r\n",
            "Host: a\r\nCache-Control: no-cache\r\n",
            "Host: a\r\nOrigin: https://a\r\n",
            "Host: a\r\nAuthorization: b\r\n",
            "Host: a\r\nX-Request-Id: b\r\n",
            "Host: a\r\nX-Unknown: b\r\n",
        ] {
            let head = get(fields);
            check(&head, &RequestHead::Head(head.len()));
        }
        for line in [
            "HEAD /a HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET //a HTTP/1.1",
            "GET http://a/b HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /a|b HTTP/1.1",
        ] {
            let head = format!("{line}\r\nhost: a\r\n\r\n");
            check(&head, &RequestHead::Head(head.len()));
        }
    }

    #[test]
    fn what_concerns_the_connection_is_for_hyper() {
        for fields in [
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nConnection: keep-alive, range\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
        ] {
            let head = get(fields);
            check(&head, &RequestHead::Head(head.len()));
        }
        for head in ["GET /a HTTP/1.0\r\nhost: a\r\n\r\n", "POST /a HTTP/1.1\r\nhost: a\r\n\r\n"] {
            assert_eq!(RequestHead::of(head.as_bytes()), RequestHead::Head(head.len()), "{head:?}");
        }
    }

    #[test]
    fn a_head_loses_the_fields_that_offer_a_protocol() {
        let head = get("upgrade: h2c\r\nHost: a\r\nx: upgrade: y\r\nUPGRADE:\r\nupgrades: z\r\n");
        check(&head, &RequestHead::Upgrade(head.len()));
        let without = without_upgrade(head.as_bytes());
        assert_eq!(without, get("Host: a\r\nx: upgrade: y\r\nupgrades: z\r\n").as_bytes());
        assert_eq!(RequestHead::of(&without), RequestHead::Head(without.len()));
        assert_eq!(
            without_upgrade(b"GET / HTTP/1.1\nhost: a\nUpgrade: b\n\n"),
            b"GET / HTTP/1.1\nhost: a\n\n"
        );
    }

    #[test]
    fn the_preface_of_http2_and_that_of_tls_may_come_in_pieces() {
        for end in 0..PREFACE.len() {
            assert_eq!(RequestHead::of(&PREFACE[..end]), RequestHead::Partial, "{end}");
        }
        assert_eq!(RequestHead::of(PREFACE), RequestHead::Http2);
        assert_eq!(RequestHead::of(&TLS[..1]), RequestHead::Partial);
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        use Invalidity::{Connect, Framing, NotHttp, Target, Tls, TooManyFields};
        for (head, expected) in [
            ("GET /a HTTP/1.1\r\nhost : a\r\n\r\n", NotHttp),
            ("GET /a HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", NotHttp),
            ("GET /a HTTP/3.0\r\n\r\n", NotHttp),
            ("\u{16}\u{3}\u{1}", Tls),
            ("GET :// HTTP/1.1\r\nhost: a\r\n\r\n", Target),
            ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", Connect),
            (&get("Content-Length: x\r\n"), Framing),
            (&get("Content-Length: 1\r\nContent-Length: 2\r\n"), Framing),
            (&get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Framing),
            (&get("Transfer-Encoding: gzip\r\n"), Framing),
            (&get("Transfer-Encoding: \u{ff}, chunked\r\n"), Framing),
            ("PRI * HTTP/2.0\r\n\r\nXY", NotHttp),
            (&get(&"a: b\r\n".repeat(FIELDS_MAX + 1)), TooManyFields),
        ] {
            assert_eq!(RequestHead::of(head.as_bytes()), RequestHead::Invalid(expected), "{head:?}");
        }
        let many = get(&"a: b\r\n".repeat(FIELDS_MAX - 1));
        assert_eq!(RequestHead::of(many.as_bytes()), RequestHead::Head(many.len()));
    }

    #[test]
    fn odd_bytes_of_a_target_can_be_escaped() {
        let head = "GET /a<b?\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n";
        let RequestHead::Odd(place, length) = RequestHead::of(head.as_bytes()) else { panic!("odd") };
        assert_eq!(length, head.len());
        assert_eq!(&head[place.clone()], "/a<b?\u{e9}");
        assert_eq!(escaped(head[place].as_bytes()), b"/a%3Cb?%C3%A9");
        assert_eq!(escaped(b"/a<b#c<d"), b"/a%3Cb");
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        let head = get("Host: a\r\n");
        for end in 0..head.len() {
            assert_eq!(RequestHead::of(&head.as_bytes()[..end]), RequestHead::Partial, "{end}");
        }
    }
}
