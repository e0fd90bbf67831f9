//! The only binary: node, daemon, command line and demo.
//!
//! ```text
//!  command line ─▶ commands ─▶ rpc ── socket ──▶ siskin up ─┐
//!                               └── no daemon? here ────────┴▶ engine ─▶ net::Driver<Client>
//!  siskin node ─▶ node ─▶ net::Driver<Node> ◀── socket ── siskin node status, peers
//!  siskin lookup ─▶ lookup ─▶ net::Driver<Asker>
//!  siskin demo ─▶ demo ─▶ two `siskin node` and two `siskin up`, driven through their sockets
//! ```
#![allow(clippy::disallowed_methods, reason = "binaries read the clock, files and configuration")]

mod api;
mod cli;
mod commands;
mod demo;
mod engine;
mod failure;
mod keys;
mod lookup;
mod node;
mod output;
mod paths;
mod pending;
mod qr;
mod rpc;
mod stop;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    cli::{Cli, Command},
    failure::Failure,
    output::Output,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(cli.json);
    start_log(&cli);
    match run(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, out: Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::io("can't start threads", &error))?;
    let result = runtime.block_on(commands::run(cli, out));
    // A thread may be blocked on standard input, which can't be interrupted.
    runtime.shutdown_background();
    result
}

/// Logs to standard error. `RUST_LOG` sets a level for each target: `warn,net=debug`.
fn start_log(cli: &Cli) {
    let serves = matches!(&cli.command, Command::Node(args) if args.runs());
    let level = match (cli.verbose, serves) {
        (0, false) => LevelFilter::OFF,
        (0, true) => LevelFilter::INFO,
        (1, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let chosen = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
    let filter = chosen.unwrap_or_else(|| Targets::new().with_default(level));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let filtered = tracing_subscriber::registry().with(filter);
    if cli.json {
        filtered.with(log.json()).init();
    } else {
        filtered.with(log.with_ansi(Output::new(false).colors_errors())).init();
    }
}

/// The driver runs the machine on its own thread; these threads only move packets.
const WORKERS: usize = 2;
