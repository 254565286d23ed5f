//! `pipe(2)`, `vmsplice(2)` and `splice(2)`.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

use rustix::pipe::{IoSliceRaw, PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, vmsplice};

use super::{CAPACITY, Counted, Pipe};
use crate::shared::SharedPages;

pub(super) const CAN_SPLICE: bool = true;

pub(super) fn open(counted: Counted) -> io::Result<Pipe> {
    let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    // A user with very many pipes gets smaller ones, which are not worth the system calls.
    fcntl_setpipe_size(&inlet, CAPACITY).map_err(|_| ErrorKind::QuotaExceeded)?;
    Ok(Pipe { inlet, outlet, _counted: counted })
}

#[expect(unsafe_code, reason = "the system goes on reading the bytes after the call")]
pub(super) fn lend(pipe: &Pipe, shared: SharedPages<'_>) -> io::Result<usize> {
    let slice = IoSliceRaw::from_slice(&shared);
    // SAFETY: that these bytes do not change as long as the pipe refers to them is the promise of `SharedPages`.
    Ok(unsafe { vmsplice(&pipe.inlet, &[slice], SpliceFlags::NONBLOCK) }?)
}

pub(super) fn drain(pipe: &Pipe, socket: BorrowedFd<'_>, length: usize, more: bool) -> io::Result<usize> {
    let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    flags.set(SpliceFlags::MORE, more);
    Ok(splice(&pipe.outlet, None, socket, None, length, flags)?)
}

pub(super) fn fill(pipe: BorrowedFd<'_>, socket: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
    Ok(splice(socket, None, pipe, None, limit, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}
