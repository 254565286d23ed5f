//! Every backend against an S3 server that checks signatures, and against sockets that misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and its tasks end with it"
)]

mod conformance;
mod connections;
mod faults;
mod signing;

use yatagarasu_s3::SourceBackend;

/// Returns every backend that is compiled in.
fn backends() -> Vec<SourceBackend> {
    let all = [SourceBackend::Native, SourceBackend::Rusoto];
    all.into_iter().filter(|backend| backend.compiled().is_ok()).collect()
}
