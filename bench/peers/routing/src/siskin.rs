//! Siskin's own routing: the machine alone, under the real driver, with rows in memory.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use crypto::{
    SigningKey,
    identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
};
use net::{Driver, Events, Identity, Keys, Running, Settings};
use proto::{Key, NodeAddress, NodeId, Record, Table};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use routing::{Router, RouterCommand, RouterConfig, RouterEvent};
use store::Memory;
use tokio::{runtime::Handle, time::timeout};

use crate::subject::{Get, JOIN_MAX, OPERATION_MAX, Put, Subject};

/// Routers at work.
pub(crate) struct Siskin {
    /// None where it was killed.
    nodes: Vec<Option<Node>>,
    tickets: u64,
}

struct Node {
    running: Running<Router>,
    events: Events<RouterEvent>,
}

/// An account's bundle.
pub(crate) struct Bundle {
    key: Key,
    bytes: Vec<u8>,
}

impl Subject for Siskin {
    type Record = Bundle;

    const NAME: &'static str = "siskin";

    fn record(number: u64) -> Result<Bundle> {
        let mut rng = ChaCha20Rng::from_seed(seed(b"account", number));
        let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4440));
        let record = UnsignedRecord {
            version: 1,
            devices: vec![Device {
                key: SigningKey::from_seed(seed(b"device", number)).public(),
                added_s: 0,
            }],
            homes: vec![NodeAddress { node: NodeId([1; 32]), addresses: vec![address] }],
            copies: 2,
            inbox_key: InboxKey::from_seed([7; 32]).public(),
        };
        let bundle = authority.sign_record(record).ok().context("the record is no good")?;
        Ok(Bundle { key: bundle.account().into(), bytes: bundle.as_bytes().to_vec() })
    }

    async fn start(nodes: usize, runtime: impl Fn(usize) -> Handle) -> Result<Self> {
        // A node must know its port before it starts. All are held first, so that none is taken
        // twice.
        let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let held = (0..nodes).map(bind).collect::<Result<Vec<_>, _>>()?;
        let mut door = None;
        let mut started = Vec::new();
        for (number, socket) in held.into_iter().enumerate() {
            let address = socket.local_addr()?;
            drop(socket);
            let start = start_node(number, address, door.clone());
            let mut node = runtime(number).spawn(start).await??;
            match &door {
                Some(_) => {
                    timeout(JOIN_MAX, node.joined()).await.context("not joined")??;
                }
                None => door = Some(node_address(number, address)),
            }
            started.push(Some(node));
        }
        Ok(Self { nodes: started, tickets: 0 })
    }

    async fn holds(&self, node: usize, record: &Bundle) -> bool {
        let Some(Some(node)) = self.nodes.get(node) else { return false };
        let key = record.key;
        node.running.read(move |rows| rows.get(RECORDS, &key.0).is_some()).await.unwrap_or(false)
    }

    async fn put(&mut self, node: usize, record: &Bundle) -> Result<Put> {
        let (node, ticket) = self.next(node)?;
        let began = Instant::now();
        node.command(RouterCommand::Publish { ticket, bundle: record.bytes.clone() }).await?;
        let published = async {
            loop {
                match node.next().await? {
                    RouterEvent::Published { ticket: t, copies, requests } if t == ticket => {
                        return anyhow::Ok((copies, requests));
                    }
                    _ => {}
                }
            }
        };
        let (copies, requests) = timeout(OPERATION_MAX, published).await??;
        Ok(Put { took: began.elapsed(), copies, requests: Some(requests) })
    }

    async fn get(&mut self, node: usize, record: &Bundle) -> Result<Get> {
        let (node, ticket) = self.next(node)?;
        let began = Instant::now();
        let wanted = &Record::Account(record.bytes.clone());
        node.command(RouterCommand::Lookup { ticket, target: record.key, insist: false }).await?;
        let looked_up = async {
            let mut first = None;
            loop {
                match node.next().await? {
                    RouterEvent::Found { ticket: t, record }
                        if t == ticket && record == *wanted =>
                    {
                        first = Some(began.elapsed());
                    }
                    RouterEvent::LookedUp { ticket: t, result } if t == ticket => {
                        return anyhow::Ok((first, result));
                    }
                    _ => {}
                }
            }
        };
        let (first, result) = timeout(OPERATION_MAX, looked_up).await??;
        ensure!(result.record == Some(wanted.clone()), "not found");
        let end = began.elapsed();
        Ok(Get { first: first.unwrap_or(end), end, requests: Some(result.requests) })
    }

    fn kill(&mut self, nodes: &[usize]) -> Result<()> {
        for node in nodes {
            // Its thread ends, and has nothing left that it could say goodbye with.
            *self.nodes.get_mut(*node).context("no such node")? = None;
        }
        Ok(())
    }

    async fn connections(&self, nodes: &[usize]) -> Result<Vec<usize>> {
        let running = nodes.iter().filter_map(|node| self.nodes.get(*node)?.as_ref());
        Ok(running.map(|node| node.running.counters().connections as usize).collect())
    }
}

impl Siskin {
    fn next(&mut self, node: usize) -> Result<(&mut Node, u64)> {
        self.tickets += 1;
        let node = self.nodes.get_mut(node).and_then(Option::as_mut).context("no such node")?;
        Ok((node, self.tickets))
    }
}

impl Node {
    async fn next(&mut self) -> Result<RouterEvent> {
        self.events.recv().await.context("the node has stopped")
    }

    async fn joined(&mut self) -> Result<()> {
        while self.next().await? != RouterEvent::Joined {}
        Ok(())
    }

    async fn command(&self, command: RouterCommand) -> Result<()> {
        self.running.commands().send(command).await.ok().context("the node has stopped")
    }
}

async fn start_node(number: usize, address: SocketAddr, door: Option<NodeAddress>) -> Result<Node> {
    let config = RouterConfig {
        addresses: vec![address],
        join: door.into_iter().collect(),
        ..RouterConfig::new(SigningKey::from_seed(seed(b"node", number as u64)))
    };
    let identity = Identity::from_seed(seed(b"node", number as u64));
    let settings = Settings { listen: Some(vec![address]), ..Settings::new(Keys::One(identity)) };
    let mut running = Driver::<Router>::start(settings, config, Memory::new()).await?;
    let events = running.take_events().context("no events")?;
    Ok(Node { running, events })
}

fn node_address(number: usize, address: SocketAddr) -> NodeAddress {
    let key = SigningKey::from_seed(seed(b"node", number as u64)).public();
    NodeAddress { node: NodeId(key.0), addresses: vec![address] }
}

fn seed(of: &[u8], number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    for (byte, from) in seed.iter_mut().zip(number.to_be_bytes().iter().chain(of)) {
        *byte = *from;
    }
    seed
}

/// Where routing keeps records of others (`kept.rs`).
const RECORDS: Table = Table(32);
