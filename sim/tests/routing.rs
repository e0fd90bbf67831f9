//! Small networks of routers: what must hold in large ones holds in them.

use sim::routing::{Size, Trial, run};

const SIZE: Size =
    Size { seed: 1, nodes: 100, least: 100, accounts: 30, lookups: 100, minutes: 10 };

#[test]
fn lookups_are_right_and_the_same_seed_gives_the_same_trace() {
    let seen = run(Trial::Growth, SIZE);
    assert!(seen.failures.is_empty(), "{:?}\n{}", seen.failures, seen.text);
    assert_eq!(seen, run(Trial::Growth, SIZE));
    assert_ne!(seen.hash, run(Trial::Growth, Size { seed: 2, ..SIZE }).hash);
}

#[test]
fn records_outlive_churn() {
    let seen = run(Trial::Churn, SIZE);
    assert!(seen.failures.is_empty(), "{:?}\n{}", seen.failures, seen.text);
}

#[test]
fn records_outlive_a_third_of_the_nodes() {
    let seen = run(Trial::Death, SIZE);
    assert!(seen.failures.is_empty(), "{:?}\n{}", seen.failures, seen.text);
}

#[test]
fn adversaries_harm_no_lookup() {
    let size = Size { nodes: 12, accounts: 5, lookups: 20, ..SIZE };
    let seen = run(Trial::Hostile, size);
    assert!(seen.failures.is_empty(), "{:?}\n{}", seen.failures, seen.text);
}
