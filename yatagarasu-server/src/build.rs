//! Assembles the gateways, the metrics and the shared memory budgets from a configuration.

pub mod origin;

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use yatagarasu_core::Budget;
use yatagarasu_core::caching::compression::Compressor;
use yatagarasu_core::source::failover::{Failover, FailoverCounters};
use yatagarasu_core::source::metered::SourceMeters;
use yatagarasu_core::{BucketPolicy, ClientControl, Common, Gateway, ObjectCache, ObjectSource, SystemClock};

use crate::build::origin::Origin;
use crate::compression::Background;
use crate::config::{BucketConfig, Config, StatusKey};
use crate::listener::socket::ListenAddress;
use crate::service::buckets::{Bucket, Buckets};
use crate::service::content_types::WithContentTypes;
use crate::service::listing::{ListingFormat, WithListings};
use crate::service::site::{SitePlace, Website};
use crate::telemetry::failures::{Failures, Reported};
use crate::telemetry::spans::Tracing;
use crate::tls::setup::TlsError;

/// The reason why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("{key}: cannot listen on {address}: {}", bind_reason(address, cause))]
    Bind {
        /// The configuration key of the address.
        key: String,
        /// The address.
        address: ListenAddress,
        /// The error of the system.
        #[source]
        cause: std::io::Error,
    },
    /// The address for HTTP/3 cannot be bound.
    #[error("{key}.tls.http3: cannot listen on {address} for UDP: {}", bind_reason(&ListenAddress::Tcp(*address), cause))]
    BindUdp {
        /// The configuration key of the listener.
        key: String,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        cause: std::io::Error,
    },
    /// A Unix socket for operators was given, and it is not for the owner and the group only.
    #[error(
        "{key}: everybody on this machine may open {address}, which was given: let only the owner and the group \
         (`SocketMode=0660`), at a path"
    )]
    OpenToAll {
        /// The configuration key of the listener.
        key: String,
        /// The socket.
        address: ListenAddress,
    },
    /// A listener cannot speak TLS.
    #[error("{key}.tls: {cause}")]
    Tls {
        /// The configuration key of the listener.
        key: String,
        /// The reason.
        #[source]
        cause: TlsError,
    },
    /// A socket in `LISTEN_FDS` cannot be used.
    #[error(
        "LISTEN_FDS: expected sockets that listen for TCP connections, Unix sockets that listen, or sockets for UDP: {0}"
    )]
    Given(#[source] std::io::Error),
    /// A socket in `LISTEN_FDS` is for no setting.
    #[error(
        "LISTEN_FDS: nothing is served on {0}: expected the address of `server.address`, of a listener or of \
         `admin.address`, or one of these names (`FileDescriptorName`)"
    )]
    Unserved(ListenAddress),
    /// A socket for UDP in `LISTEN_FDS` is for no listener with HTTP/3.
    #[error(
        "LISTEN_FDS: nothing is served on {0} over UDP: expected the address of a listener with `tls.http3`"
    )]
    UnservedUdp(SocketAddr),
    /// A source cannot be created for a bucket.
    #[error("bucket `{bucket}`: {cause}")]
    Source {
        /// The bucket's name.
        bucket: String,
        /// The reason.
        #[source]
        cause: yatagarasu_s3::BuildError,
    },
    /// A cache cannot be created for a bucket.
    #[error("bucket `{bucket}`: {cause}")]
    Cache {
        /// The bucket's name.
        bucket: String,
        /// The reason.
        #[source]
        cause: yatagarasu_cache::BuildError,
    },
    /// The file of a log cannot be opened.
    #[error("log: `{output}` cannot be opened: {cause}")]
    Log {
        /// The file.
        output: String,
        /// The error of the system.
        #[source]
        cause: std::io::Error,
    },
    /// A thread or its runtime cannot be created.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

fn bind_reason(address: &ListenAddress, cause: &std::io::Error) -> String {
    match (address, cause.kind()) {
        (ListenAddress::Tcp(_), std::io::ErrorKind::AddrInUse) => {
            "the address is in use: stop the program that listens there, or choose another port".to_owned()
        }
        (ListenAddress::Unix(_), std::io::ErrorKind::AddrInUse) => {
            "the path is in use: stop the program that listens there, or choose another path".to_owned()
        }
        (ListenAddress::Unix(_), std::io::ErrorKind::NotFound) => {
            "there is no such folder: make it, or choose another path".to_owned()
        }
        (_, std::io::ErrorKind::AddrNotAvailable) => "this machine has no such address".to_owned(),
        (ListenAddress::Tcp(address), std::io::ErrorKind::PermissionDenied) if address.port() < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        _ => cause.to_string(),
    }
}

