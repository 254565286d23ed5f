//! The cause below the errors of libraries.

use std::error::Error as StdError;

/// Returns the message of the innermost cause of an error. The outer errors of many libraries only repeat that there
/// is one.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
