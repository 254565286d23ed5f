//! The cause below the errors of the libraries.

use std::error::Error as StdError;

/// Returns the message of the innermost cause of an error.
pub(crate) fn innermost(error: &dyn StdError) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
