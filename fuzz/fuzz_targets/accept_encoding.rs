#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| yatagarasu_core::fuzzing::accept_encoding(input));
