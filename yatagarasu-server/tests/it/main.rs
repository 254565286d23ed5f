//! The server on real sockets, over a real S3 server that checks signatures.

mod admin;
mod caching;
mod client;
mod config;
mod errors;
mod faults;
mod http2;
mod memory;
mod process;
mod requests;
mod scripted;
mod site;
mod volume;
