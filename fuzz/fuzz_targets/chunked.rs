#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| yatagarasu_s3::fuzzing::chunked(input));
