//! Test doubles and the conformance suites that every source and every cache runs.

mod cache_suite;
mod clock;
mod fault;
mod memory_cache;
mod memory_source;
mod odd_keys;
mod source_suite;

pub use cache_suite::cache_conformance;
pub use clock::ManualClock;
pub use fault::{Script, ScriptedBody, ScriptedSource};
pub use memory_cache::MemoryCache;
pub use memory_source::MemorySource;
pub use odd_keys::odd_keys;
pub use source_suite::{SourceBed, source_conformance};

use http::HeaderMap;

use crate::cache::CacheKey;
use crate::gateway::request::Request;
use crate::http::method::Method;
use crate::object::key::ObjectKey;

/// A cache key without a query.
pub fn cache_key(key: &str) -> CacheKey {
    CacheKey::new(ObjectKey::parse(key).expect("a test names valid keys"), None)
}

/// A request without header fields.
pub fn request(method: Method, key: &str) -> Request {
    Request { method, key: cache_key(key), headers: HeaderMap::new() }
}
