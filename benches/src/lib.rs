//! Benchmarks of the pieces a request passes through; run them with `cargo bench -p yatagarasu-benches`.
