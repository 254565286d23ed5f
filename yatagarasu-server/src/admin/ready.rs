//! `GET /ready`: tells whether this server should get clients: the source of each bucket can answer, and the server is
//! not about to stop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use yatagarasu_core::SourceError;

use crate::admin::document;
use crate::service::buckets::Bucket;

/// Longest wait for a source, because readiness probes time out soon.
const WAIT: Duration = Duration::from_secs(5);

/// How long a result holds. Several load balancers ask, and each probe is a request to S3 for every bucket.
const KEPT: Duration = Duration::from_secs(1);

/// The readiness of the sources. Requests that come at the same time share one probe.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<Known>>);

/// The result of one probe of all sources.
#[derive(Debug)]
struct Known {
    at: Instant,
    /// The names of the buckets, and the results, in the order of the configuration.
    results: Vec<(String, Result<(), SourceError>)>,
}

impl Readiness {
    /// Returns 200 if all sources are ready, and 503 otherwise. Includes the reasons only if the request is `trusted`.
    pub(super) async fn answer(&self, buckets: &[Arc<Bucket>], trusted: bool) -> Response<Full<Bytes>> {
        let mut known = self.0.lock().await;
        let is_fresh = |known: &Known| {
            let same =
                known.results.iter().map(|(name, _)| &**name).eq(buckets.iter().map(|bucket| &*bucket.name));
            same && known.at.elapsed() < KEPT
        };
        if !known.as_ref().is_some_and(is_fresh) {
            let results = probe(buckets).await;
            *known = Some(Known { at: Instant::now(), results });
        }
        let results = known.as_ref().map_or(&[][..], |known| &known.results);
        let all = results.iter().all(|(_, result)| result.is_ok());
        let list: Vec<Value> = results
            .iter()
            .map(|(bucket, result)| match result {
                Err(error) if trusted => {
                    json!({ "bucket": bucket, "ready": false, "reason": error.to_string() })
                }
                _ => json!({ "bucket": bucket, "ready": result.is_ok() }),
            })
            .collect();
        let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        document(status, &json!({ "ready": all, "buckets": list }))
    }
}

/// Returns the answer of a server that is about to stop.
pub(super) fn stopping() -> Response<Full<Bytes>> {
    document(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reason": "the server is stopping" }))
}

/// Probes all sources at once.
async fn probe(buckets: &[Arc<Bucket>]) -> Vec<(String, Result<(), SourceError>)> {
    let mut probes = JoinSet::new();
    for (index, bucket) in buckets.iter().enumerate() {
        let gateway = bucket.gateway.clone();
        probes.spawn(async move {
            let probe = tokio::time::timeout(WAIT, gateway.probe()).await;
            (index, probe.unwrap_or(Err(SourceError::timed_out(WAIT, "`/ready` waits no longer"))))
        });
    }
    let mut results = probes.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(index, result)| (buckets[index].name.to_string(), result)).collect()
}
