//! Several nodes and the devices that talk to them, over an event queue: no sockets, time that is
//! told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crypto::SigningKey;
use node::{Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{
    Body, Frame, Hello, Input, Instant, Machine, NodeAddress, NodeId, Output, Peer, PublicKey,
    Reach, Reached, Record, Routing, Seed, VERSIONS,
};
use routing::RouterConfig;
use store::{Memory, Store};

use crate::world::{Account, START};

/// One node.
pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) store: Memory,
    pub(crate) events: Vec<NodeEvent>,
    key: SigningKey,
    links: BTreeSet<Peer>,
}

enum What {
    Connect(usize, usize),
    Input(usize, Box<Input<NodeCommand>>),
    Wake(usize),
}

/// Nodes, and what is on its way between them.
pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    /// What devices were told.
    pub(crate) told: BTreeMap<Peer, Vec<Frame>>,
    /// Every frame that a node said to a node.
    pub(crate) said: Vec<(usize, Body)>,
    agenda: BTreeMap<(Instant, u64), What>,
    number: u64,
    seeds: u8,
}

impl Network {
    /// So many nodes, each joined through the first.
    pub(crate) fn new(nodes: usize) -> Self {
        let mut network = Self {
            now: START,
            hosts: Vec::new(),
            told: BTreeMap::new(),
            said: Vec::new(),
            agenda: BTreeMap::new(),
            number: 0,
            seeds: 0,
        };
        for number in 0..nodes {
            network.hosts.push(Host {
                node: None,
                store: Memory::new(),
                events: Vec::new(),
                key: SigningKey::from_seed([100 + number as u8; 32]),
                links: BTreeSet::new(),
            });
            network.start(number, &[0]);
        }
        network.pass(30);
        network
    }

    /// Opens a node from its rows.
    pub(crate) fn start(&mut self, at: usize, through: &[usize]) {
        let join = through.iter().filter(|n| **n != at).map(|n| self.address(*n)).collect();
        let routing = RouterConfig {
            addresses: self.address(at).addresses,
            join,
            verifier: crypto::Verifier::new(WORK_BITS),
            ..RouterConfig::new(self.hosts[at].key.clone())
        };
        let config = NodeConfig { routing: Some(routing), ..NodeConfig::new(self.id(at)) };
        self.seeds += 1;
        let seed = Seed([self.seeds; 32]);
        let node = Node::open(config, seed, self.now, &self.hosts[at].store).unwrap();
        self.hosts[at].node = Some(node);
        self.drain(at);
    }

    /// Ends a process without a word.
    pub(crate) fn kill(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.node = None;
        let (peer, links) = (host.key.public(), std::mem::take(&mut host.links));
        for other in links {
            if let Some(other) = self.by_peer(&other) {
                self.hosts[other].links.remove(&peer);
                self.enter(LATENCY, What::Input(other, Box::new(Input::Disconnected(peer))));
            }
        }
    }

    pub(crate) fn id(&self, at: usize) -> NodeId {
        NodeId(self.hosts[at].key.public().0)
    }

    pub(crate) fn peer(&self, at: usize) -> Peer {
        self.hosts[at].key.public()
    }

    pub(crate) fn address(&self, at: usize) -> NodeAddress {
        let address = format!("127.0.0.1:{}", 4440 + at).parse().unwrap();
        NodeAddress { node: self.id(at), addresses: vec![address] }
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        self.hosts[at].node.as_ref().unwrap()
    }

    /// A device connects and says Hello.
    pub(crate) fn connect(&mut self, at: usize, device: u8) -> Peer {
        let peer = self.connect_silently(at, device);
        self.say(at, peer, 0, Body::Hello(Hello { versions: VERSIONS, nonce: [9; 16] }));
        peer
    }

    pub(crate) fn connect_silently(&mut self, at: usize, device: u8) -> Peer {
        let peer = PublicKey([device; 32]);
        self.hosts[at].links.insert(peer);
        self.handle(at, Input::Connected(peer, None));
        peer
    }

    pub(crate) fn hang_up(&mut self, at: usize, peer: Peer) {
        self.hosts[at].links.remove(&peer);
        self.handle(at, Input::Disconnected(peer));
    }

    /// A peer says something to a node.
    pub(crate) fn say(&mut self, at: usize, peer: Peer, request: u32, body: Body) {
        self.handle(at, Input::Frame(peer, Frame { request, body }));
    }

