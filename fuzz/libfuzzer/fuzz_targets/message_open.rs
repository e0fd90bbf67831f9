//! Runs `fuzz_targets::message_open` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::message_open(bytes));
