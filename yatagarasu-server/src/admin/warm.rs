//! `POST /warm` fetches one object into the cache. `POST /list` lists the objects of a bucket at S3.

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use yatagarasu_core::caching::cache_status::{Detail, Provenance};
use yatagarasu_core::caching::storability::NotStoredReason;
use yatagarasu_core::source::list::Listing;
use yatagarasu_core::{CacheKey, CacheStatus, Gateway, Method, ObjectKey, ReplyBody, Request};

use crate::admin::{document, order, problem, purge};
use crate::service::buckets::Buckets;

const EXPECTED: &str = "expected {\"bucket\": NAME, \"key\": KEY}";

const LIST_EXPECTED: &str =
    "expected {\"bucket\": NAME}, and if need be \"prefix\": PREFIX and \"continuation\": TEXT";

/// Number of objects in a page.
const PAGE: u16 = 1_000;

/// Fetches objects so many at a time, whatever clients of the admin API ask for: they run on the thread that accepts clients.
static AT_A_TIME: Semaphore = Semaphore::const_new(32);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    bucket: String,
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListOrder {
    bucket: String,
    #[serde(default)]
    prefix: String,
    continuation: Option<String>,
}

/// What has become of an object that was to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmed {
    /// Whether it is in the cache.
    pub result: Warmth,
    /// Number of bytes of it, if they were read.
    pub bytes: u64,
    /// What the cache did, as in `Cache-Status` (RFC 9211), or the error.
    pub reason: String,
}

/// Whether an object is in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmth {
    /// It is now.
    Stored,
    /// It was before.
    Present,
    /// The object, or the bucket's policy, does not allow it.
    NotStored,
    /// It could not be fetched.
    Failed,
}

