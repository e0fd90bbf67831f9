//! `cargo xtask sim`: the simulator's command line. What it can do is in `sim/README.md`.

#![allow(clippy::print_stderr, reason = "a command line tool prints")]
#![allow(
    clippy::disallowed_methods,
    reason = "runs are spread over threads and timed with the clock of the machine"
)]

mod runner;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use sim::{Options, Report, Scenario};

use runner::{Cli, Simulator};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = runner::run(&cli, &World, &mut out).and_then(|well| {
        out.flush()?;
        Ok(well)
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader has closed the pipe: it has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(WRONG_USE)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The simulator itself.
struct World;

impl Simulator for World {
    fn run(&self, scenario: &Scenario, seed: u64, options: Options) -> Report {
        sim::run(scenario, seed, options)
    }

    fn random(&self, seed: u64) -> Scenario {
        sim::random(seed)
    }

    fn shrink(
        &self,
        scenario: Scenario,
        tries: u32,
        fails: &mut dyn FnMut(&Scenario) -> bool,
    ) -> Scenario {
        sim::shrink(scenario, tries, fails)
    }
}

/// As of clap: nothing was found out about the product.
const WRONG_USE: u8 = 2;
