use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use yatagarasu_core::forward::drop_hops;
use yatagarasu_core::{CacheKey, Gateway, Request as ObjectRequest};

use super::body::ResponseBody;
use super::problem::Problem;
use super::request_id::RequestIds;
use super::response;
use super::route::{Route, Routes, cache_key};
use crate::access_log::Entry;
use crate::config::{ForwardedQuery, StatusKey};
use crate::metrics::Metrics;

/// A bucket that is served.
#[derive(Debug)]
pub struct Bucket {
    /// What operators call it.
    pub name: Arc<str>,
    /// Where it is served.
    pub path_prefix: String,
    /// Query parameters that are passed on.
    pub forward_query: ForwardedQuery,
    /// What clients are told of the key.
    pub status_key: StatusKey,
    /// Who answers for it.
    pub gateway: Gateway,
    /// Its source.
    pub connected: yatagarasu_s3::Connected,
}

/// Answers the requests of all clients.
#[derive(Debug)]
pub struct Front {
    buckets: Vec<Bucket>,
    routes: Routes,
    request_ids: RequestIds,
    metrics: Arc<Metrics>,
}

impl Front {
    /// Serves `buckets`, each under its prefix.
    pub fn new(buckets: Vec<Bucket>, metrics: Arc<Metrics>) -> Self {
        let routes = Routes::new(buckets.iter().map(|bucket| bucket.path_prefix.as_str()));
        Self { buckets, routes, request_ids: RequestIds::new(), metrics }
    }

    /// The buckets, in the order of the configuration.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Finds where a path of the public listener leads, as it stands in a request.
    pub(crate) fn route(&self, path: &str) -> Route {
        self.routes.find(path)
    }

    /// Answers one request. HTTP/1.1 wants a `Host` in it (RFC 9112 3.2).
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (head, _) = request.into_parts();
        let headless = head.method == Method::HEAD;
        let response = self.respond(head).await;
        // HTTP/2 sends whatever body there is (RFC 9110 9.3.2).
        if headless { response::without_body(response) } else { response }
    }

    async fn respond(&self, head: Parts) -> Response<ResponseBody> {
        let request_id = self.request_ids.of(&head.headers);
        let entry = Entry::begin(&head.method, head.uri.path(), &request_id, &self.metrics);
        if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
            return response::problem(&Problem::BadRequest("expected one Host field"), &request_id, entry);
        }
        let method = match head.method {
            Method::HEAD => yatagarasu_core::Method::Head,
            Method::OPTIONS if !is_preflight(&head) => return response::options(&request_id, entry),
            // A preflight says in a field of its own what it is about.
            Method::GET | Method::OPTIONS => yatagarasu_core::Method::Get,
            _ => return response::problem(&Problem::MethodNotAllowed, &request_id, entry),
        };
        let (bucket, object) = match self.route(head.uri.path()) {
            Route::Object(index, key) => (&self.buckets[index], key),
            Route::Nowhere => return response::problem(&Problem::NoSuchPrefix, &request_id, entry),
            Route::Malformed(reason) => {
                return response::problem(&Problem::BadRequest(reason), &request_id, entry);
            }
        };
        let entry = entry.of(&bucket.name, &object);
        let key = cache_key(object, head.uri.query(), &bucket.forward_query);
        let mut headers = head.headers;
        drop_hops(&mut headers);
        let request = ObjectRequest { method, key, headers };
        let outcome = match head.method {
            Method::OPTIONS => bucket.gateway.preflight(&request).await,
            _ => bucket.gateway.answer(&request).await,
        };
        let key = match bucket.status_key {
            StatusKey::Hidden => None,
            StatusKey::Shown => Some(shown(&bucket.name, &request.key)),
        };
        response::outcome(outcome, key.as_deref(), &request_id, entry)
    }
}

/// Whether a browser asks what a page of another origin may do (Fetch, "CORS-preflight request").
fn is_preflight(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a client may know of the key that its answer is stored under.
fn shown(bucket: &str, key: &CacheKey) -> String {
    let query = key.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{bucket}/{}{query}", key.object)
}
