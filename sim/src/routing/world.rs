//! The world: routers by the thousand, what is between them, and the loop that lets time pass.
//!
//! Lighter than the world of nodes and people: rows in memory that never fail, connections without
//! lanes, frames handed over as values. A dial takes a round trip and finds whoever has the address;
//! with another key, or with nobody there, it comes to nothing. Who dies without a word is noticed
//! by the others as `spec/transport.md`, section 5 has it.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration};

use crypto::{SigningKey, Verifier};
use proto::{
    Frame, FrameReader, Input, Instant, Machine, NodeAddress, NodeId, Output, Peer, PublicKey,
    Reach, Reached, Rows, Seed, Table, write_frame,
};
use routing::{Defences, Router, RouterCommand, RouterConfig, RouterEvent};
use sha2::{Digest, Sha256};

use super::{
    memory::Memory,
    rogue::{Deed, Loot, Rogue},
};
use crate::{agenda::Agenda, dice::Dice};

/// All hosts and what is on its way.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) hosts: Vec<Host>,
    pub(super) dice: Dice,
    pub(super) tally: Tally,
    /// What routers said to their applications, since somebody took it.
    pub(super) heard: Vec<Heard>,
    defences: Defences,
    /// Ten thousand nodes verify the same signatures; one of them does.
    verifier: Verifier,
    seed: u64,
    by_address: BTreeMap<SocketAddr, u32>,
    by_peer: BTreeMap<Peer, u32>,
    agenda: Agenda<What>,
    connections: u64,
    boots: u64,
    trace: Sha256,
    /// Hosts of different sides don't hear each other.
    split: bool,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) dials: u64,
    pub(super) steps: u64,
}

/// Something that a router said.
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) event: RouterEvent,
}

/// A machine on the network.
pub(super) struct Host {
    pub(super) process: Process,
    pub(super) links: BTreeMap<u32, u64>,
    pub(super) key: SigningKey,
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    rows: Memory,
    /// Where it is, for the time that light takes.
    site: (u64, u64),
    /// One half of the network.
    half: bool,
    wake_at: Option<Instant>,
}

/// What runs on a host.
pub(super) enum Process {
    Down,
    Honest(Box<Router>),
    Hostile(Box<dyn Hostile>),
}

/// Something that takes a router's place and is none.
pub(super) trait Hostile {
    fn handle(&mut self, input: Input<RouterCommand>, now: Instant);
    fn poll_output(&mut self) -> Option<Output<RouterEvent>>;
    fn poll_timeout(&self) -> Option<Instant>;
}

enum What {
    Dialled { from: u32, to: SocketAddr, expected: Peer },
    Connected { at: u32, other: u32, connection: u64 },
    Frame { at: u32, from: u32, connection: u64, frame: Box<Frame> },
    Ended { at: u32, other: u32, connection: u64 },
    Tried { at: u32, peer: Peer, is_there: bool },
    Wake(u32),
}

impl World {
    pub(super) fn new(seed: u64, defences: Defences) -> Self {
        Self {
            now: BEGINNING,
            hosts: Vec::new(),
            dice: Dice::new(seed, "routing world", 0),
            tally: Tally::default(),
            heard: Vec::new(),
            defences,
            verifier: Verifier::new(WORK_BITS).remembering(VERIFIED_MAX),
            seed,
            by_address: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            agenda: Agenda::new(),
            connections: 0,
            boots: 0,
            trace: Sha256::new(),
            split: false,
        }
    }

    /// So many honest nodes, which join through one that is there, `every` so often.
    pub(super) fn grown(seed: u64, nodes: u32, every: Duration, defences: Defences) -> Self {
        let mut world = Self::new(seed, defences);
        for _ in 0..nodes {
            world.join_one();
            world.pass(every);
        }
        world
    }

