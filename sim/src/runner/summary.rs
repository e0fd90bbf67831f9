//! The table at the end of many runs.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{
    outcome::hex,
    sweep::{Plan, Ran},
    table::{Table, fixed, grouped, ratio, span},
};

/// A row for each scenario and, if there are many, one for all, which took `wall`. A scenario
/// takes the sum of what its runs took, so that rows add up to more than the time that passed if
/// there was more than one thread.
pub(super) fn summary(plan: &Plan<'_>, ran: &[Ran], wall: Duration) -> String {
    let mut table = Table::new(&HEADER);
    if plan.sources.len() > 1 {
        for (number, source) in plan.sources.iter().enumerate() {
            let own: Vec<&Ran> = ran.iter().filter(|ran| ran.source == number).collect();
            let wall = sum(own.iter().map(|ran| ran.wall));
            if !own.is_empty() {
                table.push(row(source.name(), &own, wall));
            }
        }
    }
    let name = match plan.sources {
        [only] => only.name(),
        _ => "all".to_owned(),
    };
    let all: Vec<&Ran> = ran.iter().collect();
    table.push(row(name, &all, wall));
    format!("{table}{}hash of all traces: {}\n", losses(&all), hex(&trace_hash(&all)))
}

/// A line about what was called stored and is lost, if anything is.
fn losses(ran: &[&Ran]) -> String {
    let count = |what: fn(&Ran) -> u64| ran.iter().map(|ran| what(ran)).sum::<u64>();
    let stored = count(|ran| ran.outcome.tally.acknowledged);
    let lost = count(|ran| ran.outcome.tally.lost);
    let share = ratio(lost.saturating_mul(100), stored, 2).filter(|_| lost > 0);
    share.map_or_else(String::new, |share| {
        let (lost, stored) = (grouped(lost), grouped(stored));
        format!("lost of what was called stored: {lost} of {stored}, {} %\n", fixed(share, 2))
    })
}

fn row(name: String, ran: &[&Ran], wall: Duration) -> Vec<String> {
    let count =
        |what: fn(&Ran) -> u64| ran.iter().map(|ran| what(ran)).fold(0, u64::saturating_add);
    let said = count(|ran| ran.outcome.tally.said);
    let virtual_time = sum(ran.iter().map(|ran| ran.outcome.tally.simulated));
    let per_second = |number: u64| {
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        let rate = ratio(number.saturating_mul(1_000_000), micros, 0);
        rate.map_or_else(|| "-".to_owned(), grouped)
    };
    let hash = hex(&trace_hash(ran));
    vec![
        name,
        grouped(count(|_| 1)),
        grouped(count(|ran| u64::try_from(ran.outcome.wrongs()).unwrap_or(u64::MAX))),
        span(virtual_time),
        grouped(said),
        grouped(count(|ran| ran.outcome.tally.frames)),
        span(wall),
        per_second(said),
        format!("{} x", per_second(virtual_time.as_secs())),
        hash.get(..SHORT).unwrap_or_default().to_owned(),
    ]
}

fn sum(times: impl Iterator<Item = Duration>) -> Duration {
    times.fold(Duration::ZERO, Duration::saturating_add)
}

/// One hash over the hashes of all traces, in their order.
pub(super) fn trace_hash(ran: &[&Ran]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for ran in ran {
        hash.update(ran.outcome.hash);
    }
    hash.finalize().into()
}

const HEADER: [&str; 10] = [
    "scenario",
    "seeds",
    "violations",
    "virtual time",
    "messages",
    "frames",
    "wall time",
    "messages/s",
    "virtual/wall",
    "hash",
];
/// Digits of a hash in a table.
pub(super) const SHORT: usize = 12;
