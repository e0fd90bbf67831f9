//! A node that signed for entries it dropped is proven faulty, and no other node is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sim::{Options, Scenario, run};

#[test]
fn a_home_that_drops_what_it_signs_for_is_convicted() {
    let text = include_str!("../scenarios/home-convicted.toml");
    let scenario = Scenario::parse(text).unwrap();
    let mut convicted = 0;
    for seed in 1..=SEEDS {
        let report = run(&scenario, seed, Options::default());
        assert_eq!(report.violations, [], "seed {seed}");
        convicted += u64::from(report.tally.convicted > 0);
    }
    assert!(convicted >= SEEDS / 2, "{convicted}");
}

const SEEDS: u64 = 10;
