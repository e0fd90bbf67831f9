//! The world of these tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crypto::{Authority, Device, InboxKey, Phrase, RecordDraft, SigningKey, Verifier};
use proto::{
    Direction, Frame, Input, Instant, Key, Machine, NodeAddress, NodeId, Output, Peer, Record,
    RelayPort, RelayToken, Rows, Seed, Table, Visit, WriteBatch,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use routing::{LookedUp, Router, RouterCommand, RouterConfig, RouterEvent};

pub(crate) const WORK_BITS: u32 = 2;
/// The port that every relay gives.
pub(crate) const RELAYED: u16 = 9999;
const LATENCY: Duration = Duration::from_millis(20);

/// Rows in memory.
#[derive(Default)]
pub(crate) struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Memory {
    fn apply(&mut self, batch: &WriteBatch) {
        for (table, key, value) in batch.iter() {
            match value {
                Some(value) => self.0.insert((table, key.to_vec()), value.to_vec()),
                None => self.0.remove(&(table, key.to_vec())),
            };
        }
    }
}

impl Rows for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], _: Direction, visit: Visit<'_>) {
        for ((_, key), value) in self.0.range((table, from.to_vec())..(table, to.to_vec())) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}

pub(crate) struct Host {
    pub(crate) router: Option<Router>,
    pub(crate) rows: Memory,
    pub(crate) links: BTreeSet<usize>,
    pub(crate) events: Vec<RouterEvent>,
    /// It can't be dialled where it says it is.
    hidden: bool,
    key: SigningKey,
    address: SocketAddr,
}

enum What {
    Connect(usize, usize),
    Connected(usize, usize),
    Frame(usize, usize, Frame),
    Disconnected(usize, usize),
    Relayed(usize, Peer, RelayPort),
    /// And who was dialled.
    Tried(usize, Peer, Option<usize>),
    Wake(usize),
}

/// Routers and what is on its way between them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) frames: u64,
    /// Connections that somebody ended.
    pub(crate) ended: u64,
    by_key: BTreeMap<Peer, usize>,
    agenda: BTreeMap<(Instant, u64), What>,
    woken: BTreeMap<usize, Instant>,
    number: u64,
}

