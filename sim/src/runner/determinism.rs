//! Same seed, same trace: on one thread, on two, now and again.

use std::{error::Error, io::Write, ops::Range};

use sim::Options;

use super::{
    failure,
    outcome::{Outcome, hex},
    simulator::Simulator,
    source::Source,
    summary,
    sweep::{self, Plan, Ran},
    transcripts,
};

/// Runs every seed on one thread and again on two, and tells whether all outcomes are equal.
pub(super) fn run(
    simulator: &impl Simulator,
    sources: &[Source],
    seeds: Range<u64>,
    options: Options,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let on = |threads| {
        let seeds = seeds.clone();
        sweep::sweep(simulator, &Plan { sources, seeds, threads, keep_going: true, options })
    };
    let (one, two) = (on(1), on(2));
    let pairs = one.iter().zip(&two);
    let unequal: Vec<&Ran> =
        pairs.filter(|(one, two)| one.outcome != two.outcome).map(|(one, _)| one).collect();
    let count = one.len();
    let Some(first) = unequal.first() else {
        let hash = hex(&summary::trace_hash(&one.iter().collect::<Vec<_>>()));
        writeln!(out, "{count} seeds run twice, on 1 and on 2 threads: all traces are equal")?;
        writeln!(out, "hash of all traces: {hash}")?;
        return Ok(true);
    };
    writeln!(out, "{} of {count} seeds differ between two runs:", unequal.len())?;
    for ran in unequal.iter().take(SHOWN_MAX) {
        writeln!(out, "  seed {}", ran.seed)?;
    }
    let options = Options { transcript: true, ..options };
    let source = sources.get(first.source).unwrap_or(&Source::Random);
    let again = || {
        let run = || simulator.run(&source.scenario(simulator, first.seed), first.seed, options);
        Outcome::quietly_of(run).transcript
    };
    match transcripts::first_difference(&again(), &again()) {
        Some(difference) => write!(out, "seed {}, twice more:\n{difference}", first.seed)?,
        None => writeln!(out, "seed {}, twice more: its transcripts are equal", first.seed)?,
    }
    writeln!(out, "look at it: {}", failure::command(source, first.seed, options))?;
    Ok(false)
}

const SHOWN_MAX: usize = 5;
