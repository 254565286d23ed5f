//! HTTP semantics (RFC 9110), section by section.

mod conditions;
mod fields;
mod range_fill;
mod ranges;
mod several;

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use crate::site::Site;

const BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
const WRITTEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

/// A lifetime that keeps objects of 1994 fresh.
const LONG: &str = "max-age=2147483647";

/// Starts a gateway that has stored `object` under `/static/k`.
async fn stored(object: Reply) -> Site {
    let site = Site::start().await;
    site.origin.answer("k", [object]);
    assert_eq!(site.client.get("/static/k").await.status, 200);
    site
}

/// Returns content in which every range has bytes of its own.
fn content() -> Vec<u8> {
    (0..10_000u32).map(|index| (index % 251) as u8).collect()
}

async fn ranged(site: &Site, range: &str) -> Response {
    site.client.get_with("/static/k", &[("range", range)]).await
}
