//! The program itself, `siskin node run`, as its users start it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use proto::NodeAddress;

use crate::measure;

/// A node at work; it ends with this value.
#[derive(Debug)]
pub(crate) struct SiskinNode {
    child: Child,
    input: Option<ChildStdin>,
    address: NodeAddress,
}

impl SiskinNode {
    /// Starts a node on what is in a directory, and waits until it listens.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut command = Command::new(program()?);
        command.args([
            "node",
            "run",
            "--exit-on-stdin-close",
            "--no-mdns",
            "--listen",
            "127.0.0.1:0",
        ]);
        command.args(["--disk-cap", DISK_CAP, "--data-dir"]).arg(directory);
        command.env("RUST_LOG", "warn");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("the node did not start");
        };
        Ok(Self { child, input, address })
    }

    pub(crate) fn address(&self) -> &NodeAddress {
        &self.address
    }

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        measure::memory_kib(self.child.id())
    }

    pub(crate) fn processor_time(&self) -> Result<Duration> {
        measure::processor_time(self.child.id())
    }

    /// Stops it in peace.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.input = None;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for SiskinNode {
    /// As `kill -9` does. A node whose input ends stops by itself too, so none is left even if this
    /// never runs.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that was built beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("siskin");
    if !path.is_file() {
        bail!("{} is not there: cargo build --release -p siskin makes it", path.display());
    }
    Ok(path)
}

/// Whatever the benchmark stores fits.
const DISK_CAP: &str = "64GiB";
