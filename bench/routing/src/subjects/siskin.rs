//! Ours: the routing machine alone, each node in the driver that real nodes have, over rows in
//! memory. Records are accounts' bundles, which take three times as much as the others' records.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use crypto::{Authority, Bundle, Device, InboxKey, Phrase, RecordDraft, SigningKey};
use futures::FutureExt;
use net::{Driver, Events, Identity, Keys, Running, Settings};
use proto::{Key, NodeAddress, NodeId, Record as Stored};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use routing::{Router, RouterCommand, RouterConfig, RouterEvent};
use store::Memory;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
};

use super::{Dht, Outcome};
use crate::record::Record;

/// Nodes by number; those that died are none.
pub(super) struct Network {
    nodes: Vec<Option<Node>>,
    mortal: BTreeSet<usize>,
    /// A driver that is dropped says goodbye. Only the end of all its tasks is silent, so those
    /// that are to die have a runtime of their own.
    deathbed: Option<Runtime>,
    /// Bundles are made before the clock runs: a node is handed them by devices.
    bundles: Mutex<BTreeMap<([u8; 32], u32), Arc<Bundle>>>,
}

struct Node {
    running: Running<Router>,
    desk: Arc<Desk>,
    address: NodeAddress,
}

/// Who waits for which answer.
#[derive(Default)]
struct Desk {
    waiting: Mutex<(u64, BTreeMap<u64, mpsc::UnboundedSender<RouterEvent>>)>,
    joined: watch::Sender<bool>,
}

impl Dht for Network {
    async fn start(count: usize, mortal: &BTreeSet<usize>) -> Result<Self> {
        let deathbed = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut dice = ChaCha20Rng::seed_from_u64(SEED);
        let mut nodes: Vec<Option<Node>> = Vec::new();
        for number in 0..count {
            let mut seed = [0; 32];
            dice.fill_bytes(&mut seed);
            let through = nodes.first().and_then(Option::as_ref).map(|node| node.address.clone());
            let node = if mortal.contains(&number) {
                deathbed.spawn(Node::start(seed, through)).await??
            } else {
                Node::start(seed, through).await?
            };
            nodes.push(Some(node));
        }
        for node in nodes.iter().flatten() {
            node.desk.joined.subscribe().wait_for(|joined| *joined).await?;
        }
        let (mortal, deathbed) = (mortal.clone(), Some(deathbed));
        Ok(Self { nodes, mortal, deathbed, bundles: Mutex::default() })
    }

    async fn put(&self, from: usize, record: &Record) -> Outcome {
        let bundle = self.bundle(record);
        let start = Instant::now();
        let Some(node) = self.node(from) else { return failed(start) };
        let bundle = bundle.as_bytes().to_vec();
        let (ticket, mut answers) = node.desk.ticket();
        node.tell(RouterCommand::Publish { ticket, bundle }).await;
        while let Some(event) = answers.recv().await {
            if let RouterEvent::Published { copies, requests, .. } = event {
                let stored = u32::try_from(copies).ok();
                let outcome = Outcome::told(start.elapsed(), copies >= QUORUM, Some(requests));
                return Outcome { stored, ..outcome };
            }
        }
        failed(start)
    }

    async fn get(&self, at: usize, sought: &Record) -> Outcome {
        let target = Key::from(self.bundle(sought).account());
        let version = u64::from(sought.version());
        let start = Instant::now();
        let Some(node) = self.node(at) else { return failed(start) };
        let (ticket, mut answers) = node.desk.ticket();
        node.tell(RouterCommand::Lookup { ticket, target, insist: false }).await;
        let is_it = move |record: &Stored| {
            let Stored::Account(bytes) = record else { return false };
            // Verified by the node, as by the device that asks.
            Bundle::verify(bytes).is_ok_and(|found| {
                Key::from(found.account()) == target && found.rank().2 >= version
            })
        };
        while let Some(event) = answers.recv().await {
            match event {
                RouterEvent::Found { record, .. } if is_it(&record) => {
                    let took = start.elapsed();
                    // The lookup goes on behind the answer, until three have said the same.
                    let requests = async move {
                        while let Some(event) = answers.recv().await {
                            if let RouterEvent::LookedUp { result, .. } = event {
                                return Some(result.requests);
                            }
                        }
                        None
                    };
                    return Outcome {
                        took,
                        success: true,
                        requests: requests.boxed(),
                        stored: None,
                    };
                }
                RouterEvent::LookedUp { result, .. } => {
                    let success = result.record.as_ref().is_some_and(is_it);
                    return Outcome::told(start.elapsed(), success, Some(result.requests));
                }
                _ => {}
            }
        }
        failed(start)
    }

