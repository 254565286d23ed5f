//! Faults of S3 that no client notices.

mod boundaries;
mod circuit;
mod fallbacks;
mod hedging;
mod outage;
mod resume;
mod retry;
mod stale;
mod storm;
mod traces;

use yatagarasu_testing::origin::{ACCESS_KEY, Origin, SECRET_KEY};

use crate::site::Site;

/// Returns a fallback that is asked for `when`, as an entry of YAML.
fn fallback(origin: &Origin, when: &str, s3: &str) -> String {
    format!(
        "      - when: [{when}]\n        s3: {{ endpoint: {:?}, region: us-east-1, access_key: {ACCESS_KEY:?}, \
         secret_key: {SECRET_KEY:?}, {s3} }}\n",
        origin.endpoint()
    )
}

/// Returns a number that looks random (`SplitMix64`).
fn random(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns a sample of the metrics.
async fn metric(site: &Site, name: &str, bucket: &str) -> u64 {
    let metrics = site.admin.get("/metrics").await;
    let sample = format!("{name}{{bucket={bucket:?}}} ");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(&sample));
    value.unwrap_or_else(|| panic!("{sample} in {}", metrics.text())).parse().unwrap()
}
