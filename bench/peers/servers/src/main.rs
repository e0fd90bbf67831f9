//! NATS JetStream and Prosody under the loads of `bench`, for comparison. What was measured is in
//! `bench/README.md`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads clocks, files and sockets"
)]
#![allow(dead_code, reason = "`measure.rs` is that of `bench`, which uses more of it")]

#[path = "../../../src/measure.rs"]
mod measure;
mod nats;
mod process;
mod prosody;

use std::process::Command;

use anyhow::{Context, Result, ensure};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name != ALONE {
        measure::print_machine();
    }
    match name.as_str() {
        "nats" => nats::run(),
        "prosody" => prosody(),
        ALONE => prosody::run(),
        _ => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

/// Runs in a network namespace of its own, since all bytes of the loopback device are counted.
fn prosody() -> Result<()> {
    let program = std::env::current_exe()?;
    let mut alone = Command::new("unshare");
    alone.args(["--net", "--map-root-user", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]);
    let status = alone.arg(program).arg(ALONE).status().context("unshare")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// In a network namespace already.
const ALONE: &str = "prosody-alone";
const USAGE: &str = "usage: bench-servers nats|prosody";
