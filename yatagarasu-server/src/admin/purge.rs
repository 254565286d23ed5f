//! Purges stored objects: `POST /purge` with a JSON body, and the method PURGE.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use yatagarasu_core::{ObjectKey, Purge, Selector};

use crate::admin::events::Teller;
use crate::admin::{Operator, document, entries, order, problem};
use crate::service::buckets::{Bucket, Buckets};
use crate::service::router::Route;
use crate::service::target::host_of;

/// The method that purges the object at a path of the public listener.
pub(super) const METHOD: &str = "PURGE";

/// A PURGE request with this field, unless its value is `0`, only marks objects stale.
const SOFT_PURGE: HeaderName = HeaderName::from_static("soft-purge");

const EXPECTED: &str = "expected {\"bucket\": NAME} and one of \"key\": KEY, \"prefix\": PREFIX, \"tag\": TAG or \
                        \"all\": true; \"soft\": true only marks objects stale, \"dry_run\": true only counts them";

/// Kinds of purges, by their names in metrics.
pub(super) const WAYS: [&str; 5] = ["key", "prefix", "tag", "all", "event"];

/// Index of purges by notifications in [`WAYS`].
const EVENT: usize = 4;

/// Returns the place of a selector in [`WAYS`].
fn way(selector: &Selector) -> usize {
    match selector {
        Selector::Key(_) => 0,
        Selector::Prefix(_) => 1,
        Selector::Tag(_) => 2,
        Selector::All => 3,
    }
}

/// Counts the purges of one bucket.
#[derive(Debug, Default)]
pub(crate) struct PurgeCounters {
    /// Purges by what they selected, in the order of [`WAYS`].
    purges: [AtomicU64; WAYS.len()],
    objects: AtomicU64,
}

impl PurgeCounters {
    fn count(&self, way: usize, objects: u64) {
        self.purges[way].fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(objects, Ordering::Relaxed);
    }

    /// Returns the number of purges by what they selected, in the order of [`WAYS`].
    pub(super) fn counts(&self) -> [u64; WAYS.len()] {
        self.purges.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the number of objects that were selected.
    pub(super) fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// `None` selects all buckets.
    #[serde(default, deserialize_with = "named")]
    bucket: Option<String>,
    key: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
    /// Whether the objects are only counted.
    #[serde(default)]
    dry_run: bool,
}

/// Refuses `null`. It does not select all buckets, because it may come from an empty variable of a script.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl Order {
    /// Returns the selector and the kind of purge.
    ///
    /// # Errors
    ///
    /// Returns the reason if the order is contradictory or incomplete.
    fn read(&self) -> Result<(Selector, Purge), String> {
        let selector = match (&self.key, &self.prefix, &self.tag, self.all) {
            (Some(key), None, None, false) => {
                Selector::Key(ObjectKey::parse(key).map_err(|error| error.to_string())?)
            }
            (None, Some(prefix), None, false) if prefix.is_empty() => {
                return Err("an empty prefix is everything: say \"all\": true".to_owned());
            }
            (None, Some(prefix), None, false) => Selector::Prefix(prefix.clone()),
            (None, None, Some(tag), false) if tag.is_empty() => {
                return Err("the tag is empty: no object has that".to_owned());
            }
            (None, None, Some(tag), false) => Selector::Tag(tag.clone()),
            (None, None, None, true) => Selector::All,
            _ => return Err(EXPECTED.to_owned()),
        };
        let purge = if self.soft { Purge::MarkStale } else { Purge::Drop };
        Ok((selector, purge))
    }
}

