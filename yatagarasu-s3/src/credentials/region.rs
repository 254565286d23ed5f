//! The region requests are signed for, where the configuration names none.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;

/// S3's first region, which also is what S3-compatible servers expect by default.
const DEFAULT: &str = "us-east-1";

/// Asks the environment (`AWS_REGION`), then the profile. Never asks the network.
pub(crate) async fn find() -> String {
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::builder().build());
    match chain.region().await {
        Some(region) if !region.as_ref().trim().is_empty() => region.as_ref().trim().to_owned(),
        _ => DEFAULT.to_owned(),
    }
}
