//! Validates the cache section of a bucket.

use std::time::Duration;

use yatagarasu_cache::{BuildError, CacheBackend, CacheConfig, EvictionPolicy};
use yatagarasu_core::{CachePolicy, ClientControl, Negative, ObjectControl};

use crate::config::raw::CacheSettings;
use crate::config::units::Span;
use crate::config::validate::ErrorSink;
use crate::config::{BucketCache, StatusKey};

/// Default of `max_item_size`, in bytes.
const MAX_ITEM_SIZE: u64 = 10_000_000;

/// Default of `max_size`, in bytes.
const MAX_SIZE: u64 = 1_000_000_000;

/// Default of `ttl`, the freshness lifetime of an object that declares none.
const TTL: Duration = Duration::from_secs(3600);

/// Validates a cache section. Returns `None` on an error and `Some(None)` if caching is off.
#[expect(clippy::option_option, reason = "wrong, off and on are three things")]
pub(super) fn cache(
    settings: &CacheSettings,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<Option<BucketCache>> {
    let store = store(settings, key, complain);
    let policy = policy(settings, key, complain);
    let status_key = match settings.status_key {
        None | Some(false) => StatusKey::Hidden,
        Some(true) => StatusKey::Shown,
    };
    let cache = BucketCache { store: store?, policy: policy?, status_key };
    Some(is_on(settings).then_some(cache))
}

fn is_on(settings: &CacheSettings) -> bool {
    settings.enabled != Some(false)
}

fn item_size_max(settings: &CacheSettings) -> u64 {
    settings.max_item_size.map_or(MAX_ITEM_SIZE, |size| size.0)
}

fn store(settings: &CacheSettings, key: &str, complain: ErrorSink<'_>) -> Option<CacheConfig> {
    let backend = match settings.backend.as_deref() {
        None | Some("foyer") => Some(CacheBackend::Foyer),
        Some(other) => {
            complain(&format!("{key}.backend"), &format!("expected `foyer`, found `{other}`"));
            None
        }
    };
    let eviction = match settings.eviction.as_deref() {
        None | Some("s3fifo") => Some(EvictionPolicy::S3Fifo),
        Some("lfu") => Some(EvictionPolicy::Lfu),
        Some("lru") => Some(EvictionPolicy::Lru),
        Some("sieve") => Some(EvictionPolicy::Sieve),
        Some(other) => {
            let message = format!("expected `s3fifo`, `lfu`, `lru` or `sieve`, found `{other}`");
            complain(&format!("{key}.eviction"), &message);
            None
        }
    };
    let config = CacheConfig {
        backend: backend.unwrap_or_default(),
        max_size: settings.max_size.map_or(MAX_SIZE, |size| size.0),
        max_item_size: item_size_max(settings),
        eviction: eviction.unwrap_or_default(),
    };
    // The sizes of a disabled cache are not checked.
    let checked = if is_on(settings) { config.check() } else { Ok(()) };
    if let Err(error) = &checked {
        let part = match error {
            BuildError::NotCompiled { .. } => "backend",
            BuildError::ItemTooLarge { .. } => "max_item_size",
        };
        complain(&format!("{key}.{part}"), &error.to_string());
    }
    (checked.is_ok() && backend.is_some() && eviction.is_some()).then_some(config)
}

fn policy(settings: &CacheSettings, key: &str, complain: ErrorSink<'_>) -> Option<CachePolicy> {
    let cache_control = match settings.cache_control.as_deref() {
        None | Some("respect") => Some(ObjectControl::Respect),
        Some("override") => Some(ObjectControl::Override),
        Some("ignore") => Some(ObjectControl::Ignore),
        Some(other) => {
            let message = format!("expected `respect`, `override` or `ignore`, found `{other}`");
            complain(&format!("{key}.cache_control"), &message);
            None
        }
    };
    let client_cache_control = match settings.client_cache_control.as_deref() {
        None | Some("respect") => Some(ClientControl::Respect),
        Some("ignore") => Some(ClientControl::Ignore),
        Some(other) => {
            let message = format!("expected `respect` or `ignore`, found `{other}`");
            complain(&format!("{key}.client_cache_control"), &message);
            None
        }
    };
    let negative = negative(settings, key, complain);
    let span = |span: Option<Span>| span.map_or(Duration::ZERO, |span| span.0);
    Some(CachePolicy {
        max_item_size: item_size_max(settings),
        ttl: settings.ttl.map_or(TTL, |span| span.0),
        cache_control: cache_control?,
        client_cache_control: client_cache_control?,
        heuristic_freshness: settings.heuristic_freshness.unwrap_or(false),
        stale_while_revalidate: span(settings.stale_while_revalidate),
        stale_if_error: span(settings.stale_if_error),
        range_fill: settings.range_fill.unwrap_or(false),
        negative: negative?,
    })
}

fn negative(settings: &CacheSettings, key: &str, complain: ErrorSink<'_>) -> Option<Negative> {
    let ttl = settings.negative_ttl.map_or(Duration::ZERO, |span| span.0);
    let Some(statuses) = &settings.negative_statuses else {
        return Some(Negative { ttl, missing: true, denied: false });
    };
    let mut good = true;
    for (index, status) in statuses.iter().enumerate().filter(|(_, status)| !matches!(status, 403 | 404)) {
        let message = format!("expected 404 or 403, found {status}");
        complain(&format!("{key}.negative_statuses[{index}]"), &message);
        good = false;
    }
    let (missing, denied) = (statuses.contains(&404), statuses.contains(&403));
    good.then_some(Negative { ttl, missing, denied })
}
