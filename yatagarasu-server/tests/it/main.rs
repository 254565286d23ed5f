//! Tests of the server on real sockets, over a real S3 server that checks signatures.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

mod admin;
mod caching;
mod client;
mod config;
mod errors;
mod fast_path;
mod faults;
mod http2;
mod joining;
mod logging;
mod memory;
mod origin;
mod process;
mod requests;
mod rfc5861;
mod rfc9110;
mod rfc9111;
mod rfc9211;
mod scripted;
mod site;
mod splice;
mod unread;
mod volume;
mod wire;
