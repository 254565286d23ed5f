use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use yatagarasu_cache::CacheConfig;
use yatagarasu_core::{CachePolicy, ForwardedFields};
use yatagarasu_s3::SourceConfig;

use crate::config::ForwardedQuery;

/// A configuration that was checked, with every default filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public side.
    pub server: ServerConfig,
    /// The operators' side.
    pub admin: AdminConfig,
    /// What is served, in the order of the file.
    pub buckets: Vec<BucketConfig>,
}

/// The public listener and what all buckets share.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Threads that serve them; at least one.
    pub threads: usize,
    /// Bytes of memory for objects that are being fetched, over all buckets.
    pub fill_memory: u64,
    /// Bytes the system takes for a client before it has sent them; `None` leaves it to the system.
    pub notsent_lowat: Option<u32>,
    /// Bytes that the sockets of fast streams may hold together beyond such bounds.
    pub socket_memory: u64,
    /// Longest wait for a client's complete request head, idle connections included.
    pub header_timeout: Duration,
    /// Longest time in which a client takes nothing of its response; `None` for no limit.
    pub send_timeout: Option<Duration>,
    /// How long running responses may go on once the server is told to stop.
    pub shutdown_grace: Duration,
}

/// The listener for health, statistics and purges.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Where operators connect.
    pub address: SocketAddr,
    /// What they have to show.
    pub token: Option<Secret>,
}

/// One bucket and the paths it is served under.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// What operators call it.
    pub name: String,
    /// `/` or `/one/or/more` segments, without a slash at the end.
    pub path_prefix: String,
    /// Where its objects come from.
    pub source: SourceConfig,
    /// Longest wait for the source's response head.
    pub response_timeout: Duration,
    /// Longest wait for each further piece of a body.
    pub idle_timeout: Duration,
    /// Request fields passed on to the source.
    pub forward_headers: ForwardedFields,
    /// Query parameters passed on to the source, and part of what an object is stored under.
    pub forward_query: ForwardedQuery,
    /// What is stored; nothing where there is none.
    pub cache: Option<BucketCache>,
}

/// What a bucket stores.
#[derive(Debug, Clone)]
pub struct BucketCache {
    /// Where its objects are stored.
    pub store: CacheConfig,
    /// Which of them, and for how long.
    pub policy: CachePolicy,
    /// What clients are told of the key.
    pub status_key: StatusKey,
}

/// Whether `Cache-Status` says what an answer is stored under (RFC 9211 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusKey {
    /// It does not.
    #[default]
    Hidden,
    /// It does.
    Shown,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whom it is meant.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
