//! Tests of the server on real sockets, over a real S3 server that checks signatures.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

mod caching;
mod compression;
mod connections;
mod documentation;
mod errors;
mod forward_proxy;
mod healing;
mod hostile;
#[cfg(feature = "http3")]
mod http3;
mod joining;
mod life;
mod listing;
mod operating;
mod own;
mod requests;
mod rfc5861;
mod rfc9110;
mod rfc9111;
mod rfc9211;
mod routing;
mod site;
mod site_rules;
mod tls;
mod tls_front;
mod website;
