//! Parses response heads, including the framing of the body and the persistence of the connection.

use std::fmt::Display;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::{EMPTY_HEADER, Header, Status};
use yatagarasu_core::{ErrorKind, SourceError};

use crate::http_client::body::chunked::Decoder;
use crate::http_client::body::framing::Framing;

/// Maximum size of a response head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Number of fields that are parsed without an allocation.
const FIELDS_TYPICAL: usize = 64;

/// Maximum number of fields in a response head. More do not fit into [`HEAD_BYTES_MAX`].
const FIELDS_MAX: usize = HEAD_BYTES_MAX / "a:b\r\n".len();

/// The result of parsing the bytes received.
#[derive(Debug)]
pub(super) enum Parsed {
    /// The head is incomplete.
    Partial,
    /// An interim (1xx) head of this many bytes; another head follows (RFC 9110 15.2).
    Interim(usize),
    /// A final head of this many bytes; its body follows.
    Final(usize, Head),
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Copies of the fields, so that they do not keep the read buffer alive.
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection can be reused after the body has ended.
    pub(super) persists: bool,
}

/// Returns the error for a head that exceeds a limit.
pub(super) fn too_large() -> SourceError {
    SourceError::broken("the response head is longer than 64 KiB")
}

/// Parses the response head for a request with `method`.
pub(super) fn parse(bytes: &[u8], method: &Method) -> Result<Parsed, SourceError> {
    let mut fields = [EMPTY_HEADER; FIELDS_TYPICAL];
    match parse_with(bytes, method, &mut fields) {
        // User metadata of 2 KB can be hundreds of fields.
        Err(None) => {
            let parsed = parse_with(bytes, method, &mut vec![EMPTY_HEADER; FIELDS_MAX]);
            parsed.map_err(|error| error.unwrap_or_else(too_large))
        }
        parsed => parsed.map_err(|error| error.unwrap_or_else(too_large)),
    }
}

/// Like [`parse`], with room for these fields. Returns an empty error if there are more.
fn parse_with<'a>(
    bytes: &'a [u8],
    method: &Method,
    fields: &mut [Header<'a>],
) -> Result<Parsed, Option<SourceError>> {
    let mut response = httparse::Response::new(fields);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(None),
        // A TLS server answers with an alert (RFC 8446 5.1).
        Err(_) if bytes.starts_with(&[0x15, 0x03]) => {
            let advice = "the server speaks TLS: begin the endpoint with `https://`";
            return Err(Some(SourceError::new(ErrorKind::Misconfigured).because(advice)));
        }
        Err(error) => return Err(Some(nonsense(&error))),
    };
    head(&response, &bytes[..length], method).map_err(Some)
}

/// Returns what a parsed head says. `bytes` are all of it.
fn head(response: &httparse::Response<'_, '_>, bytes: &[u8], method: &Method) -> Result<Parsed, SourceError> {
    let status = StatusCode::from_u16(response.code.unwrap_or_default()).map_err(|error| nonsense(&error))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SourceError::broken("it switches protocols, which nobody asked for"));
    }
    if status.is_informational() {
        return Ok(Parsed::Interim(bytes.len()));
    }
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    // One copy for all values.
    let copy = Bytes::copy_from_slice(bytes);
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| nonsense(&error))?;
        let begin = field.value.as_ptr() as usize - bytes.as_ptr() as usize;
        let value = HeaderValue::from_maybe_shared(copy.slice(begin..begin + field.value.len()));
        headers.append(name, value.map_err(|error| nonsense(&error))?);
    }
    let mut persists = persists(version, &headers);
    let framing = if method == Method::HEAD || matches!(status.as_u16(), 204 | 304) {
        Framing::Length(0)
    } else if headers.contains_key(TRANSFER_ENCODING) {
        let framing = chunked(version, &headers)?;
        // Two framings may be an attempt at response smuggling. The length is ignored and the connection not reused
        // (RFC 9112 6.3).
        persists &= headers.remove(CONTENT_LENGTH).is_none();
        framing
    } else if let Some(length) = content_length(&mut headers)? {
        Framing::Length(length)
    } else {
        persists = false;
        Framing::UntilClose
    };
    Ok(Parsed::Final(bytes.len(), Head { status, headers, framing, persists }))
}

fn nonsense(error: &dyn Display) -> SourceError {
    SourceError::broken(format!("not an HTTP response: {error}"))
}

/// Returns `true` if the server keeps the connection open (RFC 9112 9.3).
fn persists(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}

/// Accepts `chunked` as the only transfer coding (RFC 9112 6.1).
fn chunked(version: Version, headers: &HeaderMap) -> Result<Framing, SourceError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only = codings.next().filter(|_| codings.next().is_none());
    let chunked = only.is_some_and(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if chunked && version == Version::HTTP_11 {
        Ok(Framing::Chunked(Decoder::default()))
    } else {
        Err(SourceError::broken("a transfer-encoding other than chunked"))
    }
}