/// Fetches the object that the JSON body names, unless it is stored.
pub(super) async fn answer(
    buckets: &ArcSwap<Buckets>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Full<Bytes>> {
    let order: Order = match order::read(headers, body, EXPECTED).await {
        Ok(order) => order,
        Err(refused) => return refused,
    };
    let buckets = buckets.load_full();
    let Some(bucket) = buckets.named(&order.bucket) else {
        return purge::no_such_bucket(buckets.all(), &order.bucket);
    };
    if bucket.config.cache.is_none() {
        let detail = format!("the bucket {} has no cache (`cache.enabled: false`)", order.bucket);
        return problem(StatusCode::CONFLICT, &detail);
    }
    let warmed = match ObjectKey::parse(&order.key) {
        Ok(key) => {
            // Only closing it is an error.
            let _permit = AT_A_TIME.acquire().await;
            warm(&bucket.gateway, key).await
        }
        // S3 may list keys that the gateway does not serve.
        Err(error) => Warmed::failed(0, error.to_string()),
    };
    document(StatusCode::OK, &serde_json::to_value(warmed).expect("its keys are texts"))
}

/// Returns a page of the objects of a bucket.
pub(super) async fn list(
    buckets: &ArcSwap<Buckets>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Full<Bytes>> {
    let ListOrder { bucket: name, prefix, continuation } =
        match order::read(headers, body, LIST_EXPECTED).await {
            Ok(order) => order,
            Err(refused) => return refused,
        };
    let buckets = buckets.load_full();
    let Some(bucket) = buckets.named(&name) else {
        return purge::no_such_bucket(buckets.all(), &name);
    };
    let listing = Listing { prefix, delimiter: None, continuation, keys_max: PAGE };
    match bucket.gateway.list(&listing).await {
        Ok(page) if page.next.is_some() && page.next == listing.continuation => {
            problem(StatusCode::BAD_GATEWAY, "the objects cannot be listed: a page is followed by itself")
        }
        Ok(page) => {
            let objects = page.objects.iter().map(|object| json!({ "key": object.key, "size": object.size }));
            let objects: Vec<_> = objects.collect();
            document(StatusCode::OK, &json!({ "objects": objects, "next": page.next }))
        }
        Err(error) => problem(StatusCode::BAD_GATEWAY, &format!("the objects cannot be listed: {error}")),
    }
}

/// Fetches an object into the cache, unless it is stored.
pub(crate) async fn warm(gateway: &Gateway, key: ObjectKey) -> Warmed {
    let request = Request { method: Method::Get, key: CacheKey::new(key, None), headers: HeaderMap::new() };
    let outcome = gateway.execute_uncounted(request, &Arc::default()).await;
    let (result, reason) = (warmth(outcome.handling), outcome.handling.to_string());
    let mut body = match outcome.reply {
        Err(error) => return Warmed::failed(0, error.to_string()),
        // Without a client, what is not stored need not be read.
        Ok(reply) if matches!(reply.body, ReplyBody::Streamed(_)) => {
            return Warmed { result, bytes: 0, reason };
        }
        Ok(reply) => reply.body,
    };
    let mut bytes = 0;
    while let Some(piece) = Pin::new(&mut body).next().await {
        match piece {
            Ok(piece) => bytes += piece.len() as u64,
            Err(error) => return Warmed::failed(bytes, error.to_string()),
        }
    }
    Warmed { result, bytes, reason }
}

/// Returns whether the object of an answer is in the cache, once the answer is whole.
fn warmth(handling: CacheStatus) -> Warmth {
    let forwarding = match handling {
        CacheStatus::Hit { .. } => return Warmth::Present,
        CacheStatus::Own(_) => return Warmth::NotStored,
        CacheStatus::Forwarded(forwarding) => forwarding,
    };
    match (forwarding.provenance, forwarding.detail) {
        // S3 was to be asked and has not answered, or there was no memory: at another time it can be stored.
        (Provenance::Stale, _)
        | (Provenance::Source, Some(Detail::NotStored(NotStoredReason::NoFillMemory))) => Warmth::Failed,
        (Provenance::Confirmed, _) => Warmth::Present,
        // The fill that it joined stores it.
        (Provenance::Source, _) if forwarding.stored || forwarding.collapsed => Warmth::Stored,
        (Provenance::Source, _) => Warmth::NotStored,
    }
}

impl Warmed {
    fn failed(bytes: u64, reason: String) -> Self {
        Self { result: Warmth::Failed, bytes, reason }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use yatagarasu_core::caching::cache_status::{ForwardReason, Forwarding};

    use super::*;

    #[test]
    fn what_the_cache_did_says_whether_the_object_is_there() {
        let forwarding = Forwarding::new(ForwardReason::UriMiss);
        let of = |change: fn(&mut Forwarding)| {
            let mut forwarding = forwarding;
            change(&mut forwarding);
            warmth(CacheStatus::Forwarded(forwarding))
        };
        assert_eq!(of(|forwarding| forwarding.stored = true), Warmth::Stored);
        assert_eq!(of(|forwarding| forwarding.collapsed = true), Warmth::Stored);
        assert_eq!(of(|_| {}), Warmth::NotStored);
        assert_eq!(of(|forwarding| forwarding.provenance = Provenance::Confirmed), Warmth::Present);
        assert_eq!(of(|forwarding| forwarding.provenance = Provenance::Stale), Warmth::Failed);
        let no_memory = Detail::NotStored(NotStoredReason::NoFillMemory);
        let mut full = Forwarding { detail: Some(no_memory), ..forwarding };
        assert_eq!(warmth(CacheStatus::Forwarded(full)), Warmth::Failed);
        full.detail = Some(Detail::NotStored(NotStoredReason::TooLarge));
        assert_eq!(warmth(CacheStatus::Forwarded(full)), Warmth::NotStored);
        assert_eq!(
            warmth(CacheStatus::forwarded(ForwardReason::UriMiss).beside(StatusCode::OK)),
            Warmth::NotStored
        );
    }
}
