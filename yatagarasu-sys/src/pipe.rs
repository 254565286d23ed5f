//! Pipes, through which bytes reach a socket without passing through the process.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::shared::SharedPages;

#[cfg(all(target_os = "linux", not(yatagarasu_portable)))]
#[path = "pipe/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(yatagarasu_portable))))]
#[path = "pipe/portable.rs"]
mod system;

/// Most bytes that are moved through a pipe at a time.
pub const CAPACITY: usize = 256 * 1024;

/// Most empty pipes that a thread keeps.
const SPARE_MAX: usize = 16;

/// Most pipes of the process. Each takes two descriptors. Linux lets a user without privileges have a quarter as many of
/// this capacity (`pipe-user-pages-soft`, pipe(7)).
const PIPES_MAX: usize = 1024;

static PIPES: AtomicUsize = AtomicUsize::new(0);

/// Whether the system is known to refuse pages: some sandboxes have pipes and no `vmsplice`.
static REFUSES_PAGES: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe of the system.
#[derive(Debug)]
pub struct Pipe {
    inlet: OwnedFd,
    outlet: OwnedFd,
    _counted: Counted,
}

/// Counts a pipe of the process until dropped.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn one_more() -> io::Result<Self> {
        let counted = Self;
        if PIPES.fetch_add(1, Ordering::Relaxed) < PIPES_MAX {
            Ok(counted)
        } else {
            Err(ErrorKind::QuotaExceeded.into())
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipe {
    /// Takes an empty pipe, a spare one of this thread if there is one.
    ///
    /// # Errors
    ///
    /// There are 1,024 pipes already, or the system has no more, or none at all.
    pub fn take() -> io::Result<Self> {
        SPARE.with_borrow_mut(Vec::pop).map_or_else(|| system::open(Counted::one_more()?), Ok)
    }

    /// Takes a pipe and puts shared bytes into it without copying them. Returns how many it took.
    ///
    /// # Errors
    ///
    /// There is no pipe, or the system takes no pages. A refusal that will come each time is remembered, see
    /// [`can_share`].
    pub fn of_shared(shared: SharedPages<'_>) -> io::Result<(Self, usize)> {
        Self::lending(shared).inspect_err(note_refusal)
    }

    fn lending(shared: SharedPages<'_>) -> io::Result<(Self, usize)> {
        let pipe = Self::take()?;
        match system::lend(&pipe, shared) {
            Ok(taken) => Ok((pipe, taken)),
            Err(error) => {
                pipe.give_back();
                Err(error)
            }
        }
    }

    /// Keeps a pipe, which must be empty, for the next caller on this thread.
    pub fn give_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }

    /// Returns the end that bytes go into.
    pub fn inlet(&self) -> BorrowedFd<'_> {
        self.inlet.as_fd()
    }

    /// Returns the end that bytes come out of.
    pub fn outlet(&self) -> BorrowedFd<'_> {
        self.outlet.as_fd()
    }

    /// Moves at most `length` bytes from the pipe to `socket` without waiting. Returns how many. If `more` follow at
    /// once, the system waits for them before it sends a short packet.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket is full. A closed socket raises `SIGPIPE`, which Rust's runtime ignores.
    pub fn drain(&self, socket: &impl AsFd, length: usize, more: bool) -> io::Result<usize> {
        system::drain(self, socket.as_fd(), length, more)
    }
}

/// Returns whether the system moves bytes between sockets and pipes.
pub fn can_splice() -> bool {
    system::CAN_SPLICE
}

/// Moves at most `limit` bytes that have arrived at `socket` into an empty pipe, without waiting. Returns how many; 0
/// is the end of the stream.
///
/// # Errors
///
/// `WouldBlock` if nothing has arrived; `Unsupported` unless [`can_splice`].
pub fn fill(pipe: BorrowedFd<'_>, socket: &impl AsFd, limit: usize) -> io::Result<usize> {
    system::fill(pipe, socket.as_fd(), limit)
}

/// Returns whether pages can be shared, as far as is known.
pub fn can_share() -> bool {
    !REFUSES_PAGES.load(Ordering::Relaxed)
}

/// Remembers an error that will come each time pages are shared.
pub fn note_refusal(error: &io::Error) {
    if let ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::InvalidInput = error.kind() {
        REFUSES_PAGES.store(true, Ordering::Relaxed);
    }
}
