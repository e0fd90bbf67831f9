//! Benchmarks: our side and the alternative in the same run. What each measures, its target and
//! what was seen are in `bench/README.md`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads clocks, files and sockets, and prints"
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "no peer chooses what is computed here"
)]

use std::process::ExitCode;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

mod cpu;
mod crowd;
mod differences;
mod env;
mod homes;
mod idle;
mod keys;
mod latency;
mod measure;
mod network;
mod people;
mod process;
mod replicas;
mod restart;
mod sender;
mod signed;
mod simulator;
mod throughput;
mod timed;
mod watched;
mod wire;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (name, options) = arguments
        .split_first()
        .map_or(("", [].as_slice()), |(name, options)| (name.as_str(), options));
    if name == ALL {
        return BENCHES.iter().try_for_each(|(name, _)| run(&[(*name).to_owned()]));
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    if name == process::SERVE {
        return runtime.block_on(process::serve(options));
    }
    let Some((_, bench)) = BENCHES.iter().find(|(known, _)| *known == name) else {
        let names = BENCHES.map(|(name, _)| name).join("|");
        println!("usage: cargo run --release -p bench -- {names}|{ALL} [OPTION …]");
        println!("`bench/README.md` says what each measures, and which options it takes.");
        return Ok(());
    };
    // A part of another benchmark prints no head.
    if !options.iter().any(|option| option == wire::ALONE) && (name != "sim" || options.is_empty())
    {
        measure::print_machine();
    }
    bench(&runtime, options)
}

type Bench = fn(&Runtime, &[String]) -> Result<()>;

const ALL: &str = "all";
const BENCHES: [(&str, Bench); 12] = [
    ("keys", |_, _| keys::run()),
    ("latency", |runtime, _| runtime.block_on(latency::run())),
    ("cpu", |runtime, _| runtime.block_on(cpu::run())),
    ("wire", wire::run),
    ("throughput", throughput::run),
    ("idle", |runtime, options| runtime.block_on(idle::run(options))),
    ("network", |runtime, options| runtime.block_on(network::run(options))),
    ("differences", |_, _| differences::run()),
    ("replicas", |_, _| replicas::run()),
    ("homes", |runtime, options| runtime.block_on(homes::run(options))),
    ("restart", restart::run),
    ("sim", |_, options| simulator::run(options)),
];
