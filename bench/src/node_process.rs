//! A real node in a process of its own: this very binary, started again.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crypto::SigningKey;
use net::{Driver, Identity, Keys, Settings};
use node::{LAYOUT_NAME, LAYOUT_VERSION, Node, NodeConfig};
use proto::{NodeAddress, NodeId};
use store::{Fjall, Layout};

use crate::{measure, timed::Timed};

/// The command that starts a node.
pub(crate) const SERVE: &str = "serve-node";

/// Runs a node in `directory` until the standard input ends. Answers each line there with a line
/// of figures.
pub(crate) async fn serve(directory: &Path, number: u8) -> Result<()> {
    let seed = seed(number);
    let layout = Layout { name: LAYOUT_NAME, version: LAYOUT_VERSION, migrations: &[] };
    let (store, timings) = Timed::new(Fjall::open(directory, &layout)?);
    let settings = Settings {
        listen: Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]),
        // Everybody is at one address here.
        connections_per_ip_max: 20_000,
        ..Settings::new(Keys::One(Identity::from_seed(seed)))
    };
    // It signs for what it has on disk, as every node does.
    let key = Some(SigningKey::from_seed(seed));
    let config = NodeConfig { key, ..NodeConfig::new(name(number)) };
    let mut running = Driver::<Node>::start(settings, config, store).await?;
    drop(running.take_events());
    let address = running.local_addresses().first().copied().context("not listening")?;
    println!("{address}");
    let asked = tokio::task::spawn_blocking(move || -> Result<()> {
        for line in std::io::stdin().lines() {
            line?;
            let noted = timings.take();
            let sync = noted.syncs.percentile(50).as_micros();
            let applying = noted.applying.as_micros();
            println!("{} {sync} {applying}", noted.syncs.len());
        }
        Ok(())
    });
    asked.await??;
    running.shutdown().await?;
    Ok(())
}

/// A node at work; it ends with this value.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    number: u8,
    address: SocketAddr,
}

/// What the node's store noted since the last time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskFigures {
    pub(crate) syncs: u64,
    pub(crate) sync_p50: Duration,
    pub(crate) applying: Duration,
}

impl NodeProcess {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        Self::start_as(0, directory)
    }

    /// Nodes of different numbers have different names.
    pub(crate) fn start_as(number: u8, directory: &Path) -> Result<Self> {
        // To look into a node, put a profiler's command in front of its own.
        let under = std::env::var(UNDER).unwrap_or_default();
        let this = std::env::current_exe()?.into_os_string();
        let mut words = under.split_whitespace().map(OsString::from).chain([this]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(SERVE).arg(directory).arg(number.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            let _ = child.kill();
            bail!("the node did not start");
        };
        Ok(Self { child, input, output, number, address })
    }

    pub(crate) fn address(&self) -> NodeAddress {
        NodeAddress { node: name(self.number), addresses: vec![self.address] }
    }

    pub(crate) fn disk_figures(&mut self) -> Result<DiskFigures> {
        let input = self.input.as_mut().context("the node is gone")?;
        input.write_all(b"\n")?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().context("no figures")?.context("no figure");
        let syncs = next()?;
        let [sync_p50, applying] = [next()?, next()?].map(Duration::from_micros);
        Ok(DiskFigures { syncs, sync_p50, applying })
    }

    pub(crate) fn processor_time(&self) -> Result<Duration> {
        measure::processor_time(self.child.id())
    }

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        measure::memory_kib(self.child.id())
    }

    /// Stops it in peace.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.input = None;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for NodeProcess {
    /// A node whose input ends stops by itself too, so none is left even if this never runs.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name(number: u8) -> NodeId {
    NodeId(Identity::from_seed(seed(number)).public().0)
}

fn seed(number: u8) -> [u8; 32] {
    let mut seed = SEED;
    seed[0] ^= number;
    seed
}

const UNDER: &str = "BENCH_NODE_UNDER";
const SEED: [u8; 32] = [0xB0; 32];
