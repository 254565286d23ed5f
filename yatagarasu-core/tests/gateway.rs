//! Tests of the gateway over scripted sources and a manual clock: collapsing, storing, purging, leaving clients.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

#[path = "gateway/bed.rs"]
mod bed;
#[path = "gateway/coded.rs"]
mod coded;
#[path = "gateway/collapse.rs"]
mod collapse;
#[path = "gateway/conformance.rs"]
mod conformance;
#[path = "gateway/corners.rs"]
mod corners;
#[path = "gateway/model.rs"]
mod model;
#[path = "gateway/purge.rs"]
mod purge;
#[path = "gateway/storing.rs"]
mod storing;
#[path = "gateway/timeout.rs"]
mod timeout;
#[path = "gateway/turnstile.rs"]
mod turnstile;
