//! The buckets that a server serves, and their routes.

use std::borrow::Cow;
use std::sync::Arc;

use yatagarasu_core::Gateway;
use yatagarasu_core::http::cors::Cors;
use yatagarasu_core::http::response_fields::ResponseFields;
use yatagarasu_core::source::failover::FailoverCounters;

use crate::admin::purge::PurgeCounters;
use crate::build::origin::Origin;
use crate::config::{BucketConfig, ForwardedQuery, StatusKey};
use crate::service::own::OwnAnswers;
use crate::service::router::{HostPattern, KeyPrefix, Place, Route, Routes};
use crate::service::site::Website;
use crate::telemetry::failures::Failures;

/// A bucket that is served.
#[derive(Debug)]
pub struct Bucket {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The hosts that it is for. None stands for all.
    pub hosts: Vec<HostPattern>,
    /// The prefix of its paths.
    pub path_prefix: String,
    /// What stands before its keys at S3.
    pub key_prefix: KeyPrefix,
    /// What it serves as a website, if it is one.
    pub site: Option<Arc<Website>>,
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
    /// The purges of its objects.
    pub(crate) purges: Arc<PurgeCounters>,
    /// The configuration that it was made from.
    pub config: BucketConfig,
}

impl Bucket {
    /// Returns `true` if the fields of a plain GET may matter to a request for an object that is not stored: they go on to
    /// the source, or choose what a website or a compressed object is.
    pub(crate) fn has_rules(&self) -> bool {
        self.site.is_some() || self.config.compression.is_some() || !self.gateway.forwards_no_fields()
    }
}

/// All buckets and the routes to them.
#[derive(Debug)]
pub struct Buckets {
    all: Vec<Arc<Bucket>>,
    routes: Routes,
    own: OwnAnswers,
}

impl Buckets {
    /// Serves `buckets`, each under its prefix, and `own` before them.
    pub fn new(buckets: Vec<Arc<Bucket>>, own: OwnAnswers) -> Self {
        let places = buckets.iter().map(|bucket| Place {
            hosts: &bucket.hosts,
            path_prefix: &bucket.path_prefix,
            key_prefix: &bucket.key_prefix,
            keeps_path_prefix: !bucket.config.strip_prefix,
            rewrites: &bucket.config.rewrites,
            index: bucket.site.as_ref().and_then(|site| site.index()),
        });
        let routes = Routes::new(places);
        Self { all: buckets, routes, own }
    }

    /// Returns the buckets, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Bucket>] {
        &self.all
    }

    /// Returns the bucket with this name in the configuration.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Bucket>> {
        self.all.iter().find(|bucket| *bucket.name == *name)
    }

    /// Returns the paths that no bucket is asked about.
    pub(crate) fn own(&self) -> &OwnAnswers {
        &self.own
    }

    /// Returns the route of a host and a path, as they are in the request.
    pub(crate) fn route(&self, host: Option<&str>, path: &str) -> Route {
        self.routes.find(host, path)
    }

    /// Returns whether the host of a request matters.
    pub(crate) fn are_by_host(&self) -> bool {
        self.routes.is_by_host()
    }

    /// Returns the bucket of a host and a decoded path, and the key at S3, which may be invalid.
    pub(crate) fn split<'a>(&self, host: Option<&str>, path: &'a str) -> Option<(usize, Cow<'a, str>)> {
        self.routes.split(host, path)
    }
}
