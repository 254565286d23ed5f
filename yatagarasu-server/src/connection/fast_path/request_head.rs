//! Recognizes plain GET requests at the front of the bytes that a client has sent.

use std::mem::MaybeUninit;

use httparse::{Header, Status};
use yatagarasu_core::http::fields::is_immaterial;

/// Maximum number of header fields that are parsed here.
const FIELDS_MAX: usize = 64;

/// The front of the bytes that a client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) enum RequestHead<'a> {
    /// An incomplete request head.
    Partial,
    /// A GET for this target without a field that affects the response, and the length of its head in bytes.
    Plain(&'a str, usize),
    /// Another request without content, and the length of its head in bytes.
    Head(usize),
    /// A message whose end hyper must determine: HTTP/2, HTTP/1.0, a request with content, the last request of a
    /// connection, or no valid request.
    Other,
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
    pub(in crate::connection) fn of(bytes: &'a [u8]) -> Self {
        // Uninitialized, because clearing 2 KiB would take as long as parsing most heads.
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Self::Partial,
            Err(_) => return Self::Other,
        };
        let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
            return Self::Other;
        };
        if !matches!(method, "GET" | "HEAD" | "OPTIONS") {
            return Self::Other;
        }
        match bearing(request.headers) {
            FieldEffect::None if method == "GET" && is_plain(target) => Self::Plain(target, length),
            FieldEffect::None | FieldEffect::Answer => Self::Head(length),
            FieldEffect::Connection => Self::Other,
        }
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
    fn check(head: &str, expected: RequestHead<'_>) {
        assert_eq!(RequestHead::of(head.as_bytes()), expected, "{head:?}");
        // Bytes after the head change nothing.
        let followed = format!("{head}GET / HTTP/1.1\r\n");
        if expected != RequestHead::Partial {
            assert_eq!(RequestHead::of(followed.as_bytes()), expected, "{followed:?}");
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
            check(&head, RequestHead::Plain("/a?b=1", head.len()));
        }
        let length = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n".len();
        check("GET /a HTTP/1.1\r\nhost: a\r\n\r\n", RequestHead::Plain("/a", length));
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
            check(&head, RequestHead::Head(head.len()));
        }
        for line in [
            "HEAD /a HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET //a HTTP/1.1",
            "GET http://a/b HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /a|b HTTP/1.1",
            "GET a HTTP/1.1",
        ] {
            let head = format!("{line}\r\nhost: a\r\n\r\n");
            check(&head, RequestHead::Head(head.len()));
        }
    }

    #[test]
    fn what_hyper_has_to_find_the_end_of_is_left_to_it() {
        for fields in [
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nConnection: keep-alive, range\r\n",
            "Host: a\r\nUpgrade: h2c\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
        ] {
            check(&get(fields), RequestHead::Other);
        }
        for head in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /a HTTP/1.0\r\nhost: a\r\n\r\n",
            "POST /a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET /a HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(RequestHead::of(head.as_bytes()), RequestHead::Other, "{head:?}");
        }
        let many = get(&"a: b\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(RequestHead::of(many.as_bytes()), RequestHead::Other);
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        let head = get("Host: a\r\n");
        for end in 0..head.len() {
            assert_eq!(RequestHead::of(&head.as_bytes()[..end]), RequestHead::Partial, "{end}");
        }
    }
}
