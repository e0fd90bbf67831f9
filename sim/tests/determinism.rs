//! Same seed, same trace: on one thread and on two, written as a transcript or not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{thread, time::Duration};

use sim::{Options, Span, random, run};

#[test]
fn runs_side_by_side_leave_the_traces_of_runs_one_after_the_other() {
    let seeds = seeds(SEEDS);
    let alone = traces(&seeds);
    let (first, last) = seeds.split_at(SEEDS / 2);
    let beside = thread::scope(|scope| {
        let last = scope.spawn(|| traces(last));
        [traces(first), last.join().unwrap()].concat()
    });
    assert_eq!(alone, beside);
}

#[test]
fn a_run_that_is_told_leaves_the_same_trace() {
    for seed in seeds(TOLD) {
        let told = run(&random(seed), seed, Options { transcript: true, mutant: None });
        assert!(!told.transcript.is_empty());
        assert_eq!([told.hash], *traces(&[seed]), "seed {seed}");
    }
}

fn traces(seeds: &[u64]) -> Vec<[u8; 32]> {
    seeds.iter().map(|seed| run(&random(*seed), *seed, Options::default()).hash).collect()
}

/// Seeds of worlds that don't last for days: unoptimised, those take too long.
fn seeds(count: usize) -> Vec<u64> {
    let short = |seed: &u64| random(*seed).lasts < Span(Duration::from_secs(3600));
    (1..).filter(short).take(count).collect()
}

/// A hundred take a minute unoptimised: those are for `cargo xtask sim --determinism 100`.
const SEEDS: usize = 24;
const TOLD: usize = 6;
