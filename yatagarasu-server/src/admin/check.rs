//! `POST /check`: finds out whether buckets can be read, and says what to do if not.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use yatagarasu_core::ObjectKey;

use crate::admin::{document, order, problem, purge};
use crate::bucket_check::check_all;
use crate::service::buckets::Buckets;

const EXPECTED: &str = "expected {}, {\"bucket\": NAME}, or {\"bucket\": NAME, \"key\": KEY}";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// `None` checks all buckets.
    bucket: Option<String>,
    key: Option<String>,
}

/// Checks the buckets that the JSON body names.
pub(super) async fn answer(
    buckets: &Arc<Buckets>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Full<Bytes>> {
    let order: Order = match order::read(headers, body, EXPECTED).await {
        Ok(order) => order,
        Err(refused) => return refused,
    };
    let chosen = |name: &str| order.bucket.as_deref().is_none_or(|chosen| chosen == name);
    let chosen: Vec<_> = buckets.all().iter().filter(|bucket| chosen(&bucket.name)).cloned().collect();
    if let (Some(name), true) = (&order.bucket, chosen.is_empty()) {
        return purge::no_such_bucket(buckets.all(), name);
    }
    let key = match (&order.bucket, order.key.as_deref().map(ObjectKey::parse).transpose()) {
        (_, Err(error)) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        (None, Ok(Some(_))) => return problem(StatusCode::BAD_REQUEST, EXPECTED),
        (_, Ok(key)) => key,
    };
    let reports = check_all(chosen, key).await;
    document(StatusCode::OK, &json!({ "reports": reports }))
}
