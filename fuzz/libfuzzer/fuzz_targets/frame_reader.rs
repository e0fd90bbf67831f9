//! Runs `fuzz_targets::frame_reader` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::frame_reader(bytes));
