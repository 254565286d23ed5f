//! Decodes encoded words (RFC 2047), in which S3 returns metadata that is not ASCII.

use std::borrow::Cow;

/// Returns the bytes of a field value with its encoded words decoded. Words in another charset than UTF-8, and what is
/// none, stay as they are.
pub fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.windows(2).any(|pair| pair == b"=?") {
        return Cow::Borrowed(value);
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(value.len()), value);
    // White space between two encoded words is not part of the text (RFC 2047 6.2).
    let mut after_word = false;
    while !rest.is_empty() {
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let Some((text, length)) = word(&rest[space..]) else {
            let literal = (space + 1).min(rest.len());
            decoded.extend_from_slice(&rest[..literal]);
            (rest, after_word) = (&rest[literal..], false);
            continue;
        };
        if !after_word {
            decoded.extend_from_slice(&rest[..space]);
        }
        decoded.extend_from_slice(&text);
        (rest, after_word) = (&rest[space + length..], true);
    }
    Cow::Owned(decoded)
}

/// Decodes the encoded word that `text` begins with. Returns its text and its own length.
fn word(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    const CHARSET: &[u8] = b"=?utf-8?";
    let after =
        text.get(..CHARSET.len()).filter(|start| start.eq_ignore_ascii_case(CHARSET)).map(<[u8]>::len)?;
    let encoding = text.get(after)?.to_ascii_lowercase();
    let content = text[after + 1..].strip_prefix(b"?")?;
    let length = content.windows(2).position(|pair| pair == b"?=")?;
    let decoded = match encoding {
        b'q' => quoted(&content[..length]),
        b'b' => base64_simd::STANDARD.decode_to_vec(&content[..length]).ok(),
        _ => None,
    };
    Some((decoded?, after + 2 + length + 2))
}

/// Decodes the encoding "Q" (RFC 2047 4.2).
fn quoted(content: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&decode(value.as_bytes())), expected, "{value}");
    }

    #[test]
    fn words_are_decoded_and_the_rest_stays() {
        check("plain", "plain");
        check("=?UTF-8?Q?=C3=B6ha?=", "\u{f6}ha");
        check("=?utf-8?q?a_b?= c", "a b c");
        check("=?UTF-8?B?w7ZoYQ==?=", "\u{f6}ha");
        check("=?UTF-8?B?w7Y=?= =?UTF-8?B?w6Q=?=", "\u{f6}\u{e4}");
        check("a =?UTF-8?Q?b?= c", "a b c");
    }

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for text in ["=?", "=?UTF-8?", "=?UTF-8?Q?a", "=?UTF-8?X?a?=", "=?latin1?Q?=E4?=", "=?UTF-8?Q?=ZZ?="]
        {
            check(text, text);
        }
        check("=?UTF-8?B?*?=", "=?UTF-8?B?*?=");
    }
}