    /// A device asks, and waits for the answer.
    pub(crate) fn ask(&mut self, at: usize, peer: Peer, body: Body) -> Body {
        self.number += 1;
        let request = self.number as u32;
        self.say(at, peer, request, body);
        self.answer(peer, request)
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(&mut self, peer: Peer, request: u32) -> Body {
        for _ in 0..400 {
            let frames = self.told.entry(peer).or_default();
            if let Some(at) = frames.iter().position(|frame| frame.request == request) {
                return frames.remove(at).body;
            }
            self.pass_for(Duration::from_millis(50));
        }
        panic!("no answer")
    }

    /// An account at home at a node.
    pub(crate) fn register(&mut self, at: usize, seed: u8) -> Account {
        let account = Account::at(seed, self.id(at));
        let device = self.connect(at, seed);
        let put = Body::PutBundle(account.bundle.as_bytes().to_vec());
        assert!(matches!(self.ask(at, device, put), Body::Accepted { .. }));
        // Publication follows.
        self.pass(1);
        account
    }

    pub(crate) fn command(&mut self, at: usize, command: NodeCommand) {
        self.handle(at, Input::Command(command));
    }

    /// How often nodes were asked to keep an account's bundle.
    pub(crate) fn stores(&self, account: &Account) -> usize {
        let wanted = Record::Account(account.bundle.as_bytes().to_vec());
        let is_it = |(_, body): &&(usize, Body)| matches!(body, Body::Routing(Routing::Store { record, .. }) if *record == wanted);
        self.said.iter().filter(is_it).count()
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.pass_for(Duration::from_secs(seconds));
    }

    fn pass_for(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= end
        {
            let ((now, _), what) = entry.remove_entry();
            self.now = now;
            match what {
                What::Connect(from, to) => self.meet(from, to),
                What::Input(at, input) => {
                    let knows = match &*input {
                        Input::Frame(peer, _) | Input::Connected(peer, _) => {
                            self.hosts[at].links.contains(peer)
                        }
                        _ => true,
                    };
                    if knows {
                        self.handle(at, *input);
                    }
                }
                What::Wake(at) => {
                    let due = self.hosts[at].node.as_ref().and_then(Machine::poll_timeout);
                    if due.is_some_and(|due| due <= self.now) {
                        self.handle(at, Input::Timeout);
                    }
                }
            }
        }
        self.now = end;
    }

    fn meet(&mut self, from: usize, to: usize) {
        let (a, b) = (self.peer(from), self.peer(to));
        if self.hosts[to].node.is_some() && self.hosts[from].links.insert(b) {
            self.hosts[to].links.insert(a);
            let [at_from, at_to] = [from, to].map(|at| self.address(at).addresses.first().copied());
            self.handle(from, Input::Connected(b, at_to));
            self.handle(to, Input::Connected(a, at_from));
        }
    }

    fn handle(&mut self, at: usize, input: Input<NodeCommand>) {
        let host = &mut self.hosts[at];
        if let Some(node) = &mut host.node {
            node.handle(input, self.now, &host.store);
            for gauge in node.gauges() {
                assert!(gauge.value <= gauge.limit, "{gauge:?}");
            }
        }
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        let own = self.peer(at);
        while let Some(output) = self.hosts[at].node.as_mut().and_then(Machine::poll_output) {
            match output {
                Output::Commit(batch) => {
                    self.hosts[at].store.apply(&batch).unwrap();
                    self.hosts[at].store.sync().unwrap();
                }
                Output::Note(batch) => self.hosts[at].store.apply(&batch).unwrap(),
                Output::Connect(peer, _) => {
                    let to = self.by_peer(&peer).unwrap();
                    self.enter(LATENCY * 2, What::Connect(at, to));
                }
                Output::Disconnect(peer) => self.close(at, peer),
                // There are no NATs here.
                Output::Reach(Reach::Relay(_) | Reach::Tunnel { .. }) => {}
                Output::Reach(Reach::Try(peer, _)) => {
                    let to = self.by_peer(&peer);
                    let is_there = to.is_some_and(|to| self.hosts[to].node.is_some());
                    let answer = Box::new(Input::Reached(Reached::Tried(peer, is_there)));
                    self.enter(LATENCY * 2, What::Input(at, answer));
                }
                Output::Transmit(peer, frame) => match self.by_peer(&peer) {
                    Some(to) if self.hosts[at].links.contains(&peer) => {
                        self.said.push((at, frame.body.clone()));
                        self.enter(LATENCY, What::Input(to, Box::new(Input::Frame(own, frame))));
                    }
                    Some(_) => {}
                    None => self.told.entry(peer).or_default().push(frame),
                },
                Output::Event(event) => self.hosts[at].events.push(event),
            }
        }
        if let Some(due) = self.hosts[at].node.as_ref().and_then(Machine::poll_timeout) {
            let due = due.max(self.now);
            self.number += 1;
            self.agenda.insert((due, self.number), What::Wake(at));
        }
    }

    fn close(&mut self, at: usize, peer: Peer) {
        let own = self.peer(at);
        if self.hosts[at].links.remove(&peer) {
            self.enter(Duration::ZERO, What::Input(at, Box::new(Input::Disconnected(peer))));
            if let Some(other) = self.by_peer(&peer) {
                self.hosts[other].links.remove(&own);
                self.enter(LATENCY, What::Input(other, Box::new(Input::Disconnected(own))));
            }
        }
    }

    fn enter(&mut self, after: Duration, what: What) {
        self.number += 1;
        self.agenda.insert((self.now.after(after), self.number), what);
    }

    fn by_peer(&self, peer: &Peer) -> Option<usize> {
        self.hosts.iter().position(|host| host.key.public() == *peer)
    }
}

/// Enough to be refused without, little enough for a test.
pub(crate) const WORK_BITS: u32 = 2;
const LATENCY: Duration = Duration::from_millis(20);
