//! Tests of the `yatagarasu` command, run as a child process.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

mod cache;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod process;
mod shell;
mod terminal;
