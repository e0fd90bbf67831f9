//! Nodes in processes of their own: this very binary, started again, or `siskin node run` as its
//! users start it.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crypto::SigningKey;
use net::{Driver, Identity, Keys, Settings};
use node::{LAYOUT_NAME, LAYOUT_VERSION, Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{NodeAddress, NodeId};
use routing::RouterConfig;
use store::{Fjall, Layout};
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader};

use crate::{measure, timed::Timed};

/// The command that starts a node.
pub(crate) const SERVE: &str = "serve-node";

/// Runs node NUMBER in DIRECTORY until the standard input ends, and answers each line there with a
/// line of figures. Given [`ROUTING`], it takes part in routing, and joins through an ADDRESS.
pub(crate) async fn serve(arguments: &[String]) -> Result<()> {
    let [directory, number, routing @ ..] = arguments else { bail!("DIRECTORY NUMBER, please") };
    let seed = seed(number.parse()?);
    let key = || SigningKey::from_seed(seed);
    let (store, timings) = Timed::new(open_store(Path::new(directory))?);
    let settings = Settings {
        listen: Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]),
        // All peers have one address here.
        connections_per_ip_max: 20_000,
        ..Settings::new(Keys::One(Identity::from_seed(seed)))
    };
    let config = NodeConfig {
        key: Some(key()),
        routing: routing.first().map(|_| RouterConfig::new(key())),
        ..NodeConfig::new(node_id(seed))
    };
    let mut running = Driver::<Node>::start(settings, config, store).await?;
    let mut events = running.take_events().context("no events")?;
    let (commands, addresses) = (running.commands(), running.local_addresses());
    let address = NodeAddress { node: node_id(seed), addresses: addresses.clone() };
    if !routing.is_empty() {
        commands.send(NodeCommand::Addresses(addresses)).await?;
    }
    if let Some(through) = routing.get(1) {
        commands.send(NodeCommand::Join(through.parse()?)).await?;
    }
    println!("{address}");
    let mut lines = AsyncBufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(_) => commands.send(NodeCommand::Status(1)).await?,
                None => break,
            },
            event = events.recv() => if let Some(NodeEvent::Status { status, .. }) = event {
                let noted = timings.take();
                let sync = noted.syncs.percentile(50).as_micros();
                print!("{} {sync} {} ", noted.syncs.len(), noted.applying.as_micros());
                print!("{} {} {} ", status.contacts, status.links, status.neighbours);
                println!("{} {}", status.records, status.routing.requests);
            },
        }
    }
    Ok(running.shutdown().await?)
}

/// Opens the store of a node that does not run.
pub(crate) fn open_store(directory: &Path) -> Result<Fjall> {
    let layout = Layout { name: LAYOUT_NAME, version: LAYOUT_VERSION, migrations: &[] };
    Ok(Fjall::open(directory, &layout)?)
}

/// A node at work; it ends with this value, as after `kill -9`.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: NodeAddress,
}

/// What a node of this binary tells of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Syncs since the last time.
    pub(crate) syncs: u64,
    pub(crate) sync_p50: Duration,
    /// Time spent applying batches since the last time.
    pub(crate) applying: Duration,
    pub(crate) contacts: u64,
    pub(crate) links: u64,
    pub(crate) neighbours: u64,
    pub(crate) records: u64,
    pub(crate) requests: u64,
}

impl NodeProcess {
    /// Starts a node of this binary. Nodes of different numbers have different names.
    pub(crate) fn start(number: usize, directory: &Path) -> Result<Self> {
        Self::spawn(own(number, directory)?)
    }

    /// Starts a node that takes part in routing, and joins through another one.
    pub(crate) fn join(
        number: usize,
        directory: &Path,
        through: Option<&NodeAddress>,
    ) -> Result<Self> {
        let mut command = own(number, directory)?;
        command.arg(ROUTING).args(through.map(ToString::to_string));
        Self::spawn(command)
    }

    /// Starts the program on what is in a directory.
    pub(crate) fn siskin(directory: &Path) -> Result<Self> {
        let mut command = Command::new(program()?);
        command.args(["node", "run", "--exit-on-stdin-close", "--no-mdns"]);
        command.args(["--listen", "127.0.0.1:0", "--disk-cap", DISK_CAP, "--data-dir"]);
        command.arg(directory).env("RUST_LOG", "warn");
        Self::spawn(command)
    }

    /// Waits until the node listens.
    fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("a node did not start");
        };
        Ok(Self { child, input, output, address })
    }

    pub(crate) fn address(&self) -> &NodeAddress {
        &self.address
    }

    pub(crate) fn figures(&mut self) -> Result<Figures> {
        let input = self.input.as_mut().context("the node is gone")?;
        input.write_all(b"\n")?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().context("no figures")?.context("no figure");
        let syncs = next()?;
        let [sync_p50, applying] = [next()?, next()?].map(Duration::from_micros);
        let [contacts, links, neighbours] = [next()?, next()?, next()?];
        let (records, requests) = (next()?, next()?);
        Ok(Figures { syncs, sync_p50, applying, contacts, links, neighbours, records, requests })
    }

    pub(crate) fn processor_time(&self) -> Result<Duration> {
        measure::processor_time(self.child.id())
    }

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        measure::memory_kib(self.child.id())
    }

    /// Lets it finish what it does.
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

/// The command that starts this binary as a node.
fn own(number: usize, directory: &Path) -> Result<Command> {
    // To look into a node, put a profiler's command in front of its own.
    let under = std::env::var(UNDER).unwrap_or_default();
    let this = std::env::current_exe()?.into_os_string();
    let mut words = under.split_whitespace().map(OsString::from).chain([this]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(SERVE).arg(directory).arg(number.to_string());
    Ok(command)
}

/// The program that was built beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("siskin");
    if !path.is_file() {
        bail!("{} is not there: cargo build --release -p siskin makes it", path.display());
    }
    Ok(path)
}

pub(crate) fn node_id(seed: [u8; 32]) -> NodeId {
    NodeId(Identity::from_seed(seed).public().0)
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0xB0; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

const UNDER: &str = "BENCH_NODE_UNDER";
const ROUTING: &str = "routing";
/// All that the benchmark stores fits.
const DISK_CAP: &str = "64GiB";
