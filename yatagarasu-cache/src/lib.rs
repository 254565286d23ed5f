//! Cache backends, each behind a Cargo feature. Which one serves a bucket is configuration.
#![forbid(unsafe_code)]

mod config;
mod connect;
#[cfg(feature = "foyer")]
mod foyer;
#[cfg(feature = "foyer")]
mod weight;

pub use config::{CacheBackend, CacheConfig, EvictionPolicy};
pub use connect::{ConnectError, connect};
