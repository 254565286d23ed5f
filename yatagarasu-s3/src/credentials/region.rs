//! Finds the signing region if the configuration has none.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;

/// The first region of S3, which S3-compatible servers also expect by default.
const DEFAULT: &str = "us-east-1";

/// Returns the region of the environment (`AWS_REGION`), else that of the profile, else [`DEFAULT`]. Never uses the
/// network.
pub(crate) async fn find() -> String {
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::builder().build());
    match chain.region().await {
        Some(region) if !region.as_ref().trim().is_empty() => region.as_ref().trim().to_owned(),
        _ => DEFAULT.to_owned(),
    }
}
