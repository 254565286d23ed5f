//! From a configuration to gateways.

use std::sync::Arc;

use yatagarasu_core::Budget;
use yatagarasu_core::source::timeout::Timed;
use yatagarasu_core::{BucketPolicy, Clock, Gateway, ObjectCache, SystemClock};

use crate::config::{BucketConfig, Config, StatusKey};
use crate::http::{Bucket, Front};
use crate::metrics::Metrics;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {}", bind_reason(cause))]
    Bind {
        /// The key of the configuration that names the address.
        key: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// A bucket's source cannot be made.
    #[error("bucket `{bucket}`: {cause}")]
    Source {
        /// The bucket's name.
        bucket: String,
        /// Why.
        #[source]
        cause: yatagarasu_s3::ConnectError,
    },
    /// A bucket's cache cannot be made.
    #[error("bucket `{bucket}`: {cause}")]
    Cache {
        /// The bucket's name.
        bucket: String,
        /// Why.
        #[source]
        cause: yatagarasu_cache::ConnectError,
    },
    /// A thread or its runtime cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

fn bind_reason(cause: &std::io::Error) -> String {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => cause.to_string(),
    }
}

/// Memory that all buckets and all connections share.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// For objects while they are fetched.
    pub(crate) fills: Arc<Budget>,
    /// For what the sockets of fast streams hold.
    pub(crate) sockets: Arc<Budget>,
}

/// What was put together.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) front: Arc<Front>,
    pub(crate) metrics: Metrics,
    pub(crate) memory: Memory,
}

/// Puts a gateway together for each bucket. Nothing is asked of any source yet.
pub(crate) async fn assemble(config: &Config) -> Result<Assembly, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let memory = Memory {
        fills: Arc::new(Budget::new(config.server.fill_memory)),
        sockets: Arc::new(Budget::new(config.server.socket_memory)),
    };
    let metrics = Metrics::new(config.server.threads.max(1));
    let mut buckets = Vec::new();
    for settings in &config.buckets {
        buckets.push(bucket(settings, &memory.fills, &clock).await?);
    }
    let front = Arc::new(Front::new(buckets));
    Ok(Assembly { front, metrics, memory })
}

async fn bucket(
    settings: &BucketConfig,
    budget: &Arc<Budget>,
    clock: &Arc<dyn Clock>,
) -> Result<Bucket, StartError> {
    let named = || settings.name.clone();
    let connected = yatagarasu_s3::connect(&settings.source, Arc::clone(clock))
        .await
        .map_err(|cause| StartError::Source { bucket: named(), cause })?;
    let source =
        Arc::new(Timed::new(Arc::clone(&connected.source), settings.response_timeout, settings.idle_timeout));
    let cache: Arc<dyn ObjectCache> = match &settings.cache {
        Some(cache) => yatagarasu_cache::connect(&cache.store)
            .map_err(|cause| StartError::Cache { bucket: named(), cause })?,
        None => Arc::new(yatagarasu_core::cache::NoCache),
    };
    let policy = BucketPolicy {
        cache: settings.cache.as_ref().map(|cache| cache.policy.clone()),
        forward_headers: settings.forward_headers.clone(),
    };
    Ok(Bucket {
        name: settings.name.as_str().into(),
        path_prefix: settings.path_prefix.clone(),
        forward_query: settings.forward_query.clone(),
        status_key: settings.cache.as_ref().map_or(StatusKey::Hidden, |cache| cache.status_key),
        gateway: Gateway::new(source, cache, policy, Arc::clone(budget), Arc::clone(clock)),
        connected,
    })
}
