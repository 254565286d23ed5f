use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use yatagarasu_core::{ObjectKey, Purge};

use super::{document, problem};
use crate::http::Bucket;

/// Longest request that is read.
const BYTES_MAX: usize = 64 * 1024;

const JSON: &[u8] = b"application/json";

const EXPECTED: &str =
    "expected {\"bucket\": NAME} with one of \"key\": KEY, \"prefix\": PREFIX and \"all\": true";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    bucket: String,
    key: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    all: bool,
}

/// Purges what the request says, and answers how many objects went.
pub(super) async fn answer(buckets: &[Bucket], headers: &HeaderMap, body: Incoming) -> Response<Full<Bytes>> {
    // A web page can make a browser send anything here but JSON: that it would have to ask for first.
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
    let selector = match (order.key, order.prefix, order.all) {
        (Some(key), None, false) => match ObjectKey::parse(&key) {
            Ok(key) => Purge::Key(key),
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (None, Some(prefix), false) if prefix.is_empty() => {
            return problem(StatusCode::BAD_REQUEST, "an empty prefix is everything: say \"all\": true");
        }
        (None, Some(prefix), false) => Purge::Prefix(prefix),
        (None, None, true) => Purge::All,
        _ => return problem(StatusCode::BAD_REQUEST, EXPECTED),
    };
    let Some(bucket) = buckets.iter().find(|bucket| *bucket.name == *order.bucket) else {
        let names: Vec<&str> = buckets.iter().map(|bucket| &*bucket.name).collect();
        let detail = format!("there is no bucket `{}`; there are: {}", order.bucket, names.join(", "));
        return problem(StatusCode::NOT_FOUND, &detail);
    };
    let purged = bucket.gateway.purge(&selector).await;
    tracing::info!(bucket = %bucket.name, ?selector, purged, "purged");
    document(StatusCode::OK, &json!({ "purged": purged }))
}