    /// Adds an honest node in a network of its own that joins through one that is there.
    pub(super) fn join_one(&mut self) -> u32 {
        let number = self.hosts.len() as u32;
        let key = SigningKey::from_seed(Dice::new(self.seed, "key", number.into()).bytes());
        let host = self.place(key, honest_address(number));
        let through = self.somebody_up(host).into_iter().collect();
        self.start(host, through);
        host
    }

    /// Puts a machine on the network, with nothing running on it.
    pub(super) fn place(&mut self, key: SigningKey, address: SocketAddr) -> u32 {
        let number = self.hosts.len() as u32;
        let site = (self.dice.below(SITE_MAX), self.dice.below(SITE_MAX));
        self.by_address.insert(address, number);
        self.by_peer.insert(key.public(), number);
        self.hosts.push(Host {
            process: Process::Down,
            links: BTreeMap::new(),
            peer: key.public(),
            key,
            address,
            rows: Memory::default(),
            site,
            half: self.dice.chance(0.5),
            wake_at: None,
        });
        number
    }

    /// Starts a router on a host.
    pub(super) fn start(&mut self, host: u32, through: Vec<u32>) {
        let (config, seed) = (self.config(host, through), self.boot_seed());
        let place = &mut self.hosts[host as usize];
        if let Ok(router) = Router::open(config, seed, self.now, &place.rows) {
            place.process = Process::Honest(Box::new(router));
            self.drain(host);
        }
    }

    fn config(&self, host: u32, through: Vec<u32>) -> RouterConfig {
        let join = through.into_iter().map(|other| self.address_of(other)).collect();
        let place = &self.hosts[host as usize];
        RouterConfig {
            addresses: vec![place.address],
            join,
            verifier: self.verifier.clone(),
            defences: self.defences,
            ..RouterConfig::new(place.key.clone())
        }
    }

    fn boot_seed(&mut self) -> Seed {
        self.boots += 1;
        Seed(Dice::new(self.seed, "boot", self.boots).bytes())
    }

    /// Adds a rogue in a network of its own that joins through an honest node.
    pub(super) fn join_rogue(&mut self, deed: Deed, loot: &Rc<Loot>) {
        let number = self.hosts.len() as u32;
        let key = SigningKey::from_seed(Dice::new(self.seed, "key", number.into()).bytes());
        let host = self.place(key.clone(), honest_address(number));
        let through = self.somebody_up(host).into_iter().collect();
        let mut config = self.config(host, through);
        if deed == Deed::Elsewhere {
            // It can be dialled where it is, but says so last.
            let others = (0..3).map(|other| honest_address(number.saturating_sub(other * 7 + 1)));
            config.addresses = others.chain(config.addresses).collect();
        }
        let (seed, dice) = (self.boot_seed(), Dice::new(self.seed, "rogue", number.into()));
        if let Ok(router) = Router::open(config, seed, self.now, &Memory::default()) {
            self.corrupt(host, Rogue::new(deed, (router, key), Rc::clone(loot), dice));
        }
    }

    /// Starts something hostile on a host.
    pub(super) fn corrupt(&mut self, host: u32, hostile: impl Hostile + 'static) {
        self.hosts[host as usize].process = Process::Hostile(Box::new(hostile));
        self.drain(host);
    }

    /// Ends a process without a word.
    pub(super) fn kill(&mut self, host: u32) {
        self.end(host, SILENCE_MIN, SILENCE_MAX);
    }

    /// Ends a process that has said goodbye.
    pub(super) fn stop(&mut self, host: u32) {
        self.end(host, Duration::from_millis(20), Duration::from_millis(200));
    }

    fn end(&mut self, host: u32, least: Duration, most: Duration) {
        let place = &mut self.hosts[host as usize];
        place.process = Process::Down;
        place.wake_at = None;
        for (other, connection) in std::mem::take(&mut place.links) {
            let noticed = self.now.after(self.dice.between(least, most));
            self.agenda.enter(noticed, What::Ended { at: other, other: host, connection });
        }
    }

