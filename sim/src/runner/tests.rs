//! Runs of a simulator that is made up.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use clap::Parser as _;
use proto::Instant;
use sim::{Count, Options, Purpose, Report, Rule, Scenario, Tally, Violation};

use super::{
    outcome::Verdict,
    summary::{summary, trace_hash},
    sweep::{Ran, sweep},
    *,
};

type Body = Box<dyn Fn(&Scenario, u64) -> Report + Sync>;

/// Finds what it is told to find.
pub(super) struct Imitation(Body);

impl Imitation {
    pub(super) fn new(body: impl Fn(&Scenario, u64) -> Report + Sync + 'static) -> Self {
        Self(Box::new(body))
    }

    pub(super) fn report(violations: Vec<Violation>) -> Report {
        Report { hash: [0; 32], violations, tally: Tally::default(), transcript: Vec::new() }
    }
}

impl Simulator for Imitation {
    fn run(&self, scenario: &Scenario, seed: u64, _: Options) -> Report {
        (self.0)(scenario, seed)
    }

    fn random(&self, _: u64) -> Scenario {
        scenario(2)
    }

    fn shrink(
        &self,
        mut scenario: Scenario,
        tries: u32,
        fails: &mut dyn FnMut(&Scenario) -> bool,
    ) -> Scenario {
        for _ in 0..tries {
            let people = scenario.people.saturating_sub(1);
            let smaller = Scenario { people, ..scenario.clone() };
            if !fails(&smaller) {
                break;
            }
            scenario = smaller;
        }
        scenario
    }
}

pub(super) fn scenario(people: u32) -> Scenario {
    let text = format!("name = 'test'\nnodes = 1\npeople = {people}\nlasts = '1m'");
    Scenario::parse(&text).unwrap()
}

pub(super) fn violation(rule: Rule) -> Violation {
    Violation { rule, at: Instant::from_secs(1), text: "so it is".to_owned() }
}

/// Seeds from 40 on which 7 divides fail, and 63 by a panic. Some take longer than others.
fn sevenths() -> Imitation {
    Imitation::new(|_, seed| {
        let turns = AtomicU64::new(seed.wrapping_mul(7919) % 20_000);
        while turns.fetch_sub(1, Ordering::Relaxed) > 1 {}
        assert!(seed != 63, "sixty-three");
        let bad = seed >= 40 && seed % 7 == 0;
        let mut report =
            Imitation::report(if bad { vec![violation(Rule::Lost)] } else { Vec::new() });
        report.hash[..8].copy_from_slice(&seed.to_be_bytes());
        report.tally.said = seed;
        report.tally.simulated = Duration::from_secs(60);
        report
    })
}

fn swept(threads: usize, keep_going: bool) -> Vec<Ran> {
    let sources = [Source::Random];
    let options = Options::default();
    sweep(&sevenths(), &Plan { sources: &sources, seeds: 10..90, threads, keep_going, options })
}

fn seeds_that_fail(ran: &[Ran]) -> Vec<u64> {
    ran.iter().filter(|ran| !ran.outcome.is_well()).map(|ran| ran.seed).collect()
}

