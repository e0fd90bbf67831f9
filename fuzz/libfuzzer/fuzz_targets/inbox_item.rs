//! Runs `fuzz_targets::inbox_item` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::inbox_item(bytes));
