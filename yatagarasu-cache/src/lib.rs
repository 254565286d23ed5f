//! Cache backends, each behind a Cargo feature. The configuration selects the backend of a bucket.
#![forbid(unsafe_code)]

mod build;
mod config;
#[cfg(feature = "foyer")]
mod foyer;
#[cfg(feature = "foyer")]
mod index;
#[cfg(feature = "foyer")]
mod weight;

pub use build::{BuildError, build};
pub use config::{CacheBackend, CacheConfig, EvictionPolicy};
