use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is moved through a pipe at a time.
pub(super) const CAPACITY: usize = 128 * 1024;

/// Most empty pipes a thread keeps.
const SPARE_MAX: usize = 16;

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
    pub(super) fn take() -> Option<Self> {
        SPARE.with_borrow_mut(Vec::pop).or_else(|| system::open().ok())
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

    /// Moves at most `length` bytes from the pipe to `socket`. One that is closed raises `SIGPIPE`, which Rust's runtime
    /// ignores.
    pub(super) fn drain(&self, socket: &impl AsFd, length: usize) -> io::Result<usize> {
        system::drain(self, socket.as_fd(), length)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::BorrowedFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    use super::{CAPACITY, Pipe};

    pub(super) fn open() -> io::Result<Pipe> {
        let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Who has very many pipes has smaller ones.
        let _ = fcntl_setpipe_size(&inlet, CAPACITY);
        Ok(Pipe { inlet, outlet })
    }

    pub(super) fn drain(pipe: &Pipe, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(splice(&pipe.outlet, None, socket, None, length, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::Pipe;

    pub(super) fn open() -> io::Result<Pipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn drain(_: &Pipe, _: BorrowedFd<'_>, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
