//! Runs `fuzz_targets::simulator` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::simulator(bytes));
