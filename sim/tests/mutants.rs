//! Every deliberate bug makes a check fire.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and tell")]

use std::time::Duration;

use sim::{Mutant, Options, Rule, Scenario, Span, random, run};

#[test]
fn a_node_that_accepts_before_it_commits_is_caught() {
    // The entry is gone: it never arrives, its sender waits indefinitely, or a mark was wrong.
    caught(
        Mutant::AcceptBeforeCommit,
        &[Rule::Lost, Rule::DeliveryStatus, Rule::Progress, Rule::Quiet],
    );
}

#[test]
fn a_node_that_stores_an_entry_twice_is_caught() {
    // Copies that never become equal are compared again and again.
    caught(Mutant::NoDuplicateCheck, &[Rule::Twice, Rule::Quiet]);
}

#[test]
fn a_device_that_shows_messages_as_they_arrive_is_caught() {
    caught(Mutant::TimelineByArrival, &[Rule::Order, Rule::Dependency]);
}

#[test]
fn a_device_that_trusts_the_coordinator_is_caught() {
    let scenario =
        Scenario::parse(include_str!("../scenarios/one-adversary-in-four.toml")).unwrap();
    let broken = Options { mutant: Some(Mutant::TrustCoordinator), transcript: false };
    let found = run(&scenario, 1, broken);
    let (lost, stored) = (found.tally.lost, found.tally.acknowledged);
    println!("{lost} of {stored} messages that were called stored are lost");
    assert!(lost > 0 && lost < stored);
    assert!(found.violations.iter().any(|found| found.rule == Rule::Lost));
    let whole = run(&scenario, 1, Options::default());
    assert_eq!((whole.tally.lost, whole.violations.len()), (0, 0));
    assert!(whole.tally.acknowledged > 0);
}

#[test]
fn what_one_node_alone_has_stored_is_lost_with_it() {
    // A device that takes one node's word for all others calls stored what one node has.
    let scenario = Scenario::parse(include_str!("../scenarios/any-node-lost.toml")).unwrap();
    let broken = Options { mutant: Some(Mutant::TrustCoordinator), transcript: false };
    let mut seeds = (1..=LOSSES).map(|seed| (seed, run(&scenario, seed, broken)));
    let (seed, found) = seeds.find(|(_, found)| found.tally.lost > 0).unwrap();
    let (lost, stored) = (found.tally.lost, found.tally.acknowledged);
    println!("seed {seed}: {lost} of {stored} messages that were called stored are lost");
    assert!(found.violations.iter().any(|found| found.rule == Rule::Lost));
    let whole = run(&scenario, seed, Options::default());
    assert_eq!((whole.tally.lost, whole.violations), (0, Vec::new()));
}

/// Draws worlds until one shows that the product is broken, by a rule that speaks of just that.
/// The same world with a product that is whole must be well.
fn caught(mutant: Mutant, rules: &[Rule]) {
    let broken = Options { mutant: Some(mutant), transcript: false };
    // Unoptimised, a world that lasts for days takes too long.
    let worlds = (1..=SEEDS).map(|seed| (seed, random(seed)));
    let (seed, scenario, found) = worlds
        .filter(|(_, scenario)| scenario.lasts < Span(Duration::from_secs(3600)))
        .find_map(|(seed, scenario)| {
            let found = run(&scenario, seed, broken).violations.into_iter().next()?;
            Some((seed, scenario, found))
        })
        .unwrap();
    println!("{mutant:?} is caught by seed {seed}: {found}");
    assert!(rules.contains(&found.rule), "seed {seed}: {found}");
    let whole = run(&scenario, seed, Options::default());
    assert_eq!(whole.violations, [], "seed {seed}");
}

const SEEDS: u64 = 1_000;
/// In one of eight or so the node that is lost is the one that devices reached alone.
const LOSSES: u64 = 40;
