//! `cargo xtask ci`: all that must pass before a change goes in, cheapest first.

#![allow(clippy::disallowed_methods, reason = "steps are timed with the clock of the machine")]

use std::{
    error::Error,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{sim, tidy};

/// Runs every step and stops at the first that fails.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::run(std::iter::empty()))?;
    step("clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    })?;
    step("documentation", || {
        let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
        succeed(Command::new("cargo").args(doc).env("RUSTDOCFLAGS", DOC_FLAGS))
    })?;
    step("nextest", nextest_is_there)?;
    step("tests", || {
        cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "ci", "-E", NOT_CORPUS])?;
        nothing_is_ignored()
    })?;
    step("documentation tests", || cargo(&["test", "--doc", "--workspace", "--locked"]))?;
    step("fuzz corpus", || {
        cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "corpus"])
    })?;
    step("simulation", sim::survives)?;
    step("what the simulator keeps", sim::is_as_kept)?;
    println!("ci: all passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn step(
    name: &str,
    body: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    println!("ci: {name}");
    let start = Instant::now();
    let result = body();
    let outcome = if result.is_ok() { "passed" } else { "FAILED" };
    println!("ci: {name} {outcome} in {:.1} s", start.elapsed().as_secs_f64());
    result.map_err(|error| format!("{name}: {error}").into())
}

fn cargo(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    succeed(Command::new(program(arguments)).args(arguments))
}

/// Cargo, or the nextest of our own where the machine has none.
fn program(arguments: &[&str]) -> &'static str {
    let own = arguments.first() == Some(&"nextest") && Path::new(NEXTEST).exists();
    if own { NEXTEST } else { "cargo" }
}

/// Installs nextest in `target/` if it is missing, so that Rust alone is enough.
fn nextest_is_there() -> Result<(), Box<dyn Error>> {
    let version = ["nextest", "--version"];
    let found = Command::new(program(&version)).args(version).stderr(Stdio::null()).status()?;
    if found.success() {
        return Ok(());
    }
    let from = ["install", "--locked", "--version", NEXTEST_VERSION, "--root", TOOLS];
    succeed(Command::new("cargo").args(from).arg("cargo-nextest"))
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// A test that does not run proves nothing, so a run that skips one has failed.
fn nothing_is_ignored() -> Result<(), Box<dyn Error>> {
    let list = ["nextest", "list", "--workspace", "--locked", "--run-ignored", "only"];
    let mut command = Command::new(program(&list));
    command.args(list).args(["--message-format", "oneline"]).stdin(Stdio::null());
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    let ignored = String::from_utf8_lossy(&output.stdout);
    match ignored.trim() {
        "" => Ok(()),
        ignored => Err(format!("these tests are ignored:\n{ignored}").into()),
    }
}

/// Private items are documented too, for this is for those who change them.
const DOC_FLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";
const TOOLS: &str = "target/tools";
const NEXTEST: &str = "target/tools/bin/cargo-nextest";
const NEXTEST_VERSION: &str = "0.9.143";
/// The corpus has a step of its own.
const NOT_CORPUS: &str = "not package(fuzz-targets)";
