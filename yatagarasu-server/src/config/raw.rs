//! The configuration as written: every key is optional, and only types are checked.

use serde::Deserialize;

use crate::config::units::{ByteSize, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys `server`, `admin` and `buckets`")]
pub(super) struct Settings {
    pub(super) server: ServerSettings,
    pub(super) admin: AdminSettings,
    pub(super) buckets: Vec<BucketSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys of `server`")]
pub(super) struct ServerSettings {
    pub(super) address: Option<String>,
    pub(super) threads: Option<u16>,
    pub(super) fill_memory: Option<ByteSize>,
    pub(super) notsent_lowat: Option<ByteSize>,
    pub(super) socket_memory: Option<ByteSize>,
    pub(super) header_timeout: Option<Span>,
    pub(super) send_timeout: Option<Span>,
    pub(super) shutdown_grace: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys of `admin`")]
pub(super) struct AdminSettings {
    pub(super) address: Option<String>,
    pub(super) token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a bucket: `name`, `path_prefix` and more")]
pub(super) struct BucketSettings {
    pub(super) name: Option<String>,
    pub(super) path_prefix: Option<String>,
    pub(super) s3: S3Settings,
    pub(super) cache: CacheSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys of `s3`")]
pub(super) struct S3Settings {
    pub(super) backend: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) access_key: Option<String>,
    pub(super) secret_key: Option<String>,
    pub(super) session_token: Option<String>,
    pub(super) anonymous: Option<bool>,
    pub(super) forward_headers: Vec<String>,
    pub(super) forward_query: Vec<String>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) response_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) receive_buffer: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys of `cache`")]
pub(super) struct CacheSettings {
    pub(super) enabled: Option<bool>,
    pub(super) backend: Option<String>,
    pub(super) max_item_size: Option<ByteSize>,
    pub(super) max_size: Option<ByteSize>,
    pub(super) ttl: Option<Span>,
    pub(super) cache_control: Option<String>,
    pub(super) client_cache_control: Option<String>,
    pub(super) heuristic_freshness: Option<bool>,
    pub(super) stale_while_revalidate: Option<Span>,
    pub(super) stale_if_error: Option<Span>,
    pub(super) range_fill: Option<bool>,
    pub(super) negative_ttl: Option<Span>,
    pub(super) negative_statuses: Option<Vec<u16>>,
    pub(super) status_key: Option<bool>,
    pub(super) eviction: Option<String>,
}

/// Returns the known keys of the section that contains the unknown key `key`.
pub(super) fn keys_beside(key: &str) -> &'static [&'static str] {
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    match section.rsplit_once('.').map_or(section, |(_, name)| name) {
        "" => &["server", "admin", "buckets"],
        "server" => &[
            "address",
            "threads",
            "fill_memory",
            "notsent_lowat",
            "socket_memory",
            "header_timeout",
            "send_timeout",
            "shutdown_grace",
        ],
        "admin" => &["address", "token"],
        "s3" => &[
            "backend",
            "bucket",
            "region",
            "endpoint",
            "path_style",
            "access_key",
            "secret_key",
            "session_token",
            "anonymous",
            "forward_headers",
            "forward_query",
            "connect_timeout",
            "response_timeout",
            "idle_timeout",
            "receive_buffer",
        ],
        "cache" => &[
            "enabled",
            "backend",
            "max_item_size",
            "max_size",
            "ttl",
            "cache_control",
            "client_cache_control",
            "heuristic_freshness",
            "stale_while_revalidate",
            "stale_if_error",
            "range_fill",
            "negative_ttl",
            "negative_statuses",
            "status_key",
            "eviction",
        ],
        _ => &["name", "path_prefix", "s3", "cache"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every listed key must also appear in the example, which another test loads: a key that no struct reads would
    /// be an unknown key there.
    #[test]
    fn what_is_named_is_what_is_read() {
        for (section, count) in
            [("x", 3), ("server.x", 8), ("admin.x", 2), ("buckets[0].s3.x", 15), ("buckets[0].cache.x", 15)]
        {
            let keys = keys_beside(section);
            assert_eq!(keys.len(), count, "{section}");
            for key in keys {
                let place = section.replace('x', key);
                assert!(crate::config::EXAMPLE.contains(&format!("{key}:")), "{place}");
            }
        }
    }
}
