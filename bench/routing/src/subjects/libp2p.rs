//! rust-libp2p's Kademlia over QUIC, set up as one would for hostile peers: records are checked
//! before they are stored, lookups take disjoint paths, dead peers are found in 2 s and forgotten.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use libp2p::{Multiaddr, PeerId, kad::RecordKey};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{mpsc, oneshot},
};

use self::node::{Answer, Command};
use super::{Dht, Outcome};
use crate::record::Record;

mod node;

/// Nodes, each a task of its own.
#[derive(Debug)]
pub(super) struct Network {
    nodes: Vec<Node>,
    mortal: BTreeSet<usize>,
    /// A connection that is dropped says goodbye, in a task of its own. Only the end of all tasks
    /// is silent, so those that are to die have a runtime of their own.
    deathbed: Option<Runtime>,
}

#[derive(Debug)]
struct Node {
    commands: mpsc::Sender<Command>,
    connections: Arc<AtomicUsize>,
    address: (PeerId, Multiaddr),
}

impl Dht for Network {
    async fn start(count: usize, mortal: &BTreeSet<usize>) -> Result<Self> {
        let deathbed = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let runtimes = [Handle::current(), deathbed.handle().clone()];
        let deathbed = Some(deathbed);
        let mut network = Self { nodes: Vec::new(), mortal: mortal.clone(), deathbed };
        let mut dice = ChaCha20Rng::seed_from_u64(SEED);
        for number in 0..count {
            let mut seed = [0; 32];
            dice.fill_bytes(&mut seed);
            let [lasting, mortals] = &runtimes;
            let runtime = if mortal.contains(&number) { mortals } else { lasting };
            network.nodes.push(Node::start(seed, runtime).await?);
        }
        let entrance = &network.node(0)?.address;
        let joining = network.nodes.iter().skip(1).map(|node| node.join(entrance));
        stream::iter(joining).buffer_unordered(JOINING_MAX).try_collect::<Vec<()>>().await?;
        Ok(network)
    }

    async fn put(&self, from: usize, record: &Record) -> Outcome {
        let key = RecordKey::new(&record.key());
        let bytes = record.encode();
        self.ask(from, |reply| Command::Put { key, bytes, reply }).await
    }

    async fn get(&self, at: usize, sought: &Record) -> Outcome {
        let (key, version) = (RecordKey::new(&sought.key()), sought.version());
        self.ask(at, |reply| Command::Get { key, version, reply }).await
    }

    fn kill(&mut self) {
        if let Some(deathbed) = self.deathbed.take() {
            deathbed.shutdown_background();
        }
    }

    fn connections(&self) -> Vec<usize> {
        let dead = self.deathbed.is_none();
        let living = (0..).zip(&self.nodes).filter(|(n, _)| !(dead && self.mortal.contains(n)));
        living.map(|(_, node)| node.connections.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A runtime must not be dropped by a task, only left to end by itself.
        self.kill();
    }
}

impl Network {
    fn node(&self, number: usize) -> Result<&Node> {
        self.nodes.get(number).context("no such node")
    }

    async fn ask(
        &self,
        number: usize,
        command: impl FnOnce(oneshot::Sender<Answer>) -> Command,
    ) -> Outcome {
        let start = Instant::now();
        let answer = async { self.node(number)?.ask(command).await }.await;
        // A query that cannot even begin has failed.
        let answer = answer.unwrap_or_default();
        Outcome::told(start.elapsed(), answer.success, Some(answer.requests))
    }
}

impl Node {
    async fn start(seed: [u8; 32], runtime: &Handle) -> Result<Self> {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let connections = Arc::new(AtomicUsize::new(0));
        let (ready, address) = oneshot::channel();
        // Sockets and their tasks belong to the runtime in which they are made.
        runtime.spawn(node::run(seed, receiver, connections.clone(), ready));
        let address = tokio::time::timeout(LISTEN_MAX, address).await??;
        Ok(Self { commands, connections, address })
    }

    /// Joins through `entrance`: looks itself up, then each bucket.
    async fn join(&self, entrance: &(PeerId, Multiaddr)) -> Result<()> {
        for _ in 0..JOIN_TRIES {
            let entrance = entrance.clone();
            let answer = self.ask(|reply| Command::Join { entrance, reply }).await?;
            if answer.success {
                return Ok(());
            }
        }
        bail!("a node could not join");
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Answer>) -> Command,
    ) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.context("the node is dead")?;
        answer.await.context("the node died")
    }
}

/// Where nodes listen: any port on loopback.
fn anywhere() -> Multiaddr {
    Multiaddr::from(Ipv4Addr::LOCALHOST)
        .with(libp2p::multiaddr::Protocol::Udp(0))
        .with(libp2p::multiaddr::Protocol::QuicV1)
}

const SEED: u64 = 2;
/// More at once would only share the same processors, and miss deadlines.
const JOINING_MAX: usize = 2;
/// A lookup that runs out of time on a busy machine is no reason to stay away.
const JOIN_TRIES: usize = 5;
const COMMANDS_MAX: usize = 16;
const LISTEN_MAX: Duration = Duration::from_secs(5);
