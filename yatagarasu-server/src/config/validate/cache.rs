//! Validates the cache section of a bucket.

use yatagarasu_cache::{BuildError, CacheConfig};
use yatagarasu_core::{CachePolicy, Negative};

use crate::config::error::ErrorSink;
use crate::config::keys::CacheSettings;
use crate::config::{BucketCache, StatusKey};

/// Validates a cache section. Returns `None` if caching is off.
pub(super) fn cache(settings: &CacheSettings, key: &str, complain: ErrorSink<'_>) -> Option<BucketCache> {
    if !settings.enabled {
        return None;
    }
    let store = store(settings);
    if let Err(error) = store.check() {
        let part = match error {
            BuildError::NotCompiled { .. } => "backend",
            BuildError::ItemTooLarge { .. } => "max_item_size",
        };
        complain(&format!("{key}.{part}"), &error.to_string());
    }
    let status_key = if settings.status_key { StatusKey::Shown } else { StatusKey::Hidden };
    Some(BucketCache { store, policy: policy(settings), status_key })
}

fn store(settings: &CacheSettings) -> CacheConfig {
    CacheConfig {
        backend: settings.backend.0,
        max_size: settings.max_size.0,
        max_item_size: settings.max_item_size.0,
        eviction: settings.eviction.0,
    }
}

fn policy(settings: &CacheSettings) -> CachePolicy {
    CachePolicy {
        max_item_size: settings.max_item_size.0,
        ttl: settings.ttl.0,
        cache_control: settings.cache_control.0,
        client_cache_control: settings.client_cache_control.0,
        heuristic_freshness: settings.heuristic_freshness,
        stale_while_revalidate: settings.stale_while_revalidate.0,
        stale_if_error: settings.stale_if_error.0,
        stale_wait: Some(settings.stale_wait.0).filter(|wait| !wait.is_zero()),
        range_fill: settings.range_fill,
        negative: Negative {
            ttl: settings.negative_ttl.0,
            missing: settings.negative_statuses.contains(&404),
            denied: settings.negative_statuses.contains(&403),
        },
    }
}
