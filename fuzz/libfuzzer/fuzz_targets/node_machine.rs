//! Runs `fuzz_targets::node_machine` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::node_machine(bytes));
