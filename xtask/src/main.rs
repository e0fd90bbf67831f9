//! House tasks, run as `cargo xtask NAME`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

use std::{error::Error, path::Path, process::ExitCode};

mod ci;
mod codegen;
mod cold;
mod sim;
mod tidy;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let result = enter_root().and_then(|()| match task.as_str() {
        "ci" => ci::run(),
        "codegen" => codegen::write(),
        "cold" => cold::run(),
        "sim" => sim::run(std::env::args_os().skip(2)),
        "tidy" => tidy::run(std::env::args().skip(2)),
        _ => Err(USAGE.into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tasks name files from the root of the repository, wherever they are called from.
fn enter_root() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent directory")?;
    Ok(std::env::set_current_dir(root)?)
}

const USAGE: &str = "usage: cargo xtask TASK

  ci       all that must pass before a change goes in
  tidy     the house rules that the compiler does not know; `--list [RULE]` prints what is still
           wrong, `--update` lowers the counts in xtask/tidy.toml
  codegen  writes crates/proto/src/wire.rs from spec/proto
  cold     builds the binary from nothing and checks what that costs
  sim      runs whole networks from a seed; `cargo xtask sim --help`";
