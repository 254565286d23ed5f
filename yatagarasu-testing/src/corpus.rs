//! Replays the inputs that fuzzing has found.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Calls `check` with each input in `fuzz/corpus/TARGET.txt`: one a line, escaped like a byte string of Rust.
///
/// # Panics
///
/// If there is no input, if a line cannot be read, and if `check` panics. Prints the line then.
#[expect(clippy::print_stderr, reason = "it is a part of the message of the test that fails")]
pub fn replay(target: &str, check: impl Fn(&[u8])) {
    let path = format!("{}/../fuzz/corpus/{target}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!text.is_empty(), "{path} has no input");
    for (number, line) in (1..).zip(text.lines()) {
        let input = unescaped(line).unwrap_or_else(|| panic!("{path}:{number} cannot be read"));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
            eprintln!("{path}:{number}: {line}");
            resume_unwind(panic);
        }
    }
}

/// Reverses [`<[u8]>::escape_ascii`].
fn unescaped(line: &str) -> Option<Vec<u8>> {
    let mut bytes = line.bytes();
    let mut input = Vec::with_capacity(line.len());
    while let Some(byte) = bytes.next() {
        input.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
                }
                escaped @ (b'\\' | b'\'' | b'"') => escaped,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_as_it_was() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(unescaped(&all.escape_ascii().to_string()), Some(all));
        for wrong in ["\\", "\\q", "\\x", "\\x1", "\\xgg"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }
}
