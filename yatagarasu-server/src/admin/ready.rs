//! `GET /ready`: tells whether the source of each bucket can answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use yatagarasu_core::SourceError;

use crate::admin::document;
use crate::service::buckets::Bucket;

/// Longest wait for a source, because readiness probes time out soon.
const WAIT: Duration = Duration::from_secs(5);

/// Probes all sources at once. Returns 200 if all of them are ready, and 503 otherwise. Includes the reasons only if
/// the request is `trusted`.
pub(super) async fn answer(buckets: &[Bucket], trusted: bool) -> Response<Full<Bytes>> {
    let mut probes = JoinSet::new();
    for (index, bucket) in buckets.iter().enumerate() {
        let gateway = bucket.gateway.clone();
        probes.spawn(async move {
            let probe = tokio::time::timeout(WAIT, gateway.probe()).await;
            (index, probe.unwrap_or(Err(SourceError::timed_out(WAIT))))
        });
    }
    let mut results = probes.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    let all = results.iter().all(|(_, result)| result.is_ok());
    let list: Vec<Value> = results
        .iter()
        .map(|(index, result)| match result {
            Err(error) if trusted => {
                json!({ "bucket": *buckets[*index].name, "ready": false, "reason": error.to_string() })
            }
            _ => json!({ "bucket": *buckets[*index].name, "ready": result.is_ok() }),
        })
        .collect();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    document(status, &json!({ "ready": all, "buckets": list }))
}
