//! Runs `fuzz_targets::kept_secrets` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::kept_secrets(bytes));
