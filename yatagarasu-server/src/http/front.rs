use std::sync::Arc;

use yatagarasu_core::Gateway;

use super::route::{Route, Routes};
use crate::config::{ForwardedQuery, StatusKey};

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

/// The buckets that are served, and where.
#[derive(Debug)]
pub struct Front {
    buckets: Vec<Bucket>,
    routes: Routes,
}

impl Front {
    /// Serves `buckets`, each under its prefix.
    pub fn new(buckets: Vec<Bucket>) -> Self {
        let routes = Routes::new(buckets.iter().map(|bucket| bucket.path_prefix.as_str()));
        Self { buckets, routes }
    }

    /// The buckets, in the order of the configuration.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Finds where a path of the public listener leads, as it stands in a request.
    pub(crate) fn route(&self, path: &str) -> Route {
        self.routes.find(path)
    }

    /// Finds the bucket that a decoded path leads to, and the text of the key in it.
    pub(super) fn split<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.routes.split(path)
    }
}
