//! What the server sends each second: totals since its start (`GET /live` of the admin API).

use std::collections::BTreeMap;

use serde::Deserialize;

/// The state of a server.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Snapshot {
    pub(super) uptime_seconds: f64,
    pub(super) version: String,
    /// Responses by what the cache did.
    pub(super) requests: BTreeMap<String, u64>,
    /// Bytes of bodies by what the cache did.
    pub(super) bytes: BTreeMap<String, u64>,
    /// Responses by class of status.
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) source: Source,
    pub(super) latency: Latency,
    pub(super) connections: Connections,
    pub(super) running: u64,
    pub(super) memory: Memory,
    pub(super) buckets: Vec<Bucket>,
    pub(super) hottest: Vec<Hot>,
    pub(super) streams: Vec<Stream>,
    pub(super) errors: Vec<Failure>,
}

/// Requests to S3.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Source {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
}

/// Times to the first byte, counted by upper bounds in seconds.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Latency {
    pub(super) bounds: Vec<f64>,
    pub(super) memory: Vec<u64>,
    pub(super) source: Vec<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Connections {
    pub(super) open: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Bucket {
    #[serde(rename = "bucket")]
    pub(super) name: String,
    pub(super) requests: u64,
    /// Requests for objects, and those among them that S3 was not asked for.
    pub(super) for_objects: u64,
    pub(super) hits: u64,
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) cache_bytes: u64,
    pub(super) cache_bytes_max: u64,
    pub(super) up: bool,
    pub(super) credentials_valid: bool,
}

/// A frequently requested object.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Hot {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) requests: u64,
}

/// A long response on its way.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Stream {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) sent: u64,
    pub(super) length: Option<u64>,
    pub(super) seconds: f64,
}

/// A response that was an error, or that broke off.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) path: Option<String>,
    pub(super) request_id: String,
    pub(super) error: Option<String>,
}
