//! What the tests of all crates share: doubles, conformance suites, an S3 server, and HTTP clients.
//!
//! The suites in [`conformance`] state the contracts of `ObjectSource` and `ObjectCache`; every backend, wrapper and
//! double runs them. [`MemorySource`] and [`MemoryCache`] keep the contracts in the simplest way. [`ScriptedSource`]
//! answers as a test says, step by step, and [`ManualClock`] stands still until a test moves it.
//! [`replay`] repeats what fuzzing has found.
//!
//! Real sockets need more crates, so that each end has a feature of its own. `origin` adds [`origin`], an S3 server that
//! checks signatures or answers by a script. `client` adds [`client`], HTTP clients for whole responses and for single
//! steps.
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
mod clock;
pub mod conformance;
mod corpus;
mod listing;
mod memory_cache;
mod memory_source;
#[cfg(any(feature = "client", feature = "origin"))]
pub mod message;
mod odd_keys;
#[cfg(feature = "origin")]
pub mod origin;
mod scripted_source;

pub use clock::ManualClock;
pub use corpus::replay;
pub use memory_cache::MemoryCache;
pub use memory_source::MemorySource;
pub use odd_keys::odd_keys;
pub use scripted_source::{Script, ScriptedBody, ScriptedSource};

use std::time::Duration;

use http::HeaderMap;
use yatagarasu_core::{CacheKey, Method, ObjectKey, Request};

/// Longest wait for an event that a test expects.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a cache key without a query.
pub fn cache_key(key: &str) -> CacheKey {
    CacheKey::new(ObjectKey::parse(key).expect("a test names valid keys"), None)
}

/// Returns a request without header fields.
pub fn request(method: Method, key: &str) -> Request {
    Request { method, key: cache_key(key), headers: HeaderMap::new() }
}
