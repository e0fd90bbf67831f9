//! A network of gossip: many nodes, an event queue, links with latency, and no sockets. What a
//! router does for gossip is done here in the simplest way. Everything follows from one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crypto::{
    SigningKey,
    node::{UnsignedNodeRecord, Verifier},
};
use proto::{Contact, Instant, NodeId, Query};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    gossip::{Gossip, GossipConfig, GossipOutput, News, rng},
    record::NodeRecord,
};

pub(super) const BITS: u32 = 4;
pub(super) const START: Instant = Instant::from_secs(1_800_000_000);

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    /// Standing connections, the lower number first.
    links: BTreeSet<(usize, usize)>,
    /// Nodes of different sides don't reach each other.
    side: Vec<u8>,
    /// Pairs whose way to each other is broken.
    pub(super) broken: BTreeSet<(usize, usize)>,
    rng: ChaCha20Rng,
    pub(super) said: Said,
}

/// Words that were said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) facts: usize,
    pub(super) names: usize,
    pub(super) grafts: usize,
    pub(super) prunes: usize,
    pub(super) shuffles: usize,
    pub(super) others: usize,
}

pub(super) struct Node {
    pub(super) gossip: Gossip,
    key: SigningKey,
    pub(super) record: NodeRecord,
    pub(super) alive: bool,
    wakes: Option<Instant>,
    pub(super) heard: BTreeMap<NodeId, u64>,
    pub(super) left: BTreeSet<NodeId>,
    pub(super) dead: BTreeSet<NodeId>,
    /// How often a node counted as dead, refuted or not.
    pub(super) deaths: usize,
    pub(super) asked: Vec<Query>,
}

enum Event {
    Wake(usize),
    Word(usize, usize, proto::Gossip),
    Up(usize, usize),
    Down(usize, NodeId),
    Probed { asker: usize, of: NodeId, by: NodeId, reached: Option<bool> },
}

