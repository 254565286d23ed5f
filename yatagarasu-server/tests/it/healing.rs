//! Faults of S3 that no client notices.

mod circuit;
mod fallbacks;
mod hedging;
mod resume;
mod retry;
mod stale;

use crate::site::Site;

/// Returns a sample of the metrics.
async fn metric(site: &Site, name: &str, bucket: &str) -> u64 {
    let metrics = site.admin.get("/metrics").await;
    let sample = format!("{name}{{bucket={bucket:?}}} ");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(&sample));
    value.unwrap_or_else(|| panic!("{sample} in {}", metrics.text())).parse().unwrap()
}