    /// Cuts the network in halves, or mends it.
    pub(super) fn set_split(&mut self, split: bool) {
        self.split = split;
        if !split {
            return;
        }
        for host in 0..self.hosts.len() as u32 {
            let half = self.hosts[host as usize].half;
            let links: Vec<_> =
                self.hosts[host as usize].links.iter().map(|(o, c)| (*o, *c)).collect();
            for (other, connection) in links {
                if self.hosts[other as usize].half != half {
                    let noticed = self.now.after(self.dice.between(SILENCE_MIN, SILENCE_MAX));
                    self.agenda.enter(noticed, What::Ended { at: host, other, connection });
                }
            }
        }
    }

    pub(super) fn half_of(&self, host: u32) -> bool {
        self.hosts[host as usize].half
    }

    pub(super) fn command(&mut self, host: u32, command: RouterCommand) {
        self.handle(host, Input::Command(command));
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some((due, what)) = self.agenda.next_until(end) {
            self.now = due;
            self.tally.steps += 1;
            self.happen(what);
        }
        self.now = end;
    }

    pub(super) fn router(&self, host: u32) -> Option<&Router> {
        match &self.hosts[host as usize].process {
            Process::Honest(router) => Some(router),
            Process::Down | Process::Hostile(_) => None,
        }
    }

    /// Whether a host keeps the record of a key.
    pub(super) fn keeps(&self, host: u32, key: &proto::Key) -> bool {
        self.hosts[host as usize].rows.get(RECORDS, &key.0).is_some()
    }

    /// The hosts on which a router runs.
    pub(super) fn honest(&self) -> Vec<u32> {
        (0..self.hosts.len() as u32).filter(|host| self.router(*host).is_some()).collect()
    }

    /// A host, other than this one, on which a router runs.
    pub(super) fn somebody_up(&mut self, but: u32) -> Option<u32> {
        let many = self.hosts.len();
        let drawn = (0..100).map(|_| self.dice.index(many) as u32).collect::<Vec<_>>();
        drawn.into_iter().find(|host| *host != but && self.router(*host).is_some())
    }

    pub(super) fn address_of(&self, host: u32) -> NodeAddress {
        let host = &self.hosts[host as usize];
        NodeAddress { node: NodeId(host.peer.0), addresses: vec![host.address] }
    }

