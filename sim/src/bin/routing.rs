//! The command line of the simulator of routing; see `sim/README.md`.

#![allow(clippy::print_stdout, reason = "a command line tool prints")]
#![allow(clippy::disallowed_methods, reason = "runs are timed with the clock of the machine")]

use std::{process::ExitCode, time::Instant};

use clap::{Parser, ValueEnum};
use sim::routing::{Size, Trial, run};

/// Runs whole networks of routers under a virtual clock, from one seed
#[derive(Debug, Parser)]
#[command(name = "routing")]
struct Cli {
    /// What happens
    trial: Name,
    /// How many nodes
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// The smallest of growing networks
    #[arg(long, default_value_t = 100)]
    least: u32,
    /// How many accounts are published
    #[arg(long, default_value_t = 500)]
    accounts: usize,
    /// How many lookups are made
    #[arg(long, default_value_t = 2_000)]
    lookups: usize,
    /// How long churn lasts
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// What it costs to be one of many
    Growth,
    /// Half of the nodes go within an hour
    Churn,
    /// A third of them die at once
    Death,
    /// The network falls in two and heals
    Partition,
    /// Three nodes in ten are in one hand, with and without our defences
    Eclipse,
    /// One node in five does harm, of each kind
    Hostile,
    /// Halves, churn and the death of a third in one network, which grows only once
    Soak,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Cli { trial, nodes, least, accounts, lookups, minutes, seed } = cli;
    let trial = match trial {
        Name::Growth => Trial::Growth,
        Name::Churn => Trial::Churn,
        Name::Death => Trial::Death,
        Name::Partition => Trial::Partition,
        Name::Eclipse => Trial::Eclipse,
        Name::Hostile => Trial::Hostile,
        Name::Soak => Trial::Soak,
    };
    let began = Instant::now();
    let report = run(trial, Size { seed, nodes, least, accounts, lookups, minutes });
    print!("{}", report.text);
    let hash: String = report.hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    println!("seed {seed}, hash {hash}, {:.0} s", began.elapsed().as_secs_f64());
    for failure in &report.failures {
        println!("missed: {failure}");
    }
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
