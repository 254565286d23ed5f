//! `GET /config` shows the configuration that runs. `POST /reload` has the file read again.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::admin::order::{is_json, not_json};
use crate::admin::{Operator, document, problem};
use crate::config::{Config, show};
use crate::server::reload::Reloader;

/// Returns the configuration that runs as YAML, with masked secrets.
pub(super) fn show_running(config: &Config) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(show(config)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reloads the configuration. Returns the buckets and the fates of their caches, or the reasons if nothing has changed. Runs in a
/// task of its own, so that a client that leaves does not stop it half-way.
#[expect(clippy::disallowed_methods, reason = "ends when the configuration is applied")]
pub(super) async fn answer(
    reloader: Option<&Arc<Reloader>>,
    headers: &HeaderMap,
    client: Operator,
) -> Response<Full<Bytes>> {
    if !is_json(headers) {
        return not_json();
    }
    let Some(reloader) = reloader else {
        return problem(StatusCode::CONFLICT, "the configuration of this server comes from no file");
    };
    let reloader = Arc::clone(reloader);
    let reloading = tokio::spawn(async move { reloader.reload(&client.to_string()).await });
    match reloading.await.expect("it does not panic, and nobody aborts it") {
        Ok(reloaded) => document(StatusCode::OK, &json!({ "reloaded": true, "buckets": reloaded.buckets })),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}
