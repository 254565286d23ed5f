//! Applies another configuration to a running server, as a whole or not at all.
//!
//! No request is dropped: each keeps the buckets that it was routed to. A bucket keeps its cache if what it stores, and
//! under which keys, stays the same. The addresses of listeners and the number of threads cannot change.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::{Mutex, watch};
use yatagarasu_core::{Clock, SystemClock};

use crate::admin::Admin;
use crate::build::{Memory, StartError, buckets, store_alike};
use crate::config::{Config, ConfigErrors, ListenerConfig, SHORT_FORM};
use crate::connection::limits::ConnectionLimits;
use crate::listener::Listener;
use crate::listener::socket::ListenAddress;
use crate::listener::terms::Terms;
use crate::service::handler::RequestHandler;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counters::Metrics;

/// The parts of a server that a configuration changes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) handlers: Vec<Arc<RequestHandler>>,
    pub(crate) listeners: Arc<[Listener]>,
    /// Weak, because the admin API has the reloader.
    pub(crate) admin: Weak<Admin>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Memory,
    pub(crate) limits: watch::Sender<Arc<ConnectionLimits>>,
    /// The number of file descriptors that were left at the start, if they are limited.
    pub(crate) descriptors: Option<u64>,
    pub(crate) config: watch::Sender<Arc<Config>>,
}

type Load = dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync;

/// Reads the configuration of a server again, and applies it.
pub struct Reloader {
    load: Box<Load>,
    parts: Arc<Parts>,
    /// Held while a configuration is applied.
    applying: Mutex<()>,
    /// Numbers of reloads that succeeded and that failed.
    counts: [AtomicU64; 2],
    /// The second of the latest success.
    loaded_at: AtomicU64,
    /// Whether the latest reload failed.
    failed: AtomicBool,
}

/// The history of reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Whether the latest one succeeded, if there was one.
    pub(crate) is_well: bool,
    /// The second in which the configuration that runs was loaded.
    pub(crate) loaded_at: u64,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

/// What a reload has done.
#[derive(Debug)]
pub struct Reloaded {
    /// The buckets, and what has become of their caches.
    pub buckets: Vec<ReloadedBucket>,
}

/// What has become of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadedBucket {
    /// The name.
    pub bucket: String,
    /// What has become of its cache.
    pub cache: CacheFate,
}

/// What has become of the cache of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheFate {
    /// It is as it was.
    Kept,
    /// It is empty, because the bucket stores other objects, or in another way, from now on.
    Emptied,
    /// It is new.
    Added,
    /// It is gone, with its bucket.
    Removed,
}

