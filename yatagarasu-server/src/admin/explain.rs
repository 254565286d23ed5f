//! `POST /explain`: says what a request would get.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::admin::{document, order, problem};
use crate::listener::Listener;
use crate::service::buckets::Buckets;
use crate::service::explain::{Asked, explain};

const EXPECTED: &str =
    "expected {\"url\": URL}, and if need be \"method\": METHOD and \"headers\": [[NAME, VALUE]]";

/// Explains the request that the JSON body describes.
pub(super) async fn answer(
    buckets: &Buckets,
    listeners: &[Listener],
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Full<Bytes>> {
    let asked: Asked = match order::read(headers, body, EXPECTED).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let listeners: Vec<_> = listeners.iter().map(Listener::config).collect();
    match explain(&asked, listeners.iter().map(AsRef::as_ref), buckets) {
        Ok(explanation) => {
            let explanation = serde_json::to_value(explanation).expect("its keys are texts");
            document(StatusCode::OK, &explanation)
        }
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}
