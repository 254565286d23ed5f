//! The buckets that a server serves, and their routes.

use std::sync::Arc;

use yatagarasu_core::Gateway;
use yatagarasu_core::http::cors::Cors;
use yatagarasu_core::http::response_fields::ResponseFields;
use yatagarasu_core::source::failover::FailoverCounters;

use crate::build::origin::Origin;
use crate::config::{BucketConfig, ForwardedQuery, StatusKey};
use crate::service::router::{Route, Routes};
use crate::telemetry::failures::Failures;

/// A bucket that is served.
#[derive(Debug)]
pub struct Bucket {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The prefix of its paths.
    pub path_prefix: String,
    /// The query parameters that are forwarded to the source.
    pub forward_query: ForwardedQuery,
    /// Whether `Cache-Status` shows the cache key.
    pub status_key: StatusKey,
    /// The CORS mode: the source, the gateway or nobody answers pages of other origins.
    pub cors: Cors,
    /// The changes to the fields of responses.
    pub response_fields: Arc<ResponseFields>,
    /// Its gateway.
    pub gateway: Gateway,
    /// Its source, and its fallbacks in order.
    pub origins: Vec<Origin>,
    /// The requests that a fallback has answered.
    pub failover: Arc<FailoverCounters>,
    /// The failures of all its sources together.
    pub failures: Arc<Failures>,
    /// The configuration that it was made from.
    pub config: BucketConfig,
}

/// All buckets and the routes to them.
#[derive(Debug)]
pub struct Buckets {
    buckets: Vec<Arc<Bucket>>,
    routes: Routes,
}

impl Buckets {
    /// Serves `buckets`, each under its prefix.
    pub fn new(buckets: Vec<Arc<Bucket>>) -> Self {
        let routes = Routes::new(buckets.iter().map(|bucket| bucket.path_prefix.as_str()));
        Self { buckets, routes }
    }

    /// Returns the buckets, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Bucket>] {
        &self.buckets
    }

    /// Returns the route of a path, as it is in the request.
    pub(crate) fn route(&self, path: &str) -> Route {
        self.routes.find(path)
    }

    /// Returns the bucket of a decoded path and the rest of the path, which may be an invalid key.
    pub(crate) fn split<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.routes.split(path)
    }
}
