//! What it costs two nodes to find out that their copies of a log are equal, or to repair them: the
//! machines of nodes over rows in memory, with all that they say to each other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant as Stopwatch},
};

use anyhow::{Context, Result, ensure};
use crypto::{
    OPEN_CONTEXT, SigningKey,
    identity::{Authority, Device, InboxKey, Phrase, UnsignedRecord},
    open_proof_message, sign_envelope,
};
use node::{Node, NodeConfig};
use proto::{
    Body, Cursor, Direction, Entry, Expiry, Extension, Frame, Head, Hello, Input, Instant, Kind,
    LogGenesis, LogId, Machine, NodeAddress, NodeId, Open, Output, Peer, PublicKey, Ranking, Rows,
    Seed, Table, VERSIONS, WriteBatch, write_frame,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use store::{Memory, Store};

use crate::measure::millis;

pub(crate) fn run() -> Result<()> {
    println!(
        "replicas: two nodes that hold a log of {ENTRIES} entries, half of what differs on each side"
    );
    let mut pair = Pair::new()?;
    pair.pass(SETTLED)?;
    for differences in CASES {
        let cost = pair.repair(differences)?;
        println!("  {differences:5} differ: {cost}");
    }
    Ok(())
}

/// Two nodes, and what they said to each other since it was looked at last.
struct Pair {
    hosts: [Host; 2],
    cost: Cost,
}

/// A node, and what waits to be carried to others.
struct Host {
    name: NodeId,
    node: Node,
    store: Memory,
    now: Instant,
    out: BTreeMap<Peer, VecDeque<Frame>>,
    nonce: [u8; 16],
}

/// What went over the wire.
#[derive(Default)]
struct Cost {
    comparing: usize,
    frames: usize,
    pushed: usize,
    pushing: usize,
    took: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comparing, frames, pushed, pushing, took } = self;
        write!(out, "{comparing:6} bytes in {frames:2} frames to compare")?;
        write!(out, ", {pushing:7} for {pushed:4} entries pushed")?;
        write!(out, "; both nodes' work, with counting, {:.0} ms", millis(*took))
    }
}

impl Pair {
    fn new() -> Result<Self> {
        let mut pair = Self { hosts: [Host::new(1)?, Host::new(2)?], cost: Cost::default() };
        let key = SigningKey::from_seed([9; 32]);
        let genesis = LogGenesis::Conversation { write_key: key.public(), salt: [9; 16] };
        for host in &mut pair.hosts {
            host.settle(genesis, &key)?;
        }
        pair.link();
        for number in 1..=ENTRIES {
            let append = append(&key, genesis.id(), number);
            pair.hosts[0].hear(DEVICE, Frame { request: 3, body: append });
            if number.is_multiple_of(64) {
                pair.carry();
            }
        }
        Ok(pair)
    }

    fn link(&mut self) {
        let names = self.hosts.each_ref().map(|host| PublicKey(host.name.0));
        for (host, other) in self.hosts.iter_mut().zip([names[1], names[0]]) {
            host.input(Input::Connected(other, None));
        }
    }

    /// Each node loses half of so many entries; returns what it cost until both have all.
    fn repair(&mut self, differences: u64) -> Result<Cost> {
        let before = self.hosts.each_ref().map(Host::count);
        ensure!(before == [ENTRIES; 2], "the copies are not whole: {before:?}");
        let every = ENTRIES.checked_div(differences).unwrap_or(u64::MAX);
        for (host, at) in self.hosts.iter_mut().zip([0, 1]) {
            let is_lost = |place: u64| {
                differences > 0 && place.is_multiple_of(every) && place / every % 2 == at
            };
            host.lose(is_lost)?;
        }
        if differences == 0 {
            // What has not changed since is compared after a new connection only.
            let names = self.hosts.each_ref().map(|host| PublicKey(host.name.0));
            for (host, other) in self.hosts.iter_mut().zip([names[1], names[0]]) {
                host.input(Input::Disconnected(other));
            }
            self.link();
        }
        self.cost = Cost::default();
        self.pass(SETTLED)?;
        let after = self.hosts.each_ref().map(Host::count);
        ensure!(after == [ENTRIES; 2], "something is lacking: {after:?}");
        ensure!(self.cost.pushed as u64 == differences, "{} were pushed", self.cost.pushed);
        Ok(std::mem::take(&mut self.cost))
    }