/// Parses `Content-Length`. Repeated equal values count as one, and different values are an error (RFC 9112 6.3).
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, SourceError> {
    let mut length = None;
    let mut values = 0;
    for value in headers.get_all(CONTENT_LENGTH) {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let read = digits(value.trim_ascii())
                .ok_or_else(|| SourceError::broken("a content-length that is no number"))?;
            if length.is_some_and(|length| length != read) {
                return Err(SourceError::broken("lengths that contradict each other"));
            }
            length = Some(read);
            values += 1;
        }
    }
    if let (Some(length), 2..) = (length, values) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(length)
}

/// Parses a number without a sign.
fn digits(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(method: &Method, text: &str) -> Result<Head, String> {
        match parse(text.as_bytes(), method).map_err(|error| error.to_string())? {
            Parsed::Final(length, head) => {
                assert_eq!(length, text.len(), "{text:?}");
                Ok(head)
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    /// Asserts the framing and the persistence of a head with these lines.
    #[track_caller]
    fn check(lines: &[&str], framing: Framing, persists: bool) {
        let head = whole(&Method::GET, &format!("{}\r\n\r\n", lines.join("\r\n"))).unwrap();
        assert_eq!((head.framing, head.persists), (framing, persists), "{lines:?}");
    }

    #[track_caller]
    fn refused(lines: &[&str], reason: &str) {
        let error = whole(&Method::GET, &format!("{}\r\n\r\n", lines.join("\r\n"))).unwrap_err();
        assert!(error.ends_with(reason), "{lines:?}: {error}");
    }

    const OK: &str = "HTTP/1.1 200 OK";

    #[test]
    fn bodies_end_where_rfc_9112_6_3_says() {
        let chunked = || Framing::Chunked(Decoder::default());
        check(&[OK, "content-length: 5"], Framing::Length(5), true);
        check(&[OK, "Content-Length: 5", "content-length: 5"], Framing::Length(5), true);
        check(&[OK, "content-length: 5, 5"], Framing::Length(5), true);
        check(&[OK, "transfer-encoding: Chunked"], chunked(), true);
        check(&[OK, "transfer-encoding: chunked", "content-length: 5"], chunked(), false);
        check(&[OK], Framing::UntilClose, false);
        check(&["HTTP/1.1 204 No Content"], Framing::Length(0), true);
        check(&["HTTP/1.1 304 Not Modified", "content-length: 5"], Framing::Length(0), true);
        let answer = whole(&Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap();
        assert_eq!(answer.framing, Framing::Length(0));
        assert_eq!(answer.headers["content-length"], "5");
    }

    #[test]
    fn connections_persist_as_rfc_9112_9_3_says() {
        let length = "content-length: 5";
        check(&[OK, length, "connection: close"], Framing::Length(5), false);
        check(&[OK, length, "connection: x, Close"], Framing::Length(5), false);
        check(&["HTTP/1.0 200 OK", length], Framing::Length(5), false);
        check(&["HTTP/1.0 200 OK", length, "connection: Keep-Alive"], Framing::Length(5), true);
    }

    #[test]
    fn framings_that_cannot_be_trusted_are_refused() {
        refused(&[OK, "content-length: 5", "content-length: 6"], "lengths that contradict each other");
        refused(&[OK, "content-length: 5, 6"], "lengths that contradict each other");
        for length in ["", "+5", "-5", "5x", "5,", "0x5", "18446744073709551616"] {
            refused(&[OK, &format!("content-length: {length}")], "a content-length that is no number");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked"] {
            let line = format!("transfer-encoding: {coding}");
            refused(&[OK, &line], "a transfer-encoding other than chunked");
        }
        let twice = [OK, "transfer-encoding: chunked", "transfer-encoding: chunked"];
        refused(&twice, "a transfer-encoding other than chunked");
        let old = ["HTTP/1.0 200 OK", "transfer-encoding: chunked"];
        refused(&old, "a transfer-encoding other than chunked");
    }

    #[test]
    fn what_comes_without_an_end_or_is_none_is_told_apart() {
        let parse = |text: &str| parse(text.as_bytes(), &Method::GET);
        assert!(matches!(parse("").unwrap(), Parsed::Partial));
        assert!(matches!(parse("HTTP/1.1 200 OK\r\netag: \"e\"\r\n").unwrap(), Parsed::Partial));
        assert!(matches!(parse("HTTP/1.1 100 Continue\r\n\r\nHTTP").unwrap(), Parsed::Interim(25)));
        refused(&["SSH-2.0-OpenSSH_9.2"], "not an HTTP response: invalid HTTP version");
        let many = |count| std::iter::once(OK).chain(std::iter::repeat_n("a: b", count)).collect::<Vec<_>>();
        let found = super::parse(format!("{}\r\n\r\n", many(700).join("\r\n")).as_bytes(), &Method::GET);
        assert!(matches!(found, Ok(Parsed::Final(_, head)) if head.headers.len() == 700));
        refused(&many(FIELDS_MAX + 1), "the response head is longer than 64 KiB");
    }
}
