#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| yatagarasu_server::fuzzing::site_rules(input));
