//! `cargo xtask sim`: builds the simulator and passes everything on to it.

use std::{
    error::Error,
    ffi::OsString,
    process::{self, Command},
};

/// Runs the simulator with these arguments. If it fails, this ends as it did: it has said why, and
/// its exit code has a meaning.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    let status = simulator().arg("--").args(arguments).status()?;
    if status.success() { Ok(()) } else { process::exit(status.code().unwrap_or(1)) }
}

/// A step of `cargo xtask ci`: the loss of any node, and the same trace each time.
pub(crate) fn survives() -> Result<(), Box<dyn Error>> {
    let losses = ["--seeds", LOSSES, "--scenario", ANY_NODE_LOST];
    succeed(simulator().args(["--locked", "--"]).args(losses))?;
    succeed(simulator().args(["--locked", "--", "--determinism", "100"]))
}

/// A step of `cargo xtask ci`: 1,000 random seeds and every named scenario break no rule and have
/// the traces that are kept; so have the costs of messages and the transcripts.
pub(crate) fn is_as_kept() -> Result<(), Box<dyn Error>> {
    succeed(simulator().args(["--locked", "--", "--oracle"]))?;
    succeed(simulator().args(["--locked", "--", "--baseline"]))?;
    succeed(simulator().args(["--locked", "--", "--transcripts"]))
}

/// Cargo builds it, for this crate must not: it would take as long to build as the product.
fn simulator() -> Command {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "sim"]);
    for optimised in OPTIMISED {
        let config = format!("profile.dev.package.{optimised}.opt-level=1");
        command.args(["--config", &config]);
    }
    command
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err("the simulator did not succeed".into()) }
}

/// Without this a seed takes three times as long, and a release would have to build all that is
/// below these once more. As a rule for the whole workspace it would make changes slow to try.
const OPTIMISED: [&str; 6] = ["client", "crypto", "node", "proto", "sim", "store"];
/// One seed shows little of it: which node, and when, is drawn.
const ANY_NODE_LOST: &str = "sim/scenarios/any-node-lost.toml";
const LOSSES: &str = "50";