impl World {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            now: START,
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            links: BTreeSet::new(),
            side: Vec::new(),
            broken: BTreeSet::new(),
            rng: ChaCha20Rng::from_seed([seed; 32]),
            said: Said::default(),
        }
    }

    /// A network of so many nodes that have joined one after the other through the first. They
    /// spread no records: verifying those at every node is most of the work.
    pub(super) fn joined(seed: u8, count: usize) -> Self {
        Self::grown(seed, count, true)
    }

    /// The same, and all say that they have joined.
    pub(super) fn joined_aloud(seed: u8, count: usize) -> Self {
        Self::grown(seed, count, false)
    }

    fn grown(seed: u8, count: usize, quietly: bool) -> Self {
        let mut world = Self::new(seed);
        for number in 0..count {
            let node = world.add(vec![address(number)]);
            if quietly {
                let Node { gossip, record, .. } = &mut world.nodes[node];
                gossip.said = Some(record.clone());
                gossip.unsaid = false;
            }
            if number > 0 {
                world.join(node, 0);
            }
            world.run(Duration::from_millis(200));
        }
        world.run(Duration::from_secs(90));
        world
    }

    pub(super) fn add(&mut self, addresses: Vec<SocketAddr>) -> usize {
        let number = self.nodes.len();
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let (key, rng) = (SigningKey::from_seed(seed), ChaCha20Rng::from_rng(&mut self.rng));
        let id = NodeId(key.public().0);
        let nonce = NodeRecord::prove_work(&id, BITS);
        let says = UnsignedNodeRecord {
            nonce,
            addresses,
            serial: self.now.as_secs(),
            capacity_bytes: 1 << 40,
            region: "eu".to_owned(),
            version: "1.0.0".to_owned(),
            ..UnsignedNodeRecord::default()
        };
        let record = NodeRecord::sign(&key, &says, BITS).unwrap();
        let config = GossipConfig { key: key.clone(), nonce, verifier: Verifier::new(BITS) };
        let mut gossip = Gossip::new(config, rng);
        gossip.set_own(record.clone(), self.now);
        self.by_id.insert(id, number);
        self.side.push(0);
        self.nodes.push(Node {
            gossip,
            key,
            record,
            alive: true,
            wakes: None,
            heard: BTreeMap::new(),
            left: BTreeSet::new(),
            dead: BTreeSet::new(),
            deaths: 0,
            asked: Vec::new(),
        });
        self.apply_wishes(number);
        number
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].record.node()
    }

    pub(super) fn join(&mut self, node: usize, through: usize) {
        let contact = self.nodes[through].record.contact();
        self.nodes[node].gossip.join(contact, self.now);
        self.apply_wishes(node);
    }

    /// Changes a record, which is a fact. Returns its serial.
    pub(super) fn change(
        &mut self,
        node: usize,
        change: impl FnOnce(&mut UnsignedNodeRecord),
    ) -> u64 {
        let mut says = self.nodes[node].record.says().clone();
        says.serial = self.now.as_secs().max(says.serial + 1);
        change(&mut says);
        let record = NodeRecord::sign(&self.nodes[node].key, &says, BITS).unwrap();
        self.nodes[node].record = record.clone();
        self.nodes[node].gossip.set_own(record.clone(), self.now);
        self.apply_wishes(node);
        // As a router does.
        for peer in self.linked(node) {
            self.nodes[peer].gossip.connected(record.node(), &record, self.now);
            self.apply_wishes(peer);
        }
        says.serial
    }

    /// Has a node say something new, and tells how many of the living have heard of it after a
    /// time.
    pub(super) fn coverage(&mut self, node: usize, within: Duration) -> (usize, usize) {
        let version = format!("1.0.{}", self.sequence);
        let serial = self.change(node, |says| says.version = version);
        self.run(within);
        let id = self.id(node);
        let others = self.nodes.iter().filter(|other| other.alive && other.record.node() != id);
        let (mut heard, mut all) = (0, 0);
        for other in others {
            all += 1;
            heard += usize::from(other.heard.get(&id) == Some(&serial));
        }
        (heard, all)
    }

    /// Ends a node without a word; its neighbours notice some seconds later.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for peer in self.linked(node) {
            self.cut(node, peer);
        }
    }

    pub(super) fn leave(&mut self, node: usize) {
        self.change(node, |says| says.leaving = true);
        self.nodes[node].gossip.leave(self.now);
        self.apply_wishes(node);
        // Its last words are under way.
        self.run(Duration::from_millis(200));
        self.kill(node);
    }

    /// Breaks the way between two nodes.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        if self.links.remove(&pair(a, b)) {
            for (at, of) in [(a, b), (b, a)] {
                let notice = Duration::from_secs(8) + rng::up_to(&mut self.rng, NOTICE);
                self.at(notice, Event::Down(at, self.id(of)));
            }
        }
    }

    /// Partitions the nodes into two sides; with one side, heals the partition.
    pub(super) fn part(&mut self, side: impl Fn(usize) -> u8) {
        self.side = (0..self.nodes.len()).map(side).collect();
        for (a, b) in self.links.clone() {
            if self.side[a] != self.side[b] {
                self.cut(a, b);
            }
        }
    }

    pub(super) fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].alive).collect()
    }

    pub(super) fn neighbours(&self, node: usize) -> Vec<usize> {
        let gossip = &self.nodes[node].gossip;
        self.living().into_iter().filter(|other| gossip.is_neighbour(&self.id(*other))).collect()
    }

    /// Returns whether a node considers another one its neighbour.
    pub(super) fn neighbours_seen(&self, node: usize, other: usize) -> bool {
        self.nodes[node].gossip.is_neighbour(&self.id(other))
    }

    /// How many living nodes the first of them reaches over neighbours.
    pub(super) fn component(&self) -> usize {
        let mut reached = BTreeSet::new();
        let mut next = vec![self.living()[0]];
        while let Some(node) = next.pop() {
            if reached.insert(node) {
                next.extend(self.neighbours(node));
            }
        }
        reached.len()
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now.after(time);
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= until
        {
            self.now = entry.key().0.max(self.now);
            let event = entry.remove();
            self.happen(event);
        }
        self.now = until;
    }

    /// Tells a node something as if a connected one had said it.
    pub(super) fn tell(&mut self, from: usize, to: usize, word: proto::Gossip) {
        let id = self.id(from);
        self.nodes[to].gossip.word(id, word, self.now);
        self.apply_wishes(to);
    }

    pub(super) fn key(&self, node: usize) -> &SigningKey {
        &self.nodes[node].key
    }

    pub(super) fn linked(&self, node: usize) -> Vec<usize> {
        let of = |&(a, b): &(usize, usize)| match node {
            _ if a == node => Some(b),
            _ if b == node => Some(a),
            _ => None,
        };
        self.links.iter().filter_map(of).collect()
    }

    /// Connects two nodes.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.links.insert(pair(a, b));
        for (at, of) in [(a, b), (b, a)] {
            let record = self.nodes[of].record.clone();
            self.nodes[at].gossip.connected(record.node(), &record, self.now);
        }
        self.apply_wishes(a);
        self.apply_wishes(b);
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Wake(node) => {
                if self.nodes[node].wakes == Some(now) {
                    self.nodes[node].wakes = None;
                    self.nodes[node].gossip.timeout(now);
                    self.apply_wishes(node);
                }
            }
            Event::Word(from, to, word) => {
                if self.links.contains(&pair(from, to)) || !self.nodes[from].alive {
                    self.tell(from, to, word);
                }
            }
            Event::Up(a, b) => {
                if self.reaches(a, b) {
                    self.link(a, b);
                } else {
                    self.at(DIALLED, Event::Down(a, self.id(b)));
                }
            }
            Event::Down(at, of) => {
                let again = self.links.contains(&pair(at, self.by_id[&of]));
                if !again {
                    self.nodes[at].gossip.disconnected(of, now);
                    self.apply_wishes(at);
                }
            }
            Event::Probed { asker, of, by, reached } => {
                self.nodes[asker].gossip.probed(of, by, reached, now);
                self.apply_wishes(asker);
            }
        }
    }

    /// Carries out what a node wishes.
    fn apply_wishes(&mut self, node: usize) {
        if !self.nodes[node].alive {
            return;
        }
        while let Some(output) = self.nodes[node].gossip.poll() {
            match output {
                GossipOutput::Say(to, word) => self.say(node, to, word),
                GossipOutput::Connect(contact) => self.connect(node, &contact),
                GossipOutput::Release(_) => {}
                GossipOutput::Probe { of, through } => self.probe(node, &of, through),
                GossipOutput::News(news) => self.news(node, news),
                GossipOutput::Asked(query) => self.nodes[node].asked.push(query),
            }
        }
        for gauge in self.nodes[node].gossip.gauges() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        let wakes = self.nodes[node].gossip.poll_timeout();
        if wakes != self.nodes[node].wakes {
            self.nodes[node].wakes = wakes.map(|at| at.max(self.now));
            if let Some(at) = self.nodes[node].wakes {
                self.at(at.since(self.now), Event::Wake(node));
            }
        }
    }

    fn say(&mut self, from: usize, to: NodeId, word: proto::Gossip) {
        let said = &mut self.said;
        *match &word {
            proto::Gossip::Spread { .. } => &mut said.facts,
            proto::Gossip::Have(_) => &mut said.names,
            proto::Gossip::Graft(_) => &mut said.grafts,
            proto::Gossip::Prune => &mut said.prunes,
            proto::Gossip::Shuffle { .. } | proto::Gossip::Shuffled(_) => &mut said.shuffles,
            proto::Gossip::Join(_)
            | proto::Gossip::ForwardJoin { .. }
            | proto::Gossip::Neighbour { .. }
            | proto::Gossip::NeighbourIs { .. }
            | proto::Gossip::Part { .. } => &mut said.others,
        } += 1;
        let to = self.by_id[&to];
        if self.links.contains(&pair(from, to)) {
            self.at(latency(from, to), Event::Word(from, to, word));
        }
    }

    fn connect(&mut self, from: usize, contact: &Contact) {
        let record = |to: usize| self.nodes[to].record.clone();
        match self.by_id.get(&contact.node).copied() {
            Some(to) if self.links.contains(&pair(from, to)) => {
                let record = record(to);
                self.nodes[from].gossip.connected(contact.node, &record, self.now);
            }
            Some(to) if !contact.addresses.is_empty() => {
                self.at(latency(from, to) * 3, Event::Up(from, to));
            }
            _ => self.nodes[from].gossip.disconnected(contact.node, self.now),
        }
    }

    fn probe(&mut self, asker: usize, of: &Contact, through: NodeId) {
        let (by, target) = (self.by_id[&through], self.by_id[&of.node]);
        let (reached, after) = if !self.links.contains(&pair(asker, by)) {
            (None, DIALLED)
        } else if self.reaches(by, target) {
            (Some(true), latency(asker, by) * 2)
        } else {
            (Some(false), DIALLED)
        };
        self.at(after, Event::Probed { asker, of: of.node, by: through, reached });
    }

    fn news(&mut self, node: usize, news: News) {
        let at = &mut self.nodes[node];
        match news {
            News::Node(record) => {
                at.dead.remove(&record.node());
                at.heard.insert(record.node(), record.says().serial);
            }
            News::Leaving(record) => {
                at.left.insert(record.node());
            }
            News::Dead(dead) => {
                at.dead.insert(dead);
                at.deaths += 1;
            }
            News::SuspectedMyself => {
                self.change(node, |_| {});
            }
        }
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        self.nodes[a].alive
            && self.nodes[b].alive
            && self.side[a] == self.side[b]
            && !self.broken.contains(&pair(a, b))
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now.after(after), self.sequence), event);
    }
}

/// An address in a network of its own.
pub(super) fn address(number: usize) -> SocketAddr {
    format!("11.{}.{}.1:4440", number / 250, number % 250).parse().unwrap()
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// From one node to another: 5 to 100 ms, always the same, so that words keep their order.
fn latency(a: usize, b: usize) -> Duration {
    let (a, b) = pair(a, b);
    Duration::from_millis(5 + u64::try_from((a * 31 + b * 17) % 96).unwrap())
}

/// Within this, and 8 s, a connection's end is noticed.
const NOTICE: Duration = Duration::from_secs(2);
/// When a dial has failed.
const DIALLED: Duration = Duration::from_secs(3);
