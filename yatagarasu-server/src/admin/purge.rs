use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use yatagarasu_core::{ObjectKey, Purge, Selector};

use super::{document, problem};
use crate::http::{Bucket, Front, Route};

/// The method that purges what a public path leads to.
pub(super) const METHOD: &str = "PURGE";

/// Longest request that is read.
const BYTES_MAX: usize = 64 * 1024;

const JSON: &[u8] = b"application/json";

/// With any value but `0`, what the method selects is marked stale only.
const SOFT_PURGE: HeaderName = HeaderName::from_static("soft-purge");

const EXPECTED: &str = "expected {\"bucket\": NAME} with one of \"key\": KEY, \"prefix\": PREFIX, \"tag\": TAG and \
                        \"all\": true, and \"soft\": true to mark objects stale only";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// All buckets where it is left out.
    #[serde(default, deserialize_with = "named")]
    bucket: Option<String>,
    key: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
}

/// `null` is no name, and does not stand for all buckets: it may be a script's empty variable.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl Order {
    /// What is to be purged, and how; an error says what is wrong with the order.
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

/// Purges what the request says, and answers how many objects were selected.
pub(super) async fn answer(front: &Arc<Front>, headers: &HeaderMap, body: Incoming) -> Response<Full<Bytes>> {
    // A web page can make a browser send anything here but JSON: that it would have to ask for first, as it would
    // for the method `PURGE`.
    let json_sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..JSON.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(JSON));
    if !json_sent {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected `Content-Type: application/json`");
    }
    let Ok(body) = Limited::new(body, BYTES_MAX).collect().await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, EXPECTED);
    };
    let order: Order = match serde_json::from_slice(&body.to_bytes()) {
        Ok(order) => order,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("{EXPECTED}: {error}")),
    };
    let (selector, how) = match order.read() {
        Ok(read) => read,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    let buckets = front.buckets();
    let chosen = match (&order.bucket, &selector) {
        (Some(name), _) => {
            let Some(index) = buckets.iter().position(|bucket| *bucket.name == **name) else {
                return no_such_bucket(buckets, name);
            };
            index..index + 1
        }
        (None, Selector::Tag(_) | Selector::All) => 0..buckets.len(),
        (None, Selector::Key(_) | Selector::Prefix(_)) => {
            let detail = "expected \"bucket\": NAME: only a tag and all objects are purged from every bucket";
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let purged = purge(front, chosen, selector, how).await;
    document(StatusCode::OK, &json!({ "purged": purged }))
}

/// Purges the object that the request's path leads to on the public listener, with whatever query and fields it is
/// stored.
pub(super) async fn answer_method(front: &Arc<Front>, head: &Parts) -> Response<Full<Bytes>> {
    let (bucket, key) = match front.route(head.uri.path()) {
        Route::Object(index, key) => (index, key),
        Route::Nowhere => return problem(StatusCode::NOT_FOUND, "nothing is served under this path"),
        Route::Malformed(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let soft = head.headers.get(SOFT_PURGE).is_some_and(|value| value != "0");
    let how = if soft { Purge::MarkStale } else { Purge::Drop };
    let purged = purge(front, bucket..bucket + 1, Selector::Key(key), how).await;
    document(StatusCode::OK, &json!({ "purged": purged }))
}

/// Purges from some of the buckets and counts the objects. An operator who leaves does not end it half-way.
#[expect(clippy::disallowed_methods, reason = "ends when the last bucket is done")]
async fn purge(front: &Arc<Front>, buckets: Range<usize>, selector: Selector, how: Purge) -> u64 {
    let front = Arc::clone(front);
    let purging = tokio::spawn(async move {
        let mut purged = 0;
        for bucket in &front.buckets()[buckets] {
            let of_bucket = bucket.gateway.purge(&selector, how).await;
            tracing::info!(bucket = %bucket.name, ?selector, ?how, purged = of_bucket, "purged");
            purged += of_bucket;
        }
        purged
    });
    purging.await.expect("it does not panic, and nobody aborts it")
}

fn no_such_bucket(buckets: &[Bucket], name: &str) -> Response<Full<Bytes>> {
    let names: Vec<&str> = buckets.iter().map(|bucket| &*bucket.name).collect();
    problem(StatusCode::NOT_FOUND, &format!("there is no bucket `{name}`; there are: {}", names.join(", ")))
}