/// The reason why a configuration was not applied. The one before still runs.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is invalid.
    #[error("{0}")]
    Invalid(#[from] ConfigErrors),
    /// It changes what only a new process can.
    #[error("{} cannot change while the server runs: restart it, or change back", .0.join(" and "))]
    Fixed(Vec<&'static str>),
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// This machine cannot provide a part of it.
    #[error("{0}")]
    Build(#[from] StartError),
}

impl Reloader {
    pub(super) fn new(
        load: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static,
        parts: Arc<Parts>,
    ) -> Self {
        let loaded_at = AtomicU64::new(seconds_now());
        Self {
            load: Box::new(load),
            parts,
            applying: Mutex::default(),
            counts: Default::default(),
            loaded_at,
            failed: AtomicBool::new(false),
        }
    }

    /// Reads the configuration again and applies it. `by` says in the log who asked for it.
    ///
    /// # Errors
    ///
    /// Returns the reason if it cannot be applied. Nothing has changed then.
    pub async fn reload(&self, by: &str) -> Result<Reloaded, ReloadError> {
        let _applying = self.applying.lock().await;
        let applied = self.apply().await;
        self.counts[usize::from(applied.is_err())].fetch_add(1, Ordering::Relaxed);
        self.failed.store(applied.is_err(), Ordering::Relaxed);
        match &applied {
            Ok(Reloaded { buckets }) => {
                self.loaded_at.store(seconds_now(), Ordering::Relaxed);
                let of = |fate| {
                    let names = buckets.iter().filter(|bucket| bucket.cache == fate);
                    names.map(|bucket| bucket.bucket.as_str()).collect::<Vec<_>>().join(", ")
                };
                tracing::info!(
                    by,
                    kept = of(CacheFate::Kept),
                    emptied = of(CacheFate::Emptied),
                    added = of(CacheFate::Added),
                    removed = of(CacheFate::Removed),
                    "configuration reloaded"
                );
            }
            Err(error) => {
                // An error of a configuration has a line for each key.
                let reason = error.to_string().replace('\n', "; ");
                tracing::error!(by, reason, "the configuration was not reloaded: the one before still runs");
            }
        }
        applied
    }

    /// Returns the history of reloads.
    pub(crate) fn history(&self) -> History {
        let [succeeded, failed] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let (is_well, loaded_at) =
            (!self.failed.load(Ordering::Relaxed), self.loaded_at.load(Ordering::Relaxed));
        History { succeeded, failed, is_well, loaded_at }
    }

    async fn apply(&self) -> Result<Reloaded, ReloadError> {
        let config = Arc::new((self.load)()?);
        let before = Arc::clone(&self.parts.config.borrow());
        let fixed = fixed(&before, &config);
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        let Parts { handlers, listeners, admin, metrics, memory, limits, descriptors, config: running } =
            &*self.parts;
        let admin = admin.upgrade().ok_or(ReloadError::Stopped)?;
        let earlier = admin.buckets();
        let made = buckets(&config, memory, earlier.all()).await?;
        let terms = terms(listeners, &config)?;
        // The last step that may fail.
        let log = AccessLog::start(&config.log)
            .map_err(|(output, cause)| StartError::Log { output: output.name(), cause })?;
        metrics.log_to(log.as_ref());
        memory.tracing.turn_to(&config.tracing);
        memory.limit(&config);
        limits.send_replace(Arc::new(ConnectionLimits::new(&config.server, &memory.sockets, *descriptors)));
        for ((listener, terms), config) in listeners.iter().zip(terms).zip(&config.server.listeners) {
            listener.turn_to(config.clone(), terms);
        }
        for handler in handlers {
            handler.serve(Arc::clone(&made));
        }
        admin.turn_to(made, config.admin.token.clone());
        let reloaded = Reloaded { buckets: fates(&before, &config) };
        running.send_replace(config);
        Ok(reloaded)
    }
}

/// Reads the files of the listeners. A listener whose configuration stays lets its clients resume their sessions.
fn terms(listeners: &[Listener], config: &Config) -> Result<Vec<Terms>, StartError> {
    let load = |(listener, config): (&Listener, &ListenerConfig)| {
        let loaded = if *listener.config() == *config {
            listener.terms().again(config)
        } else {
            Terms::load(config, listener.terms().port)
        };
        loaded.map_err(|cause| StartError::Tls { key: config.key.clone(), cause })
    };
    listeners.iter().zip(&config.server.listeners).map(load).collect()
}

/// Returns the keys that have changed and cannot.
fn fixed(before: &Config, after: &Config) -> Vec<&'static str> {
    let addresses = |config: &Config| -> Vec<_> {
        config.server.listeners.iter().map(|one| (one.key.clone(), one.address.clone())).collect()
    };
    let is_short = |(key, _): &(String, ListenAddress)| key == SHORT_FORM;
    let [before_all, after_all] = [before, after].map(addresses);
    let short = [&before_all, &after_all].map(|all| all.iter().find(|one| is_short(one)).cloned());
    let long = [before_all, after_all].map(|mut all| {
        all.retain(|one| !is_short(one));
        all
    });
    let keys = [
        ("server.address", short[0] != short[1]),
        ("the addresses in server.listeners", long[0] != long[1]),
        ("tls.http3 of server.listeners", speak_http3(before) != speak_http3(after)),
        ("server.threads", before.server.threads != after.server.threads),
        ("admin.address", before.admin.address != after.admin.address),
        ("admin.socket", before.admin.socket != after.admin.socket),
    ];
    keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

/// Returns which listeners speak HTTP/3: that is a socket more.
fn speak_http3(config: &Config) -> Vec<bool> {
    config.server.listeners.iter().map(|one| one.tls.as_ref().is_some_and(|tls| tls.http3)).collect()
}

fn fates(before: &Config, after: &Config) -> Vec<ReloadedBucket> {
    let named =
        |config: &Config, name: &str| config.buckets.iter().find(|bucket| bucket.name == name).cloned();
    let present = after.buckets.iter().map(|bucket| {
        let cache = match named(before, &bucket.name) {
            None => CacheFate::Added,
            Some(earlier) if store_alike(&earlier, bucket) => CacheFate::Kept,
            Some(_) => CacheFate::Emptied,
        };
        ReloadedBucket { bucket: bucket.name.clone(), cache }
    });
    let gone = before.buckets.iter().filter(|bucket| named(after, &bucket.name).is_none());
    let gone = gone.map(|bucket| ReloadedBucket { bucket: bucket.name.clone(), cache: CacheFate::Removed });
    present.chain(gone).collect()
}

fn seconds_now() -> u64 {
    SystemClock.date().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
