#![no_main]
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../yatagarasu-core/tests/gateway/bed.rs"]
mod bed;
#[path = "../../yatagarasu-core/tests/gateway/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| model::follow_bytes(input));
