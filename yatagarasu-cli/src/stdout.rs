//! Writes the output of successful commands.

use std::io::{self, Write};

/// The error message if [`print()`] fails.
pub(crate) const FAILED: &str = "standard output cannot be written";

/// Writes `text` to standard output and flushes it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that closes the pipe, such as `head`, has read all it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
