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

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};

mod cpu;
mod crowd;
mod differences;
mod homes;
mod idle;
mod keys;
mod latency;
mod measure;
mod network;
mod node_process;
mod people;
mod replicas;
mod restart;
mod sender;
mod simulator;
mod siskin_process;
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let name = arguments.first().map(String::as_str).unwrap_or_default();
    let option = arguments.get(1).map(String::as_str);
    if name == node_process::SERVE {
        let directory = option.context("in which directory?")?;
        let number = arguments.get(2).map_or(Ok(0), |number| number.parse())?;
        return runtime.block_on(node_process::serve(Path::new(directory), number));
    }
    if name == network::SERVE {
        return runtime.block_on(network::serve(&arguments[1..]));
    }
    let known = NAMES.contains(&name);
    // A part of another benchmark prints no head.
    let part = option == Some(wire::ALONE) || (name == "sim" && option.is_some());
    if (known && !part) || name == ALL {
        measure::print_machine();
    }
    match name {
        "latency" => runtime.block_on(latency::run()),
        "throughput" => throughput::run(&runtime, &arguments[1..]),
        "wire" => wire::run(&runtime, option),
        "idle" => runtime.block_on(idle::run(option, arguments.get(2).map(String::as_str))),
        "cpu" => runtime.block_on(cpu::run()),
        "differences" => differences::run(),
        "homes" => runtime.block_on(homes::run(option)),
        "keys" => keys::run(),
        "replicas" => replicas::run(),
        "restart" => restart::run(&runtime, option),
        "network" => runtime.block_on(network::run(&arguments[1..])),
        "sim" => simulator::run(&arguments[1..]),
        ALL => {
            drop(runtime);
            NAMES.iter().try_for_each(|name| run(&[(*name).to_owned()]))
        }
        _ => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

const ALL: &str = "all";
const NAMES: [&str; 12] = [
    "keys",
    "latency",
    "cpu",
    "wire",
    "throughput",
    "idle",
    "network",
    "differences",
    "replicas",
    "homes",
    "restart",
    "sim",
];
const USAGE: &str = "usage: cargo run --release -p bench -- NAME

  keys                   message keys, pages, seals and signatures
  latency                from one device over a node to another
  cpu                    processor time per message, node and both devices
  wire                   bytes of IP packets per message
  throughput [SECONDS [SENDERS WINDOW]]
                         messages stored per second
  idle [SECONDS [COUNT]] what 1,000 connected devices cost a node
  network [NODES ACCOUNTS KILLED]
                         node processes that find each other's accounts, some of
                         them killed
  differences            two replicas find out in what they differ, by symbols and by
                         ranges
  replicas               two nodes compare their copies of a log, and repair them
  homes [MESSAGES]       what it costs to have each message at one, two, three or four nodes
  restart [ENTRIES]      how soon a node with so many envelopes answers after its start, and
                         what they take on its disk
  sim [NODES PEOPLE EVERY_S LASTS_S]
                         how fast the simulator lets time pass, and its memory
  all                    all of these

`bench/README.md` says more.";
