//! Every backend against an S3 server that checks signatures, and against sockets that misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

mod bed;
mod conformance;
mod connections;
mod faults;
mod signing;