    fn pass(&mut self, time: Duration) -> Result<()> {
        self.carry();
        let end = self.hosts[0].now.after(time);
        loop {
            let due = self.hosts.iter().filter_map(|host| host.node.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            for host in &mut self.hosts {
                host.now = host.now.max(due);
                if host.node.poll_timeout().is_some_and(|due| due <= host.now) {
                    let began = Stopwatch::now();
                    host.input(Input::Timeout);
                    self.cost.took += began.elapsed();
                }
            }
            self.carry();
        }
        self.hosts.iter_mut().for_each(|host| host.now = end);
        Ok(())
    }

    fn carry(&mut self) {
        let names = self.hosts.each_ref().map(|host| PublicKey(host.name.0));
        loop {
            let mut is_quiet = true;
            for (from, to) in [(0, 1), (1, 0)] {
                let frames = self.hosts[from].out.remove(&names[to]).unwrap_or_default();
                for frame in frames {
                    is_quiet = false;
                    self.cost.count(&frame);
                    let began = Stopwatch::now();
                    self.hosts[to].hear(names[from], frame);
                    self.cost.took += began.elapsed();
                }
            }
            if is_quiet {
                return;
            }
        }
    }
}

impl Cost {
    fn count(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        write_frame(frame, &mut bytes);
        match &frame.body {
            Body::Compare(_) | Body::Symbols(_) | Body::Lacking { .. } => {
                self.comparing += bytes.len();
                self.frames += 1;
            }
            Body::Append { .. } => {
                self.pushing += bytes.len();
                self.pushed += 1;
            }
            _ => {}
        }
    }
}

impl Host {
    fn new(number: u8) -> Result<Self> {
        let name = NodeId([number; 32]);
        let config = NodeConfig {
            anti_entropy_every: Duration::from_secs(60),
            scrub_every: Duration::from_secs(300),
            ..NodeConfig::new(name)
        };
        let (store, now) = (Memory::new(), Instant::from_secs(1_800_000_000));
        let node = Node::open(config, Seed([number; 32]), now, &store)?;
        Ok(Self { name, node, store, now, out: BTreeMap::new(), nonce: [0; 16] })
    }

    /// An account is registered by a device, which opens the conversation of both.
    fn settle(&mut self, genesis: LogGenesis, key: &SigningKey) -> Result<()> {
        let Self { name: NodeId([seed, ..]), .. } = *self;
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let device = SigningKey::from_seed([seed; 32]);
        let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
        let record = UnsignedRecord {
            version: 1,
            devices: vec![Device { key: device.public(), added_s: 1 }],
            homes: vec![address(self.name)?],
            copies: 2,
            inbox_key: InboxKey::from_seed([3; 32]).public(),
        };
        let bundle = authority.sign_record(record).context("no bundle")?;
        self.input(Input::Connected(DEVICE, None));
        self.hear(DEVICE, Frame::new(Body::Hello(Hello { versions: VERSIONS, nonce: [9; 16] })));
        self.hear(DEVICE, Frame::new(Body::PutBundle(bundle.as_bytes().to_vec())));
        let inbox = LogGenesis::Inbox(bundle.account());
        let open = self.open(1, inbox, &device, None);
        self.hear(DEVICE, Frame { request: 1, body: open });
        let nodes = [1, 2].map(|number| address(NodeId([number; 32])));
        let nodes = nodes.into_iter().collect::<Result<_>>()?;
        let open =
            self.open(2, genesis, key, Some(Ranking { version: 1, nodes, reserve: Vec::new() }));
        self.hear(DEVICE, Frame { request: 2, body: open });
        let said = self.out.remove(&DEVICE).unwrap_or_default();
        let opened = said.iter().filter(|frame| matches!(frame.body, Body::Opened { .. })).count();
        ensure!(opened == 2, "the logs are not open");
        Ok(())
    }

