//! The examples of the documentation pass the suites that they are for.
#![expect(unreachable_pub, reason = "they are programs of their own, too")]

#[path = "../examples/map_cache.rs"]
mod map_cache;
#[path = "../examples/map_source.rs"]
mod map_source;

#[test]
fn the_cache_passes_its_suite() {
    map_cache::main();
}

#[test]
fn the_source_passes_its_suite() {
    map_source::main();
}
