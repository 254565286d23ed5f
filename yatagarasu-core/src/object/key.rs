//! The key of an object and the rules for valid keys.

use std::fmt;
use std::sync::Arc;

/// The key of an object in its bucket: percent-decoded, 1 to 1,024 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

/// The reason why a text is not a valid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is empty.
    #[error("the key is empty")]
    Empty,
    /// The key is longer than S3 accepts.
    #[error("the key is longer than {max} bytes", max = ObjectKey::BYTES_MAX)]
    TooLong,
    /// The key has a `.` or `..` segment. Clients and intermediaries resolve these differently, so two of them could
    /// mean different objects by the same URL.
    #[error("the key has a `.` or `..` segment")]
    DotSegment,
    /// The key has a NUL byte.
    #[error("the key has a NUL byte")]
    Nul,
}

impl ObjectKey {
    /// The longest key S3 accepts, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 1024;

    /// Validates a percent-decoded key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        if text.contains('\0') {
            return Err(KeyError::Nul);
        }
        // Splits the bytes, not the text: segments are too short for the search in `str::split` to be faster.
        if text.as_bytes().split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b"..")) {
            return Err(KeyError::DotSegment);
        }
        Ok(Self(text.into()))
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ObjectKey> for Arc<str> {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), KeyError>) {
        assert_eq!(ObjectKey::parse(text).map(|key| assert_eq!(key.as_str(), text)), expected, "{text:?}");
    }

    #[test]
    fn keys_are_taken_as_they_are_unless_ambiguous() {
        check("css/a b+c%.css", Ok(()));
        check("//a//", Ok(()));
        check(".hidden/..x/...", Ok(()));
        check("", Err(KeyError::Empty));
        check("a/../b", Err(KeyError::DotSegment));
        check("./a", Err(KeyError::DotSegment));
        check("a/..", Err(KeyError::DotSegment));
        check("a\0b", Err(KeyError::Nul));
        check(&"k".repeat(1024), Ok(()));
        check(&"\u{e9}".repeat(513), Err(KeyError::TooLong));
    }
}
