//! Runs scenarios: one, many, all; compares what it sees with what is kept; shrinks what fails.
//!
//! ```text
//!  cli ─▶ run ─┬─ one run ───────────────────────────▶ outcome
//!              ├─ --seeds, --all ─▶ sweep ─▶ summary ─▶ failure (shrinks)
//!              ├─ --determinism ──▶ sweep twice
//!              ├─ --baseline ─────▶ sweep ─▶ baseline
//!              ├─ --oracle ───────▶ sweep ─▶ oracle
//!              └─ --transcripts ──▶ transcripts
//! ```

use std::{error::Error, io::Write, time::Instant};

use sim::table;

mod baseline;
mod cli;
mod determinism;
mod failure;
mod oracle;
mod outcome;
mod panics;
mod simulator;
mod source;
mod summary;
mod sweep;
mod transcripts;

pub(crate) use cli::Cli;
pub(crate) use simulator::Simulator;

use outcome::Outcome;
use source::Source;
use sweep::Plan;

/// Does what the command line asks for and tells whether all is well.
pub(crate) fn run(
    cli: &Cli,
    simulator: &impl Simulator,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    if cli.baseline {
        return baseline::run(simulator, cli.threads(), cli.update, out);
    }
    if cli.oracle {
        return oracle::run(cli, simulator, out);
    }
    if cli.transcripts {
        return transcripts::run(simulator, cli.update, out);
    }
    if let Some(seed) = cli.seed {
        return run_one(cli, seed, simulator, out);
    }
    if let Some(count) = cli.determinism {
        let sources = [cli.source()?];
        return determinism::run(simulator, &sources, cli.seeds_from(count)?, cli.options(), out);
    }
    let sources = if cli.all { Source::all()? } else { vec![cli.source()?] };
    let plan = Plan {
        sources: &sources,
        seeds: cli.seeds_from(cli.seeds.unwrap_or(1))?,
        threads: cli.threads(),
        keep_going: cli.keep_going,
        options: cli.options(),
    };
    let start = Instant::now();
    let ran = sweep::sweep(simulator, &plan);
    write!(out, "{}", summary::summary(&plan, &ran, start.elapsed()))?;
    failure::report(simulator, &plan, &ran, out)
}

fn run_one(
    cli: &Cli,
    seed: u64,
    simulator: &impl Simulator,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let source = cli.source()?;
    if cli.trace && matches!(source, Source::Random) {
        writeln!(out, "{}", source.scenario(simulator, seed).to_toml())?;
    }
    // Here the panic may print all it has, a backtrace if one is asked for.
    let outcome =
        Outcome::of(|| simulator.run(&source.scenario(simulator, seed), seed, cli.options()));
    for line in &outcome.transcript {
        writeln!(out, "{line}")?;
    }
    write!(out, "{}", outcome.description())?;
    Ok(outcome.is_well())
}

#[cfg(test)]
mod tests;
