//! Safe wrappers around the system calls that need unsafe code or that only Linux has.
//!
//! All `unsafe` and all `cfg(target_os)` of the workspace stand here; every other crate forbids unsafe code. Each
//! module has a part for Linux and a portable one with the same functions, which do less. The portable part can be
//! compiled on Linux as well, with `--cfg yatagarasu_portable`, and CI does so.
//!
//! Zero-copy sending is the story behind most of it. A stored object lies in [`Pages`](pages::Pages), which are written
//! once. [`Pages::share`](pages::Pages::share) promises that the bytes never change, and
//! [`Pipe::of_shared`](pipe::Pipe::of_shared) lends them to a pipe on that promise (`vmsplice`); from there they move
//! to the client's socket (`splice`). A stream takes the same way from S3's socket to the client's, without pages.
//! [`tcp`] bounds what the kernel holds for either side, and [`process`] has what concerns the process as a whole.

pub mod clock;
pub mod pages;
pub mod pipe;
pub mod process;
pub mod shared;
pub mod tcp;
#[cfg(feature = "testing")]
pub mod testing;
