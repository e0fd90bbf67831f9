//! Worlds in which something once went wrong, each with the seed that showed it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sim::{Options, Scenario, run};

#[test]
fn what_was_found_and_mended_stays_so() {
    let found = [
        // A home that refuses what it has signed for: what depends on it was said twice.
        (748, include_str!("../found/748.toml")),
        // Homes more than a second away changed places before they could answer, for ever.
        (1300, include_str!("../found/1300.toml")),
        // A refusal from before a log was opened anew: nothing was sent any more.
        (1984, include_str!("../found/1984.toml")),
        // Who was once with a home that is late with everything stayed there.
        (9960, include_str!("../found/9960.toml")),
        // After a restart a message was demanded that the only home had refused permanently.
        (7_000_595, include_str!("../found/7000595.toml")),
    ];
    for (seed, text) in found {
        let report = run(&Scenario::parse(text).unwrap(), seed, Options::default());
        assert_eq!(report.violations, [], "seed {seed}");
    }
}
