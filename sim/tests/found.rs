//! Worlds in which something once went wrong, each with the seed that showed it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sim::{Options, Scenario, run};

#[test]
fn networks_that_once_broke_a_rule_break_none() {
    let found = [
        // A home that refuses what it has signed for: dependent messages were sent twice.
        (748, include_str!("../found/748.toml")),
        // Endless failover: homes more than a second away were swapped before they could answer.
        (1300, include_str!("../found/1300.toml")),
        // A refusal from before a log was reopened: nothing was sent any more.
        (1984, include_str!("../found/1984.toml")),
        // A device stayed at a home that is slow to answer everything.
        (9960, include_str!("../found/9960.toml")),
        // After a restart a message was demanded that the only home had refused permanently.
        (7_000_595, include_str!("../found/7000595.toml")),
    ];
    for (seed, text) in found {
        let report = run(&Scenario::parse(text).unwrap(), seed, Options::default());
        assert_eq!(report.violations, [], "seed {seed}");
    }
}