/// Budgets, what works on stored objects, and what observes sources: shared by all buckets and all connections.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// For objects that are being fetched.
    pub(crate) fills: Arc<Budget>,
    /// For the socket buffers of fast streams.
    pub(crate) sockets: Arc<Budget>,
    /// The compressor of stored objects.
    compressor: Arc<dyn Compressor>,
    /// The meters of all present and earlier sources.
    pub(crate) sources: Sources,
    /// The traces of requests, if they are on.
    pub(crate) tracing: Arc<Tracing>,
}

/// The meters of sources by name. Those of removed buckets stay: counters must not fall, and the bucket may come back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<BTreeMap<Arc<str>, Arc<SourceMeters>>>>);

impl Sources {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<SourceMeters>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the meters of the source with this name.
    fn meters(&self, name: &Arc<str>) -> Arc<SourceMeters> {
        Arc::clone(self.all().entry(Arc::clone(name)).or_default())
    }

    /// Returns the meters of all sources.
    pub(crate) fn list(&self) -> Vec<Arc<SourceMeters>> {
        self.all().values().cloned().collect()
    }
}

impl Memory {
    /// Creates the budgets of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            fills: Arc::new(Budget::new(config.server.fill_memory)),
            sockets: Arc::new(Budget::new(config.server.socket_memory)),
            compressor: Arc::new(Background::default()),
            sources: Sources::default(),
            tracing: Arc::default(),
        }
    }

    /// Changes the budgets to those of a configuration.
    pub(crate) fn limit(&self, config: &Config) {
        self.fills.set_bytes_max(config.server.fill_memory);
        self.sockets.set_bytes_max(config.server.socket_memory);
    }
}

/// Creates the buckets of a configuration for a look at them. Sends no request to any source.
///
/// # Errors
///
/// Returns the first thing that keeps a server with this configuration from starting.
pub async fn buckets_of(config: &Config) -> Result<Arc<Buckets>, StartError> {
    buckets(config, &Memory::new(config), &[]).await
}

/// Creates the buckets of a configuration. Sends no request to any source.
///
/// Buckets of `earlier` with the same name pass on what stays valid: the cache if it holds the same objects in the same
/// way, and the source, with its connections and credentials, if nothing about it has changed.
pub(crate) async fn buckets(
    config: &Config,
    memory: &Memory,
    earlier: &[Arc<Bucket>],
) -> Result<Arc<Buckets>, StartError> {
    let (budget, compressor) = (Arc::clone(&memory.fills), Arc::clone(&memory.compressor));
    let common = Common { budget, clock: Arc::new(SystemClock), compressor };
    let mut buckets = Vec::new();
    for settings in &config.buckets {
        let earlier = earlier.iter().find(|bucket| *bucket.name == *settings.name);
        buckets.push(Arc::new(bucket(settings, &common, memory, earlier.map(Arc::as_ref)).await?));
    }
    Ok(Arc::new(Buckets::new(buckets, config.server.own.clone())))
}

/// Returns `true` if what is stored for `one` can be served for `other`.
pub(crate) fn store_alike(one: &BucketConfig, other: &BucketConfig) -> bool {
    one.caching() == other.caching()
}

