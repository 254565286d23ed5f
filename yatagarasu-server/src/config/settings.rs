//! The file as it is written: every key optional, nothing checked beyond its type.

use serde::Deserialize;

use super::units::{ByteSize, Span};

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
    pub(super) header_timeout: Option<Span>,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "the keys of `cache`")]
pub(super) struct CacheSettings {
    pub(super) enabled: Option<bool>,
    pub(super) backend: Option<String>,
    pub(super) max_item_size: Option<ByteSize>,
    pub(super) max_size: Option<ByteSize>,
    pub(super) ttl: Option<Span>,
    pub(super) eviction: Option<String>,
}
