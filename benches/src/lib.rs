//! Benchmarks of the pieces a request passes through; run them with `cargo bench -p yatagarasu-benches`. The program
//! `compare` sets the whole server beside other proxies, `eviction` the cache's eviction policies beside each other.
#![forbid(unsafe_code)]
