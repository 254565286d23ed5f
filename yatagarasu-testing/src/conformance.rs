//! The contracts of sources and caches as suites that every implementation runs.

mod cache;
mod source;

pub use cache::cache_conformance;
pub use source::{SourceBed, source_conformance};