    fn open(
        &self,
        channel: u32,
        genesis: LogGenesis,
        key: &SigningKey,
        ranking: Option<Ranking>,
    ) -> Body {
        let log = genesis.id();
        let message = open_proof_message(&self.nonce, &[9; 16], &DEVICE, &self.name, &log, channel);
        Body::Open(Open {
            channel,
            log,
            key: key.public(),
            proof: key.sign(OPEN_CONTEXT, &message),
            genesis: Some(genesis.encode()),
            tail: None::<Cursor>,
            announce: false,
            ranking: ranking.map(Box::new),
        })
    }

    fn hear(&mut self, from: Peer, frame: Frame) {
        self.input(Input::Frame(from, frame));
    }

    fn input(&mut self, input: Input<node::NodeCommand>) {
        self.node.handle(input, self.now, &self.store);
        while let Some(output) = self.node.poll_output() {
            match output {
                // Memory has no disk that could be full.
                Output::Commit(batch) | Output::Note(batch) => drop(self.store.apply(&batch)),
                Output::Transmit(peer, frame) => {
                    if let Body::Hello(hello) = &frame.body {
                        self.nonce = hello.nonce;
                    }
                    if !matches!(frame.body, Body::Accepted { .. }) || peer != DEVICE {
                        self.out.entry(peer).or_default().push_back(frame);
                    }
                }
                _ => {}
            }
        }
    }

    /// Rows of entries, but for what is in inboxes.
    fn count(&self) -> u64 {
        let mut count = 0;
        self.store.scan(TABLES[0], &[], &[0xFF; 17], Direction::Forward, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    /// Loses the entries at some places of the node's order, and the ways to them.
    fn lose(&mut self, is_lost: impl Fn(u64) -> bool) -> Result<()> {
        let (mut place, mut lost, mut batch) = (0, BTreeSet::new(), WriteBatch::default());
        for table in TABLES {
            self.store.scan(table, &[], &[0xFF; 80], Direction::Forward, &mut |key, value| {
                let is_entry = table == TABLES[0];
                let of = if is_entry { key } else { value };
                let sequence = of.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                place += u64::from(is_entry);
                if is_entry && is_lost(place) {
                    lost.insert(sequence);
                }
                if lost.contains(&sequence) {
                    batch.delete(table, key);
                }
                ControlFlow::Continue(())
            });
        }
        self.store.apply(&batch)?;
        Ok(())
    }
}

fn address(node: NodeId) -> Result<NodeAddress> {
    Ok(NodeAddress { node, addresses: vec!["127.0.0.1:4440".parse()?] })
}

fn append(key: &SigningKey, log: LogId, number: u64) -> Body {
    let head = Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: number,
        log,
        write_key: key.public(),
        extension: Extension::default(),
    };
    let ciphertext = number.to_be_bytes().repeat(32);
    let envelope = sign_envelope(key, head, ciphertext);
    let entry = Entry::from_envelope(&envelope, 0, key.public());
    Body::Append { channel: 2, entry, signature: envelope.signature }
}

const DEVICE: Peer = PublicKey([0xDD; 32]);
/// Entries, and the ways to them.
const TABLES: [Table; 3] = [Table(4), Table(5), Table(6)];
const ENTRIES: u64 = 100_000;
const CASES: [u64; 3] = [10, 1000, 0];
/// Until all was counted and compared.
const SETTLED: Duration = Duration::from_secs(1800);
