//! Trims all strings, and rejects strings that would break requests later.
//!
//! A secret written by `echo`, or read from a file by a script, ends with a line break. S3 or the admin API would
//! then refuse each request with a message that blames something else.

use config::{Value, ValueKind};

use crate::config::keys::{Kind, MASKED, Settings, Type};

/// Trims all strings below `value`, which is the value of `key`. Calls `wrong` with the key and a message for each
/// string that no request could carry.
pub(super) fn clean(value: &mut Value, key: &str, wrong: &mut impl FnMut(&str, &str)) {
    match &mut value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                clean(value, &key, wrong);
            }
        }
        ValueKind::Array(values) => {
            for (index, value) in values.iter_mut().enumerate() {
                clean(value, &format!("{key}[{index}]"), wrong);
            }
        }
        ValueKind::Nil => {}
        ValueKind::String(text) if is_of_lines(key) => {
            if let Some(message) = strange(text, |c| matches!(c, '\n' | '\r' | '\t')) {
                wrong(key, &message);
            }
        }
        ValueKind::String(text) => match trimmed(text) {
            Ok(trimmed) if trimmed == MASKED && is_secret(key) => {
                wrong(key, "is what `config show` writes for a secret: write the secret, or ${NAME}");
            }
            Ok(trimmed) => *text = trimmed,
            Err(message) => wrong(key, &message),
        },
        // YAML parses an unquoted 00123 as the number 123, which would change the secret.
        _ if is_secret(key) => wrong(key, "expected a text: write it in quotes"),
        _ => {}
    }
}

/// Returns `text` without surrounding white space.
///
/// # Errors
///
/// Returns a message if only white space is given or a control character remains. An empty `text` is valid.
pub(super) fn trimmed(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() && !text.is_empty() {
        return Err("is white space only: write a value, or leave the key out".to_owned());
    }
    match strange(trimmed, |_| false) {
        Some(message) => Err(format!("{message}: write the value in one line, without it")),
        None => Ok(trimmed.to_owned()),
    }
}

/// Returns a message about the first control character that is not allowed.
fn strange(text: &str, is_allowed: impl Fn(char) -> bool) -> Option<String> {
    let (index, c) = text.chars().enumerate().find(|(_, c)| c.is_control() && !is_allowed(*c))?;
    Some(format!("has a control character (U+{:04X}) at character {}", u32::from(c), index + 1))
}

fn is_of_lines(path: &str) -> bool {
    Settings::SECTION.find(path).is_some_and(|key| matches!(key.kind, Kind::Value(Type::Lines)))
}

fn is_secret(path: &str) -> bool {
    Settings::SECTION.find(path).is_some_and(|key| matches!(key.kind, Kind::Value(Type::Secret)))
}

/// Checks that a header field can carry `text`: printable ASCII characters without spaces.
pub(super) fn check_field_value(text: &str) -> Result<(), String> {
    match text.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic()) {
        Some((index, _)) => Err(format!(
            "expected printable ASCII characters without spaces, found another at character {}",
            index + 1
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_text_goes_and_control_characters_are_refused() {
        for (text, expected) in [
            ("", Ok("")),
            ("abc", Ok("abc")),
            ("abc\n", Ok("abc")),
            (" \ta b\r\n", Ok("a b")),
            ("\n", Err("white space only")),
            ("a\nb", Err("(U+000A) at character 2")),
            ("a\u{7f}", Err("(U+007F) at character 2")),
        ] {
            match (trimmed(text), expected) {
                (Ok(trimmed), Ok(expected)) => assert_eq!(trimmed, expected, "{text:?}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
                (found, expected) => panic!("{text:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_field_value_is_printable_ascii() {
        assert_eq!(check_field_value("AKIA/+=~!"), Ok(()));
        for text in ["a b", "\u{e9}", "ab\u{200b}"] {
            let said = check_field_value(text).unwrap_err();
            assert!(said.starts_with("expected printable ASCII"), "{said}");
        }
    }
}
