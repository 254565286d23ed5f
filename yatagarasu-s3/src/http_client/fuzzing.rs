//! Checks for arbitrary input. The targets in `fuzz/` and the tests of past findings call them.
//!
//! Each check takes what S3 may have sent. It panics if the code under it does, or contradicts itself.

use http::Method;

use crate::client::error_document::ErrorDocument;
use crate::http_client::body::chunked::Decoder;
use crate::http_client::head::{Parsed, parse};

/// Takes the beginning of a response: its head, and what follows.
pub fn response_head(input: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let Ok(Parsed::Final(length, _) | Parsed::Interim(length)) = parse(input, &method) else {
            continue;
        };
        assert!(length <= input.len());
        let read = |bytes: &[u8]| match parse(bytes, &method) {
            Ok(Parsed::Final(length, head)) => format!("{length} {head:?}"),
            other => format!("{other:?}"),
        };
        // What follows a head says nothing about it.
        assert_eq!(read(&input[..length]), read(input));
        // A head that comes in pieces is not taken for another one.
        for end in (0..length).rev().take(300) {
            let found = parse(&input[..end], &method);
            assert!(matches!(found, Ok(Parsed::Partial)), "{end}: {found:?}");
        }
    }
}

/// Takes a chunked body. Its first byte says into which pieces the rest is split.
pub fn chunked(input: &[u8]) {
    let Some((&pieces, body)) = input.split_first() else { return };
    let whole = decode(std::iter::once(body));
    let pieces = usize::from(pieces) + 1;
    assert_eq!(decode(body.chunks(pieces)), whole, "in pieces of {pieces}");
    if let Some(content) = content(body) {
        assert_eq!(whole, Ok((content, true)));
    }
}

/// Takes an XML document.
pub fn error_document(input: &[u8]) {
    let found = ErrorDocument::parse(input);
    let is_plain = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
    assert!(found.code.chars().all(is_plain), "{found:?}");
}

/// Decodes a body in these pieces. Returns its content and whether it has ended.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, bool), &'static str> {
    let (mut decoder, mut content) = (Decoder::default(), Vec::new());
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let accepted = decoder.accept(&mut bytes)?;
        content.extend_from_slice(&bytes[..accepted.content]);
        if accepted.ended {
            return Ok((content, true));
        }
        assert!(!accepted.surplus, "bytes are left over within the body");
    }
    Ok((content, false))
}

/// Returns the content of a body by the grammar of RFC 9112 7.1, without extensions and trailers. Returns `None` if the
/// body is another one.
fn content(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let digits = body.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(str::from_utf8(&body[..digits]).ok()?, 16).ok()?;
        let chunk = body[digits..].strip_prefix(b"\r\n")?;
        // More digits than any number needs are refused.
        if digits > 16 {
            return None;
        }
        let (data, rest) = chunk.split_at_checked(size)?;
        content.extend_from_slice(data);
        body = rest.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use yatagarasu_testing::replay;

    #[test]
    fn what_fuzzing_has_found_is_right() {
        replay("response_head", super::response_head);
        replay("chunked", super::chunked);
        replay("error_document", super::error_document);
    }
}
