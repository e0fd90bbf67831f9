//! One node of the network, in a process of its own: this very binary, started again.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use crypto::SigningKey;
use net::{Driver, Identity, Keys, Settings};
use node::{LAYOUT_NAME, LAYOUT_VERSION, Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{NodeAddress, NodeId};
use routing::RouterConfig;
use store::{Fjall, Layout};
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader};

use crate::measure;

/// The command that starts a node.
pub(crate) const SERVE: &str = "serve-member";

/// Runs a node in a directory until the standard input ends. Answers each line there with a line of
/// figures.
pub(crate) async fn serve(arguments: &[String]) -> Result<()> {
    let directory = arguments.first().context("in which directory?")?;
    let number: usize = arguments.get(1).context("which number?")?.parse()?;
    let layout = Layout { name: LAYOUT_NAME, version: LAYOUT_VERSION, migrations: &[] };
    let store = Fjall::open(Path::new(directory), &layout)?;
    let settings = Settings {
        listen: Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]),
        ..Settings::new(Keys::One(Identity::from_seed(seed(number))))
    };
    let routing = RouterConfig::new(SigningKey::from_seed(seed(number)));
    let config = NodeConfig { routing: Some(routing), ..NodeConfig::new(name(number)) };
    let mut running = Driver::<Node>::start(settings, config, store).await?;
    let mut events = running.take_events().context("no events")?;
    let (commands, addresses) = (running.commands(), running.local_addresses());
    commands.send(NodeCommand::Addresses(addresses.clone())).await?;
    if let Some(through) = arguments.get(2) {
        commands.send(NodeCommand::Join(through.parse()?)).await?;
    }
    println!("{}", addresses.first().context("not listening")?);
    let mut lines = AsyncBufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(_) => commands.send(NodeCommand::Status(1)).await?,
                None => break,
            },
            event = events.recv() => if let Some(NodeEvent::Status { status, .. }) = event {
                println!(
                    "{} {} {} {} {}",
                    status.contacts,
                    status.links,
                    status.neighbours,
                    status.records,
                    status.routing.requests,
                );
            },
        }
    }
    Ok(running.shutdown().await?)
}

/// A node at work; it ends with this value.
#[derive(Debug)]
pub(super) struct Member {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    number: usize,
    address: SocketAddr,
}

/// The status of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) contacts: u64,
    pub(super) links: u64,
    pub(super) neighbours: u64,
    pub(super) records: u64,
    pub(super) requests: u64,
}

impl Member {
    pub(super) fn start(
        directory: &Path,
        number: usize,
        through: Option<NodeAddress>,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE).arg(directory.join(number.to_string())).arg(number.to_string());
        command.args(through.map(|address| address.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            let _ = child.kill();
            bail!("node {number} did not start");
        };
        Ok(Self { child, input, output, number, address })
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn address(&self) -> NodeAddress {
        NodeAddress { node: name(self.number), addresses: vec![self.address] }
    }

    pub(super) fn figures(&mut self) -> Result<Figures> {
        let input = self.input.as_mut().context("the node is gone")?;
        input.write_all(b"\n")?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().context("no figures")?.context("no figure");
        let (contacts, links, neighbours) = (next()?, next()?, next()?);
        Ok(Figures { contacts, links, neighbours, records: next()?, requests: next()? })
    }

    pub(super) fn memory_kib(&self) -> Result<u64> {
        measure::memory_kib(self.child.id())
    }

    /// As `kill -9` does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Member {
    /// A node whose input ends stops by itself too, so none is left even if this never runs.
    fn drop(&mut self) {
        self.kill();
    }
}

fn name(number: usize) -> NodeId {
    NodeId(Identity::from_seed(seed(number)).public().0)
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0xC0; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}
