//! Every backend against a real S3 server that checks signatures, and against sockets that misbehave.

mod conformance;
mod faults;
mod signing;
