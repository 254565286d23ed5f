//! The places that lines of a log are written to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A place for lines, as a configuration names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
    /// A file. Lines are appended.
    File(PathBuf),
}

impl Destination {
    /// Returns the place that a configuration names.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "stderr" => Self::Stderr,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }

    /// Returns the name in a configuration.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stderr => "stderr".to_owned(),
            Self::Stdout => "stdout".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// An open place for lines. It can be turned to another one.
#[derive(Debug, Default)]
pub(crate) struct Output(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    destination: Destination,
    /// The file, if it is one.
    file: Option<File>,
}

impl Open {
    fn new(destination: Destination) -> io::Result<Self> {
        let file = match &destination {
            Destination::File(path) => Some(open(path)?),
            Destination::Stderr | Destination::Stdout => None,
        };
        Ok(Self { destination, file })
    }
}

impl Output {
    /// Opens a place.
    ///
    /// # Errors
    ///
    /// Returns an error if it is a file that cannot be opened or created.
    pub(super) fn open(destination: Destination) -> io::Result<Self> {
        Open::new(destination).map(Mutex::new).map(Self)
    }

    /// Turns to another place, or opens the same file anew, which may have been renamed. Keeps the place that it has if
    /// that fails.
    ///
    /// # Errors
    ///
    /// Returns an error if it is a file that cannot be opened or created.
    pub(super) fn turn_to(&self, destination: Destination) -> io::Result<()> {
        let opened = Open::new(destination)?;
        *self.lock() = opened;
        Ok(())
    }

    /// Returns the place that it writes to.
    pub(super) fn destination(&self) -> Destination {
        self.lock().destination.clone()
    }

    /// Returns the name of the place in a configuration.
    pub(super) fn name(&self) -> String {
        self.destination().name()
    }

    /// Writes lines, without the locks of the standard library. Waits for a slow reader. Returns the number of bytes
    /// written before an error.
    pub(super) fn write(&self, bytes: &[u8]) -> usize {
        // A copy of the descriptor: a reader that stands still must not keep the output from being turned.
        let file = self.lock().file.as_ref().map(File::try_clone);
        match file {
            Some(Ok(file)) => write_to(file.as_fd(), bytes),
            Some(Err(_)) => 0,
            None => match self.destination() {
                Destination::Stdout => write_to(io::stdout().as_fd(), bytes),
                Destination::Stderr | Destination::File(_) => write_to(io::stderr().as_fd(), bytes),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write_to(file: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(file, &bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            // Another process that shares the file may have made it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&file, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            },
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_full_takes_nothing() {
        let full = Output::open(Destination::File("/dev/full".into())).unwrap();
        assert_eq!(full.write(b"a line\n"), 0);
    }

    #[test]
    fn a_file_that_was_renamed_is_opened_anew() {
        let folder = tempfile::TempDir::new().unwrap();
        let [path, old] = ["log", "log.1"].map(|name| folder.path().join(name));
        let output = Output::open(Destination::File(path.clone())).unwrap();
        assert_eq!(output.write(b"a\n"), 2);
        std::fs::rename(&path, &old).unwrap();
        output.write(b"b\n");
        output.turn_to(output.destination()).unwrap();
        output.write(b"c\n");
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&old), read(&path)), ("a\nb\n".to_owned(), "c\n".to_owned()));
        let missing = Destination::File(folder.path().join("no/log"));
        assert!(
            output.turn_to(missing).is_err() && Destination::named(&output.name()) == output.destination()
        );
        assert_eq!(output.write(b"d\n"), 2, "the place stays");
    }
}
