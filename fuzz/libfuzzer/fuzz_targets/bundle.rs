//! Runs `fuzz_targets::bundle` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::bundle(bytes));