    fn kill(&mut self) {
        if let Some(deathbed) = self.deathbed.take() {
            deathbed.shutdown_background();
        }
        for number in &self.mortal {
            if let Some(node) = self.nodes.get_mut(*number).and_then(Option::take) {
                // Nothing it says leaves it any more, and dropping it would wait for that.
                std::mem::forget(node.running);
            }
        }
    }

    fn connections(&self) -> Vec<usize> {
        let connections = |node: &Node| node.running.counters().connections;
        let living = self.nodes.iter().flatten().map(connections);
        living.map(|count| usize::try_from(count).unwrap_or_default()).collect()
    }
}

impl Network {
    fn node(&self, number: usize) -> Option<&Node> {
        self.nodes.get(number)?.as_ref()
    }

    /// The record as the bundle of an account.
    fn bundle(&self, record: &Record) -> Arc<Bundle> {
        let owner = record.owner().to_bytes();
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(make(owner, record.version()));
        Arc::clone(bundles.entry((owner, record.version())).or_insert_with(make))
    }
}

impl Node {
    async fn start(seed: [u8; 32], through: Option<NodeAddress>) -> Result<Self> {
        let settings = Settings {
            listen: Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]),
            ..Settings::new(Keys::One(Identity::from_seed(seed)))
        };
        let key = SigningKey::from_seed(seed);
        let node = NodeId(key.public().0);
        let config = RouterConfig::new(key);
        let mut running = Driver::<Router>::start(settings, config, Memory::new()).await?;
        let addresses = running.local_addresses();
        let desk = Arc::<Desk>::default();
        let events = running.take_events().context("no events")?;
        tokio::spawn(Arc::clone(&desk).hand_out(events));
        let node = Self { running, desk, address: NodeAddress { node, addresses } };
        node.tell(RouterCommand::Addresses(node.address.addresses.clone())).await;
        if let Some(through) = through {
            node.tell(RouterCommand::Join(through)).await;
        }
        Ok(node)
    }

    async fn tell(&self, command: RouterCommand) {
        // Whoever is gone does not answer, and that is noticed.
        let _ = self.running.commands().send(command).await;
    }
}

impl Desk {
    fn ticket(&self) -> (u64, mpsc::UnboundedReceiver<RouterEvent>) {
        let (answer, answers) = mpsc::unbounded_channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 += 1;
        let ticket = waiting.0;
        waiting.1.insert(ticket, answer);
        (ticket, answers)
    }

    async fn hand_out(self: Arc<Self>, mut events: Events<RouterEvent>) {
        while let Some(event) = events.recv().await {
            let (ticket, is_last) = match &event {
                RouterEvent::Joined => {
                    self.joined.send_replace(true);
                    continue;
                }
                RouterEvent::Found { ticket, .. } => (*ticket, false),
                RouterEvent::LookedUp { ticket, .. } | RouterEvent::Published { ticket, .. } => {
                    (*ticket, true)
                }
                _ => continue,
            };
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = waiting.1.get(&ticket) {
                // Who gave up waiting needs no answer.
                let _ = answer.send(event);
            }
            if is_last {
                waiting.1.remove(&ticket);
            }
        }
    }
}

fn make(owner: [u8; 32], version: u32) -> Bundle {
    let mut dice = ChaCha20Rng::from_seed(owner);
    let authority = Authority::create(&Phrase::generate(&mut dice), &mut dice);
    let home = NodeAddress { node: NodeId([1; 32]), addresses: vec![([192, 0, 2, 1], 4440).into()] };
    let draft = RecordDraft {
        version: version.into(),
        devices: vec![Device { key: SigningKey::from_seed(owner).public(), added_s: 1 }],
        homes: vec![home],
        inbox_key: InboxKey::from_seed(owner).public(),
    };
    authority.sign_record(draft).expect("within all limits")
}

fn failed(start: Instant) -> Outcome {
    Outcome::told(start.elapsed().max(Duration::from_nanos(1)), false, None)
}

const SEED: u64 = 3;
/// As many of 20 as are asked of libp2p.
const QUORUM: usize = 11;