impl World {
    /// So many nodes, each joined through the first.
    pub(crate) fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: Instant::from_secs(1_800_000_000),
            hosts: Vec::new(),
            frames: 0,
            ended: 0,
            by_key: BTreeMap::new(),
            agenda: BTreeMap::new(),
            woken: BTreeMap::new(),
            number: 0,
        };
        for _ in 0..nodes {
            world.add(&[0]);
            world.pass(Duration::from_millis(200));
        }
        world
    }

    /// Adds a node that joins through these.
    pub(crate) fn add(&mut self, through: &[usize]) -> usize {
        let number = self.hosts.len();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let key = SigningKey::from_seed(seed);
        let address =
            format!("{}.{}.{}.1:4440", 1 + number / 60_000, (number / 250) % 250, number % 250);
        self.by_key.insert(key.public(), number);
        self.hosts.push(Host {
            router: None,
            rows: Memory::default(),
            links: BTreeSet::new(),
            events: Vec::new(),
            hidden: false,
            key,
            address: address.parse().unwrap(),
        });
        self.start(number, through);
        number
    }

    /// Adds a node that nobody can dial, except through a relay.
    pub(crate) fn add_hidden(&mut self, through: &[usize]) -> usize {
        let number = self.add(through);
        self.hosts[number].hidden = true;
        number
    }

    /// Starts the process of a node.
    pub(crate) fn start(&mut self, number: usize, through: &[usize]) {
        let join = through.iter().filter(|n| **n != number).map(|n| self.address(*n)).collect();
        let host = &self.hosts[number];
        let config = RouterConfig {
            addresses: vec![host.address],
            join,
            verifier: Verifier::new(WORK_BITS),
            ..RouterConfig::new(host.key.clone())
        };
        let seed = Seed([number as u8; 32]);
        let router = Router::open(config, seed, self.now, &host.rows).unwrap();
        self.hosts[number].router = Some(router);
        self.drain(number);
    }

    pub(crate) fn address(&self, number: usize) -> NodeAddress {
        let host = &self.hosts[number];
        NodeAddress { node: NodeId(host.key.public().0), addresses: vec![host.address] }
    }

    pub(crate) fn router(&self, number: usize) -> &Router {
        self.hosts[number].router.as_ref().unwrap()
    }

    /// Ends a process without a word.
    pub(crate) fn kill(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        host.router = None;
        for other in std::mem::take(&mut host.links) {
            self.hosts[other].links.remove(&number);
            // Noticed by silence.
            self.enter(Duration::from_secs(10), What::Disconnected(other, number));
        }
    }

    pub(crate) fn command(&mut self, number: usize, command: RouterCommand) {
        self.handle(number, Input::Command(command));
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(((due, number), _)) = self.agenda.first_key_value()
            && *due <= end
        {
            let key = (*due, *number);
            let what = self.agenda.remove(&key).unwrap();
            self.now = key.0;
            self.happen(what);
        }
        self.now = end;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Connect(from, to) => {
                if self.hosts[to].router.is_some() && self.hosts[from].router.is_some() {
                    let replaces = !self.hosts[from].links.insert(to);
                    self.hosts[to].links.insert(from);
                    if replaces {
                        self.happen(What::Disconnected(to, from));
                        self.happen(What::Disconnected(from, to));
                    }
                    self.happen(What::Connected(to, from));
                    self.enter(LATENCY, What::Connected(from, to));
                }
            }
            What::Connected(at, peer) => {
                if self.hosts[at].links.contains(&peer) {
                    let met_at = self.hosts[peer].address;
                    let peer = self.hosts[peer].key.public();
                    self.handle(at, Input::Connected(peer, Some(met_at)));
                }
            }
            What::Frame(at, from, frame) => {
                if self.hosts[at].links.contains(&from) {
                    let peer = self.hosts[from].key.public();
                    self.frames += 1;
                    self.handle(at, Input::Frame(peer, frame));
                }
            }
            What::Disconnected(at, peer) => {
                let peer = self.hosts[peer].key.public();
                self.handle(at, Input::Disconnected(peer));
            }
            What::Relayed(at, peer, port) => self.handle(at, Input::Relayed(peer, Some(port))),
            What::Tried(at, peer, to) => {
                let is_there = to.is_some_and(|to| self.hosts[to].router.is_some());
                self.handle(at, Input::Tried(peer, is_there));
            }
            What::Wake(at) => {
                self.woken.remove(&at);
                let due = self.hosts[at].router.as_ref().and_then(Machine::poll_timeout);
                if due.is_some_and(|due| due <= self.now) {
                    self.handle(at, Input::Timeout);
                } else {
                    self.drain(at);
                }
            }
        }
    }

    /// Whether one gets to a node at these addresses.
    fn is_dialled(&self, to: usize, at_one_of: &[SocketAddr]) -> bool {
        !self.hosts[to].hidden || at_one_of.iter().any(|address| address.port() == RELAYED)
    }

    fn handle(&mut self, at: usize, input: Input<RouterCommand>) {
        let (now, host) = (self.now, &mut self.hosts[at]);
        if let Some(router) = &mut host.router {
            router.handle(input, now, &host.rows);
            for gauge in router.gauges() {
                assert!(gauge.value <= gauge.limit, "{gauge:?}");
            }
        }
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.hosts[at].router.as_mut().and_then(Machine::poll_output) {
            match output {
                Output::Commit(batch) | Output::Note(batch) => self.hosts[at].rows.apply(&batch),
                Output::Connect(peer, at_one_of) => {
                    if let Some(to) = self.by_key.get(&peer).copied()
                        && self.is_dialled(to, &at_one_of)
                    {
                        self.enter(LATENCY * 2, What::Connect(at, to));
                    }
                }
                Output::Disconnect(peer) => {
                    let Some(other) = self.by_key.get(&peer).copied() else { continue };
                    if self.hosts[at].links.remove(&other) {
                        self.ended += 1;
                        self.hosts[other].links.remove(&at);
                        self.enter(LATENCY, What::Disconnected(other, at));
                    }
                }
                Output::Transmit(peer, frame) => {
                    let to = self.by_key[&peer];
                    if self.hosts[at].links.contains(&to) {
                        self.enter(LATENCY, What::Frame(to, at, frame));
                    }
                }
                Output::Relay(peer) => {
                    let port = RelayPort { port: RELAYED, token: RelayToken([7; 16]) };
                    self.enter(Duration::ZERO, What::Relayed(at, peer, port));
                }
                Output::Tunnel { .. } => {}
                Output::Try(peer, at_one_of) => {
                    let to = self.by_key.get(&peer).copied();
                    let to = to.filter(|to| self.is_dialled(*to, &at_one_of));
                    self.enter(LATENCY * 2, What::Tried(at, peer, to));
                }
                Output::Event(event) => self.hosts[at].events.push(event),
            }
        }
        let due = self.hosts[at].router.as_ref().and_then(Machine::poll_timeout);
        if let Some(due) = due
            && self.woken.get(&at).is_none_or(|planned| *planned > due)
        {
            let due = due.max(self.now.after(Duration::from_micros(1)));
            self.woken.insert(at, due);
            self.number += 1;
            self.agenda.insert((due, self.number), What::Wake(at));
        }
    }

    fn enter(&mut self, after: Duration, what: What) {
        self.number += 1;
        self.agenda.insert((self.now.after(after), self.number), what);
    }

    /// Looks something up and returns what came of it.
    pub(crate) fn look_up(&mut self, at: usize, target: Key) -> LookedUp {
        let ticket = 1_000_000 + self.number;
        self.command(at, RouterCommand::Lookup { ticket, target, insist: false });
        for _ in 0..200 {
            let found = self.hosts[at].events.iter().find_map(|event| {
                let RouterEvent::LookedUp { ticket: t, result } = event else { return None };
                (*t == ticket).then(|| result.clone())
            });
            if let Some(found) = found {
                return found;
            }
            self.pass(Duration::from_millis(100));
        }
        panic!("the lookup has no end")
    }

    /// Publishes a bundle; returns how many keep it, and after how many requests.
    pub(crate) fn publish(&mut self, at: usize, bundle: &[u8]) -> (usize, u32) {
        let ticket = 2_000_000 + self.number;
        self.command(at, RouterCommand::Publish { ticket, bundle: bundle.to_vec() });
        for _ in 0..200 {
            let published = self.hosts[at].events.iter().find_map(|event| {
                let RouterEvent::Published { ticket: t, copies, requests } = event else {
                    return None;
                };
                (*t == ticket).then_some((*copies, *requests))
            });
            if let Some(published) = published {
                return published;
            }
            self.pass(Duration::from_millis(100));
        }
        panic!("the publication has no end")
    }
}

/// An account's bundle, of this version.
pub(crate) fn bundle(number: u64, version: u64) -> (Key, Vec<u8>) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let mut rng = ChaCha20Rng::from_seed(seed);
    let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
    let home =
        NodeAddress { node: NodeId([1; 32]), addresses: vec!["192.0.2.1:4440".parse().unwrap()] };
    let draft = RecordDraft {
        version,
        devices: vec![Device { key: SigningKey::from_seed(seed).public(), added_s: 0 }],
        homes: vec![home],
        copies: 2,
        inbox_key: InboxKey::from_seed([7; 32]).public(),
    };
    let bundle = authority.sign_record(draft).unwrap();
    (bundle.account().into(), bundle.as_bytes().to_vec())
}

pub(crate) fn account(bundle: Vec<u8>) -> Option<Record> {
    Some(Record::Account(bundle))
}
