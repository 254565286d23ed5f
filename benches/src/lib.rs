//! Benchmarks of the components that a request passes through. Run them with `cargo bench -p yatagarasu-benches`.
//!
//! The program `compare` compares the whole server with other proxies. `eviction` compares the cache's eviction
//! policies with each other.
#![forbid(unsafe_code)]

pub mod random;
pub mod zipf;