    /// A hash of all that happened: the same seed gives the same one.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Dialled { from, to, expected } => self.dialled(from, to, expected),
            What::Connected { at, other, connection } => {
                if self.hosts[at as usize].links.get(&other) == Some(&connection) {
                    let Host { peer, address, .. } = self.hosts[other as usize];
                    self.handle(at, Input::Connected(peer, Some(address)));
                }
            }
            What::Frame { at, from, connection, frame } => {
                if self.hosts[at as usize].links.get(&from) == Some(&connection) {
                    self.tally.frames += 1;
                    self.note(at, from);
                    let peer = self.hosts[from as usize].peer;
                    self.handle(at, Input::Frame(peer, *frame));
                }
            }
            What::Ended { at, other, connection } => {
                let links = &mut self.hosts[at as usize].links;
                if links.get(&other) == Some(&connection) {
                    links.remove(&other);
                    let peer = self.hosts[other as usize].peer;
                    self.handle(at, Input::Disconnected(peer));
                }
            }
            What::Tried { at, peer, is_there } => {
                self.handle(at, Input::Reached(Reached::Tried(peer, is_there)));
            }
            What::Wake(host) => self.wake(host),
        }
    }

    fn wake(&mut self, host: u32) {
        let place = &mut self.hosts[host as usize];
        // One that was planned before an earlier one says nothing.
        if place.wake_at != Some(self.now) {
            return;
        }
        place.wake_at = None;
        let due = self.due(host);
        if due.is_some_and(|due| due <= self.now) {
            self.handle(host, Input::Timeout);
        } else {
            self.plan_wake(host);
        }
    }

    /// The first packet of a handshake arrives.
    fn dialled(&mut self, from: u32, to: SocketAddr, expected: Peer) {
        let Some(at) = self.by_address.get(&to).copied() else { return };
        let dialler = &self.hosts[from as usize];
        let there = self.is_there(at, expected) && !matches!(dialler.process, Process::Down);
        if !there || !self.hear(from, at) || dialler.links.contains_key(&at) {
            return;
        }
        self.connections += 1;
        let connection = self.connections;
        self.hosts[from as usize].links.insert(at, connection);
        self.hosts[at as usize].links.insert(from, connection);
        let way = self.way(from, at);
        self.agenda.enter(self.now.after(way), What::Connected { at: from, other: at, connection });
        let whole = self.now.after(way).after(way);
        self.agenda.enter(whole, What::Connected { at, other: from, connection });
    }

    fn is_there(&self, host: u32, expected: Peer) -> bool {
        let host = &self.hosts[host as usize];
        !matches!(host.process, Process::Down) && host.peer == expected
    }

    fn handle(&mut self, host: u32, input: Input<RouterCommand>) {
        let (now, place) = (self.now, &mut self.hosts[host as usize]);
        match &mut place.process {
            Process::Down => {}
            Process::Honest(router) => router.handle(input, now, &place.rows),
            Process::Hostile(hostile) => hostile.handle(input, now),
        }
        self.drain(host);
    }

    /// Carries out what a process wants.
    fn drain(&mut self, host: u32) {
        loop {
            let output = match &mut self.hosts[host as usize].process {
                Process::Down => return,
                Process::Honest(router) => router.poll_output(),
                Process::Hostile(hostile) => hostile.poll_output(),
            };
            match output {
                None => break,
                Some(Output::Commit(batch) | Output::Note(batch)) => {
                    self.hosts[host as usize].rows.apply(&batch);
                }
                Some(Output::Connect(peer, addresses)) => self.dial(host, peer, &addresses),
                Some(Output::Disconnect(peer)) => self.hang_up(host, peer),
                Some(Output::Transmit(peer, frame)) => self.transmit(host, peer, frame),
                // There are no NATs here.
                Some(Output::Reach(Reach::Relay(_) | Reach::Tunnel { .. })) => {}
                Some(Output::Reach(Reach::Try(peer, addresses))) => {
                    self.try_to_dial(host, peer, &addresses);
                }
                Some(Output::Event(event)) => {
                    self.heard.push(Heard { at: self.now, event });
                }
            }
        }
        self.plan_wake(host);
    }

    fn due(&self, host: u32) -> Option<Instant> {
        match &self.hosts[host as usize].process {
            Process::Down => None,
            Process::Honest(router) => router.poll_timeout(),
            Process::Hostile(hostile) => hostile.poll_timeout(),
        }
    }

    fn plan_wake(&mut self, host: u32) {
        let Some(due) = self.due(host) else { return };
        let due = due.max(self.now.after(MOMENT));
        let place = &mut self.hosts[host as usize];
        if place.wake_at.is_none_or(|planned| planned > due) {
            place.wake_at = Some(due);
            self.agenda.enter(due, What::Wake(host));
        }
    }

    fn dial(&mut self, from: u32, expected: Peer, addresses: &[SocketAddr]) {
        self.tally.dials += 1;
        let Some(to) = addresses.first().copied() else { return };
        let way = self.by_address.get(&to).map_or(MOMENT, |at| self.way(from, *at));
        // One round trip, of which the way back is in what follows.
        self.agenda.enter(self.now.after(way), What::Dialled { from, to, expected });
    }

    fn try_to_dial(&mut self, from: u32, expected: Peer, addresses: &[SocketAddr]) {
        let at = addresses.first().and_then(|address| self.by_address.get(address)).copied();
        let at = at.filter(|at| self.is_there(*at, expected) && self.hear(from, *at));
        let takes = at.map_or(TRY_MAX, |at| self.way(from, at).saturating_mul(2));
        let tried = What::Tried { at: from, peer: expected, is_there: at.is_some() };
        self.agenda.enter(self.now.after(takes), tried);
    }

    fn hang_up(&mut self, host: u32, peer: Peer) {
        let Some(other) = self.linked(host, &peer) else { return };
        let Some(connection) = self.hosts[host as usize].links.get(&other).copied() else { return };
        self.agenda.enter(self.now.after(MOMENT), What::Ended { at: host, other, connection });
        let there = self.now.after(self.way(host, other));
        self.agenda.enter(there, What::Ended { at: other, other: host, connection });
    }

    fn transmit(&mut self, from: u32, peer: Peer, frame: Frame) {
        let Some(at) = self.linked(from, &peer) else { return };
        let Some(connection) = self.hosts[from as usize].links.get(&at).copied() else { return };
        if !self.hear(from, at) {
            return;
        }
        let arrives = self.now.after(self.way(from, at));
        let frame = match self.hosts[from as usize].process {
            Process::Hostile(_) => coded(&frame),
            Process::Down | Process::Honest(_) => Some(frame),
        };
        let Some(frame) = frame else {
            // Sooner than `net`, which bears with a few of them before it ends the connection.
            return self.hang_up(at, self.hosts[from as usize].peer);
        };
        let frame = Box::new(frame);
        self.agenda.enter(arrives, What::Frame { at, from, connection, frame });
    }

    /// Which host a peer of this one is.
    fn linked(&self, host: u32, peer: &PublicKey) -> Option<u32> {
        let other = self.by_peer.get(peer).copied()?;
        self.hosts[host as usize].links.contains_key(&other).then_some(other)
    }

    fn hear(&self, a: u32, b: u32) -> bool {
        !self.split || self.hosts[a as usize].half == self.hosts[b as usize].half
    }

    /// The time from one host to another: 2 ms, and up to 70 ms by their distance.
    fn way(&self, a: u32, b: u32) -> Duration {
        let ((ax, ay), (bx, by)) = (self.hosts[a as usize].site, self.hosts[b as usize].site);
        let square = ax.abs_diff(bx).pow(2) + ay.abs_diff(by).pow(2);
        Duration::from_micros(2_000 + square.isqrt())
    }

    fn note(&mut self, at: u32, from: u32) {
        self.trace.update(self.now.as_micros().to_le_bytes());
        self.trace.update(at.to_le_bytes());
        self.trace.update(from.to_le_bytes());
    }
}