async fn bucket(
    settings: &BucketConfig,
    common: &Common,
    memory: &Memory,
    earlier: Option<&Bucket>,
) -> Result<Bucket, StartError> {
    let failed = |cause| StartError::Source { bucket: settings.name.clone(), cause };
    let cache_bytes = settings.cache.as_ref().map_or(0, |cache| cache.store.max_size);
    let mut origins = Vec::with_capacity(1 + settings.fallbacks.len());
    let configs =
        iter::once(&settings.origin).chain(settings.fallbacks.iter().map(|fallback| &fallback.origin));
    for (index, config) in configs.enumerate() {
        let earlier = earlier.and_then(|earlier| earlier.origins.get(index));
        let origin = Origin::build(config, &common.clock, memory, earlier).await.map_err(failed)?;
        origin.announce(&settings.path_prefix, cache_bytes);
        origins.push(origin);
    }
    let failures = earlier.map_or_else(
        || Failures::new(settings.name.as_str().into()),
        |earlier| Arc::clone(&earlier.failures),
    );
    let failover = earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.failover));
    let purges = earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.purges));
    let source: Arc<dyn ObjectSource> =
        Arc::new(Reported::new(source(settings, &origins, &failover), Arc::clone(&failures)));
    let source = of_site(settings, source);
    let policy = BucketPolicy {
        cache: settings.cache.as_ref().map(|cache| cache.policy.clone()),
        forward_headers: settings.forward_headers.clone(),
        cors: settings.cors.clone(),
        response_fields: Arc::clone(&settings.response_fields),
        compression: settings.compression.clone(),
    };
    let alike = earlier.filter(|earlier| store_alike(&earlier.config, settings));
    let gateway = if let Some(earlier) = alike {
        earlier.gateway.renewed(source, policy)
    } else {
        let cache: Arc<dyn ObjectCache> = match &settings.cache {
            Some(cache) => yatagarasu_cache::build(&cache.store)
                .map_err(|cause| StartError::Cache { bucket: settings.name.clone(), cause })?,
            None => Arc::new(yatagarasu_core::cache::NoCache),
        };
        Gateway::new(source, cache, policy, common.clone())
    };
    // What the website has brought with it stays, as S3 may be down, if it is of the same store.
    let same = earlier.filter(|earlier| earlier.config.origin.source == settings.origin.source);
    let website = same.and_then(|earlier| earlier.site.as_deref());
    Ok(Bucket {
        name: settings.name.as_str().into(),
        hosts: settings.hosts.clone(),
        path_prefix: settings.path_prefix.clone(),
        key_prefix: settings.key_prefix.clone(),
        site: settings.site.clone().map(|site| Arc::new(Website::new(site, place(settings), website))),
        forward_query: settings.forward_query.clone(),
        status_key: settings.cache.as_ref().map_or(StatusKey::Hidden, |cache| cache.status_key),
        cors: settings.cors.clone(),
        response_fields: Arc::clone(&settings.response_fields),
        gateway,
        origins,
        failover,
        failures,
        purges,
        config: settings.clone(),
    })
}

fn place(settings: &BucketConfig) -> SitePlace {
    SitePlace {
        path: settings.path_prefix.clone(),
        keeps_path: !settings.strip_prefix,
        keys: settings.key_prefix.clone(),
        obeys_clients: settings
            .cache
            .as_ref()
            .is_some_and(|cache| matches!(cache.policy.client_cache_control, ClientControl::Respect)),
    }
}

/// Returns the source of a website: with lists of folders and types for objects without one, if it has them.
fn of_site(settings: &BucketConfig, mut source: Arc<dyn ObjectSource>) -> Arc<dyn ObjectSource> {
    let Some(site) = &settings.site else { return source };
    if site.content_types {
        source = Arc::new(WithContentTypes(source));
    }
    match site.index.as_deref().filter(|_| site.listing != ListingFormat::Off) {
        None => source,
        Some(index) => {
            // The root of the website, as far as its depth goes.
            let path_prefix =
                if settings.strip_prefix { "" } else { settings.path_prefix.trim_end_matches('/') };
            let root = format!("{}{path_prefix}", settings.key_prefix.as_str());
            Arc::new(WithListings::new(source, settings.name.as_str().into(), index, &root))
        }
    }
}

/// Returns the source of a bucket: its only one, or one that asks the others where it fails.
fn source(
    settings: &BucketConfig,
    origins: &[Origin],
    failover: &Arc<FailoverCounters>,
) -> Arc<dyn ObjectSource> {
    let (first, others) = origins.split_first().expect("a bucket has a source");
    let first = first.alternative(None);
    if others.is_empty() {
        return first.source;
    }
    let others =
        others.iter().zip(&settings.fallbacks).map(|(origin, fallback)| origin.alternative(Some(fallback)));
    Arc::new(Failover::new(settings.name.as_str().into(), first, others.collect(), Arc::clone(failover)))
}
