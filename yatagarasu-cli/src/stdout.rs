//! What the commands say when all went well.

use std::io::{self, Write};

/// What went wrong where [`print()`] fails.
pub(crate) const FAILED: &str = "standard output cannot be written";

/// Writes `text` to standard output at once.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Who reads no further has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