/// What comes out at the other end of a connection.
fn coded(frame: &Frame) -> Option<Frame> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    let mut reader = FrameReader::default();
    reader.push(&bytes);
    reader.next_frame().ok().flatten().map(|(frame, _)| frame)
}

/// An address in a /24 that one honest node in three shares with another one.
fn honest_address(number: u32) -> SocketAddr {
    let network = number - u32::from(number % 6 == 5);
    let [_, a, b, c] = network.to_be_bytes();
    SocketAddr::from(([11 + a, b, c, (number % 6) as u8 + 1], 4440))
}

/// Where routers keep records for others.
const RECORDS: Table = Table(32);
/// The second at which every run begins.
pub(super) const BEGINNING: Instant = Instant::from_secs(1_800_000_000);
/// Proofs of work would take longer than all else.
pub(super) const WORK_BITS: u32 = 2;
/// A side of the square on which hosts are, in microseconds.
const SITE_MAX: u64 = 50_000;
/// Records and suspicions of the last minutes.
const VERIFIED_MAX: usize = 100_000;
const MOMENT: Duration = Duration::from_micros(1);
/// How long a driver tries to dial somebody.
const TRY_MAX: Duration = Duration::from_secs(3);
/// When a peer that died without a word is noticed.
const SILENCE_MIN: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(31);
