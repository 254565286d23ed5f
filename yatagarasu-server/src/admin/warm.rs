//! `POST /warm` has an object fetched, so that the next client gets it from the cache. `POST /list` says which objects there
//! are.

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
use yatagarasu_core::source::list::Listing;
use yatagarasu_core::{CacheKey, CacheStatus, Gateway, Method, ObjectKey, ReplyBody, Request};

use crate::admin::{document, order, problem, purge};
use crate::service::buckets::{Bucket, Buckets};

const EXPECTED: &str = "expected {\"bucket\": NAME, \"key\": KEY}";

const LIST_EXPECTED: &str =
    "expected {\"bucket\": NAME}, and if need be \"prefix\": PREFIX and \"continuation\": TEXT";

/// Number of objects in a page.
const PAGE: u16 = 1_000;

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
    let key = match ObjectKey::parse(&order.key) {
        Ok(key) => key,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let buckets = buckets.load_full();
    let Some(bucket) = named(&buckets, &order.bucket) else {
        return purge::no_such_bucket(buckets.all(), &order.bucket);
    };
    let warmed = warm(&bucket.gateway, key).await;
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
    let Some(bucket) = named(&buckets, &name) else {
        return purge::no_such_bucket(buckets.all(), &name);
    };
    let listing = Listing { prefix, delimiter: None, continuation, keys_max: PAGE };
    match bucket.gateway.list(&listing).await {
        Ok(page) => {
            let objects = page.objects.iter().map(|object| json!({ "key": object.key, "size": object.size }));
            let objects: Vec<_> = objects.collect();
            document(StatusCode::OK, &json!({ "objects": objects, "next": page.next }))
        }
        Err(error) => problem(StatusCode::BAD_GATEWAY, &format!("the objects cannot be listed: {error}")),
    }
}

fn named<'a>(buckets: &'a Buckets, name: &str) -> Option<&'a Arc<Bucket>> {
    buckets.all().iter().find(|bucket| *bucket.name == *name)
}

async fn warm(gateway: &Gateway, key: ObjectKey) -> Warmed {
    let request = Request { method: Method::Get, key: CacheKey::new(key, None), headers: HeaderMap::new() };
    let outcome = gateway.execute_uncounted(request, &Arc::default()).await;
    let (handling, reason) = (outcome.handling, outcome.handling.to_string());
    let mut body = match outcome.reply {
        Err(error) => return Warmed { result: Warmth::Failed, bytes: 0, reason: error.to_string() },
        // It goes to one client alone. Without one, it need not be read.
        Ok(reply) if matches!(reply.body, ReplyBody::Streamed(_)) => {
            return Warmed { result: Warmth::NotStored, bytes: 0, reason };
        }
        Ok(reply) => reply.body,
    };
    let mut bytes = 0;
    while let Some(piece) = Pin::new(&mut body).next().await {
        match piece {
            Ok(piece) => bytes += piece.len() as u64,
            Err(error) => return Warmed { result: Warmth::Failed, bytes, reason: error.to_string() },
        }
    }
    let result = match handling {
        CacheStatus::Hit { .. } => Warmth::Present,
        CacheStatus::Forwarded(forwarding) if forwarding.stored => Warmth::Stored,
        CacheStatus::Forwarded(_) | CacheStatus::Own(_) => Warmth::NotStored,
    };
    Warmed { result, bytes, reason }
}