#[test]
fn the_lowest_failing_seed_is_the_last_of_a_sweep() {
    for threads in [1, 2, 8] {
        let ran = swept(threads, false);
        assert_eq!(seeds_that_fail(&ran), [42]);
        assert_eq!(
            ran.iter().map(|ran| ran.seed).collect::<Vec<_>>(),
            (10..=42).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_sweep_that_goes_on_finds_all_and_catches_panics() {
    let ran = swept(3, true);
    assert_eq!(ran.len(), 80);
    assert_eq!(seeds_that_fail(&ran), [42, 49, 56, 63, 70, 77, 84]);
    let panicked = ran.iter().find(|ran| ran.seed == 63).unwrap();
    assert_eq!(panicked.outcome.verdict(), Verdict::Panics);
    assert!(panicked.outcome.complaints().contains("Panic: sixty-three (sim/src/runner/tests.rs:"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let told = |threads| {
        let (ran, sources) = (swept(threads, true), [Source::Random]);
        let plan = Plan {
            sources: &sources,
            seeds: 10..90,
            threads,
            keep_going: true,
            options: Options::default(),
        };
        let outcomes: Vec<Outcome> = ran.iter().map(|ran| ran.outcome.clone()).collect();
        (outcomes, summary(&plan, &ran, Duration::from_secs(2)))
    };
    let one = told(1);
    assert_eq!(one, told(2));
    assert_eq!(one, told(7));
}

#[test]
fn a_summary_has_a_row_for_each_scenario_and_one_for_all() {
    let file = |name: &str| Source::File { path: name.into(), scenario: Box::new(scenario(2)) };
    let sources = [file("a/first.toml"), file("a/second.toml")];
    let options = Options::default();
    let plan = Plan { sources: &sources, seeds: 41..43, threads: 2, keep_going: true, options };
    let ran = sweep(&sevenths(), &plan);
    let text = summary(&plan, &ran, Duration::from_secs(4));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..3], ["first", "2", "1"]);
    assert_eq!(rows[2][..3], ["second", "2", "1"]);
    let all = ["all", "4", "2", "4", "m", "00", "s", "166", "0", "4.0", "s", "42", "60", "x"];
    assert_eq!(rows[3][..14], all, "{text}");
    assert_eq!(rows[1].last(), rows[2].last());
    assert_ne!(rows[1].last(), rows[3].last());
}

#[test]
fn the_hash_of_all_traces_depends_on_their_order() {
    let ran = swept(1, true);
    let forward: Vec<&Ran> = ran.iter().collect();
    let backward: Vec<&Ran> = ran.iter().rev().collect();
    assert_ne!(trace_hash(&forward), trace_hash(&backward));
}

fn executed(line: &str, simulator: &Imitation) -> (bool, String) {
    let words = ["sim"].into_iter().chain(line.split_whitespace());
    let mut out = Vec::new();
    let well = run(&Cli::parse_from(words), simulator, &mut out).unwrap();
    (well, String::from_utf8(out).unwrap())
}

#[test]
fn one_run_shows_its_transcript_before_its_figures() {
    let simulator = Imitation::new(|_, seed| {
        let mut report = Imitation::report(vec![violation(Rule::Order); 7]);
        report.transcript = vec![format!("seed {seed} speaks")];
        report.tally.talk_latencies_us = vec![3_000, 1_000, 2_000];
        (report.tally.texts, report.tally.delivered) = (3, 2);
        for (purpose, bytes) in [(Purpose::Push, 1_500), (Purpose::Late, 300)] {
            report.tally.between_nodes.insert(purpose, Count { frames: 1, bytes });
        }
        report
    });
    let (well, text) = executed("--seed 5 --trace", &simulator);
    assert!(!well);
    let parts = [
        "people = 2",
        "seed 5 speaks",
        "66.66667 % of 3 texts",
        "p50 2.0 ms, p95 3.0 ms, p99 3.0 ms",
        "  push        1 frames of 1,500 bytes",
        "repair        1 frames of 300 bytes, 20.0 % of the rest",
        "so it is",
        "and 2 more",
    ];
    let places: Vec<usize> = parts.iter().map(|part| text.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn determinism_is_equal_outcomes() {
    let (well, text) = executed("--determinism 20", &sevenths());
    assert!(well && text.contains("20 seeds run twice"), "{text}");
    let runs = AtomicU64::new(0);
    let moody = Imitation::new(move |_, seed| {
        let mut report = Imitation::report(Vec::new());
        if seed == 3 {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            report.hash[0] = u8::try_from(run).unwrap();
            report.transcript = vec!["same".to_owned(), format!("run {run}")];
        }
        report
    });
    let (well, text) = executed("--determinism 5", &moody);
    assert!(!well);
    assert!(text.contains("1 of 5 seeds differ between two runs:\n  seed 3\n"), "{text}");
    assert!(text.contains("they differ at line 2:\n    same\n  - run 2\n  + run 3\n"), "{text}");
}

#[test]
fn the_scenario_in_the_readme_is_one() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next());
    let scenario = Scenario::parse(example.unwrap()).unwrap();
    assert_eq!(scenario.faults.len(), 1);
}