/// Purges the objects that the JSON body selects. Returns a response with their number.
pub(super) async fn answer(
    buckets: &ArcSwap<Buckets>,
    headers: &HeaderMap,
    body: Incoming,
    client: Operator,
) -> Response<Full<Bytes>> {
    let order: Order = match order::read(headers, body, EXPECTED).await {
        Ok(order) => order,
        Err(refused) => return refused,
    };
    let (selector, how) = match order.read() {
        Ok(read) => read,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    // Not before: a reload may have emptied a cache while the body came.
    let buckets = buckets.load_full();
    let all = buckets.all();
    let chosen = match (&order.bucket, &selector) {
        (Some(name), _) => {
            let Some(index) = all.iter().position(|bucket| *bucket.name == **name) else {
                return no_such_bucket(all, name);
            };
            index..index + 1
        }
        (None, Selector::Tag(_) | Selector::All) => 0..all.len(),
        (None, Selector::Key(_) | Selector::Prefix(_)) => {
            let detail = "expected \"bucket\": NAME: only a tag and all objects are purged from every bucket";
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    if order.dry_run {
        let mut selected = 0;
        for bucket in &all[chosen] {
            selected += entries::count(&bucket.gateway, &selector).await;
        }
        return document(StatusCode::OK, &json!({ "selected": selected }));
    }
    let purged = purge(&buckets, chosen, selector, how, client).await;
    document(StatusCode::OK, &json!({ "purged": purged }))
}

/// Purges the object at the request's path on the public listener, in all variants of its query and its fields.
pub(super) async fn answer_method(
    buckets: &Arc<Buckets>,
    head: &Parts,
    client: Operator,
) -> Response<Full<Bytes>> {
    let (bucket, key) = match buckets.route(host_of(head), head.uri.path()) {
        Route::Object(index, key) => (index, key),
        Route::Nowhere | Route::Folder => {
            return problem(StatusCode::NOT_FOUND, "no bucket's `path_prefix` and key match this path");
        }
        Route::Redirect(..) => {
            return problem(StatusCode::NOT_FOUND, "this path is a redirect, and no object");
        }
        Route::Misdirected => {
            return problem(StatusCode::NOT_FOUND, "no bucket is for this host: send `Host` as clients do");
        }
        Route::Malformed(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let soft = head.headers.get(SOFT_PURGE).is_some_and(|value| value != "0");
    let how = if soft { Purge::MarkStale } else { Purge::Drop };
    let purged = purge(buckets, bucket..bucket + 1, Selector::Key(key), how, client).await;
    document(StatusCode::OK, &json!({ "purged": purged }))
}

/// Purges from a range of buckets and returns the number of objects. Runs in a task of its own, so that a client that
/// disconnects does not interrupt it.
#[expect(clippy::disallowed_methods, reason = "ends when the last bucket is done")]
async fn purge(
    buckets: &Arc<Buckets>,
    chosen: Range<usize>,
    selector: Selector,
    how: Purge,
    client: Operator,
) -> u64 {
    let buckets = Arc::clone(buckets);
    let purging = tokio::spawn(async move {
        let mut purged = 0;
        for bucket in &buckets.all()[chosen] {
            let of_bucket = bucket.gateway.purge(&selector, how).await;
            bucket.purges.count(way(&selector), of_bucket);
            let (bucket, soft) = (&*bucket.name, how == Purge::MarkStale);
            tracing::info!(%client, bucket, ?selector, soft, objects = of_bucket, "purged");
            purged += of_bucket;
        }
        purged
    });
    purging.await.expect("it does not panic, and nobody aborts it")
}

/// Purges an object that a store reports as changed, under all candidates for its key. Returns the number of objects. Runs in a
/// task of its own, as [`purge`].
#[expect(clippy::disallowed_methods, reason = "ends when the purge is done")]
pub(super) async fn purge_by_event(
    buckets: &Arc<Buckets>,
    bucket: usize,
    keys: Vec<ObjectKey>,
    teller: Teller,
) -> u64 {
    let bucket = Arc::clone(&buckets.all()[bucket]);
    let purging = tokio::spawn(async move {
        let mut objects = 0;
        for key in &keys {
            objects += bucket.gateway.purge(&Selector::Key(key.clone()), Purge::Drop).await;
        }
        bucket.purges.count(EVENT, objects);
        // Not `info`: a store may send thousands a second.
        tracing::debug!(client = %teller, bucket = &*bucket.name, ?keys, objects, "purged because of an event");
        objects
    });
    purging.await.expect("it does not panic, and nobody aborts it")
}

/// Returns the response if no bucket has this name.
pub(super) fn no_such_bucket(buckets: &[Arc<Bucket>], name: &str) -> Response<Full<Bytes>> {
    let names: Vec<&str> = buckets.iter().map(|bucket| &*bucket.name).collect();
    problem(StatusCode::NOT_FOUND, &format!("there is no bucket `{name}`; there are: {}", names.join(", ")))
}
