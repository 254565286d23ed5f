//! Pipes, through which bytes get to a socket without passing through the process.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use yatagarasu_core::stored::Lent;

/// What is moved through a pipe at a time.
pub(super) const CAPACITY: usize = 128 * 1024;

/// Most empty pipes a thread keeps.
const SPARE_MAX: usize = 16;

/// Whether the system is known to take no pages: some sandboxes have pipes and no `vmsplice`.
static LENDS_NOTHING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe of the system.
#[derive(Debug)]
pub(super) struct Pipe {
    inlet: OwnedFd,
    outlet: OwnedFd,
}

impl Pipe {
    /// Takes an empty pipe, unless the system has none to give.
    pub(super) fn take() -> io::Result<Self> {
        SPARE.with_borrow_mut(Vec::pop).map_or_else(system::open, Ok)
    }

    /// Takes a pipe and puts bytes in that stay where they are, as many as it takes; says how many.
    pub(super) fn holding(lent: Lent<'_>) -> io::Result<(Self, usize)> {
        let pipe = Self::take().inspect_err(note_refusal)?;
        match system::lend(&pipe, lent) {
            Ok(bytes) => Ok((pipe, bytes)),
            Err(error) => {
                note_refusal(&error);
                pipe.give_back();
                Err(error)
            }
        }
    }

    /// Keeps a pipe that is empty again for the next who needs one.
    pub(super) fn give_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }

    /// Where bytes go in.
    pub(super) fn inlet(&self) -> BorrowedFd<'_> {
        self.inlet.as_fd()
    }

    /// Moves at most `length` bytes from the pipe to `socket`, and says whether `more` follow at once, which the system
    /// then waits for. A socket that is closed raises `SIGPIPE`, which Rust's runtime ignores.
    pub(super) fn drain(&self, socket: &impl AsFd, length: usize, more: bool) -> io::Result<usize> {
        system::drain(self, socket.as_fd(), length, more)
    }
}

/// Whether pages can be lent, as far as is known.
pub(super) fn lends() -> bool {
    !LENDS_NOTHING.load(Ordering::Relaxed)
}

/// Notes an error that comes each time pages are lent.
pub(super) fn note_refusal(error: &io::Error) {
    if let ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::InvalidInput = error.kind() {
        LENDS_NOTHING.store(true, Ordering::Relaxed);
    }
}

/// Sends bytes that others follow at once: the system waits for them.
pub(super) fn send_ahead(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    system::send_ahead(socket.as_fd(), bytes)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::BorrowedFd;

    use rustix::net::{SendFlags, send};
    use rustix::pipe::{IoSliceRaw, PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, vmsplice};
    use yatagarasu_core::stored::Lent;

    use super::{CAPACITY, Pipe};

    pub(super) fn open() -> io::Result<Pipe> {
        let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Who has very many pipes has smaller ones.
        let _ = fcntl_setpipe_size(&inlet, CAPACITY);
        Ok(Pipe { inlet, outlet })
    }

    #[expect(unsafe_code, reason = "the system goes on reading what it is lent")]
    pub(super) fn lend(pipe: &Pipe, lent: Lent<'_>) -> io::Result<usize> {
        let bytes = IoSliceRaw::from_slice(&lent);
        // SAFETY: what is lent is never written as long as anyone has it.
        Ok(unsafe { vmsplice(&pipe.inlet, &[bytes], SpliceFlags::NONBLOCK) }?)
    }

    pub(super) fn drain(pipe: &Pipe, socket: BorrowedFd<'_>, length: usize, more: bool) -> io::Result<usize> {
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        flags.set(SpliceFlags::MORE, more);
        Ok(splice(&pipe.outlet, None, socket, None, length, flags)?)
    }

    pub(super) fn send_ahead(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::BorrowedFd;

    use yatagarasu_core::stored::Lent;

    use super::Pipe;

    pub(super) fn open() -> io::Result<Pipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn lend(_: &Pipe, _: Lent<'_>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn drain(_: &Pipe, _: BorrowedFd<'_>, _: usize, _: bool) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send_ahead(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
