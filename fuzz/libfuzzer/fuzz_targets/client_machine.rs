//! Runs `fuzz_targets::client_machine` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::client_machine(bytes));
