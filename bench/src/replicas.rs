//! What it costs two nodes to find out that their copies of a log are equal, or to repair them: the
//! machines of nodes over rows in memory, with all that they say to each other.

use std::{
    collections::BTreeSet,
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use crypto::{SigningKey, sign_envelope};
use node::{Node, NodeConfig};
use proto::{
    Body, Direction, Entry, Frame, Hello, Input, LogGenesis, LogId, NodeAddress, NodeId, Peer,
    PublicKey, Ranking, Rows, Table, VERSIONS, WriteBatch, write_frame,
};
use store::{Memory, Store};
use testnet::{Keys, Net};

use crate::{
    measure::millis,
    signed::{Account, Greeted, OpenLog, head},
};

pub(crate) fn run() -> Result<()> {
    println!("replicas: two nodes with a log of {ENTRIES} entries, half of what differs on each");
    let mut pair = Pair::new()?;
    pair.0.pass(UNTIL_COMPARED);
    for differences in CASES {
        let cost = pair.repair(differences)?;
        println!("  {differences:5} differ: {cost}");
    }
    Ok(())
}

/// Two nodes that hold a log.
struct Pair(Net<Node>);

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
        let mut net = Net::new(1);
        let key = SigningKey::from_seed([9; 32]);
        let genesis = LogGenesis::Conversation { write_key: key.public(), salt: [9; 16] };
        for (number, node) in NODES.into_iter().enumerate() {
            let config = move || NodeConfig {
                anti_entropy_every: Duration::from_secs(60),
                scrub_every: Duration::from_secs(300),
                ..NodeConfig::new(node)
            };
            net.add(Keys::One(PublicKey(node.0)), None, config, |_| Vec::new());
            net.start(number);
            welcome(&mut net, number, genesis, &key)?;
        }
        net.run();
        for number in 1..=ENTRIES {
            let body = append(&key, genesis.id(), number);
            net.input(0, Input::Frame(DEVICE, Frame { request: 3, body }));
            if number.is_multiple_of(64) {
                net.run();
                net.sent.clear();
                net.hosts[0].take(DEVICE);
            }
        }
        Ok(Self(net))
    }

    /// Each node loses half of so many entries; returns what it cost until both have all.
    fn repair(&mut self, differences: u64) -> Result<Cost> {
        let Self(net) = self;
        let count = |net: &Net<Node>| [0, 1].map(|number| count(&net.hosts[number].store));
        let before = count(net);
        ensure!(before == [ENTRIES; 2], "the copies are not whole: {before:?}");
        let every = ENTRIES.checked_div(differences).unwrap_or(u64::MAX);
        for (host, at) in net.hosts.iter_mut().zip([0, 1]) {
            let is_lost = |place: u64| {
                differences > 0 && place.is_multiple_of(every) && place / every % 2 == at
            };
            lose(&mut host.store, is_lost)?;
        }
        if differences == 0 {
            // What has not changed since is compared after a new connection only.
            net.disconnect(0, 1);
        }
        net.sent.clear();
        let began = Instant::now();
        net.pass(UNTIL_COMPARED);
        let mut cost = Cost { took: began.elapsed(), ..Cost::default() };
        net.sent.iter().for_each(|sent| cost.count(&sent.frame));
        let after = count(net);
        ensure!(after == [ENTRIES; 2], "something is lacking: {after:?}");
        ensure!(cost.pushed as u64 == differences, "{} were pushed", cost.pushed);
        Ok(cost)
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

/// A device registers an account at a node, and opens the conversation of both nodes.
fn welcome(
    net: &mut Net<Node>,
    number: usize,
    genesis: LogGenesis,
    key: &SigningKey,
) -> Result<()> {
    let (node, nonce) = (NODES[number], [9; 16]);
    let account = Account::new(node.0, vec![address(node)])?;
    let ranking = Ranking { version: 1, nodes: NODES.map(address).into(), reserve: Vec::new() };
    net.input(number, Input::Connected(DEVICE, None));
    let said = net.hosts[number].take(DEVICE);
    let Some(Body::Hello(hello)) = said.into_iter().next().map(|frame| frame.body) else {
        bail!("no Hello")
    };
    let greeted = Greeted { node, node_nonce: hello.nonce, device: DEVICE, nonce };
    let inbox = (1, account.inbox(), &account.device, None);
    let [inbox, conversation] =
        [inbox, (2, genesis, key, Some(ranking))].map(|(channel, genesis, key, ranking)| {
            greeted.open(OpenLog { channel, genesis, key, ranking, follow: false })
        });
    let bundle = Body::PutBundle(account.bundle.as_bytes().to_vec());
    let hello = Body::Hello(Hello { versions: VERSIONS, nonce });
    for (request, body) in (0..).zip([hello, bundle, inbox, conversation]) {
        net.input(number, Input::Frame(DEVICE, Frame { request, body }));
    }
    let said = net.hosts[number].take(DEVICE);
    let opened = said.iter().filter(|frame| matches!(frame.body, Body::Opened { .. })).count();
    ensure!(opened == 2, "the logs are not open");
    Ok(())
}

/// Rows of entries, but for what is in inboxes.
fn count(store: &Memory) -> u64 {
    let mut count = 0;
    store.scan(TABLES[0], &[], &[0xFF; 17], Direction::Forward, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// Loses the entries at some places of the node's order, and the ways to them.
fn lose(store: &mut Memory, is_lost: impl Fn(u64) -> bool) -> Result<()> {
    let (mut place, mut lost, mut batch) = (0, BTreeSet::new(), WriteBatch::default());
    for table in TABLES {
        store.scan(table, &[], &[0xFF; 80], Direction::Forward, &mut |key, value| {
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
    store.apply(&batch)?;
    Ok(())
}

fn address(node: NodeId) -> NodeAddress {
    NodeAddress { node, addresses: vec![([127, 0, 0, 1], 4440).into()] }
}

fn append(key: &SigningKey, log: LogId, number: u64) -> Body {
    let envelope = sign_envelope(key, head(key, log, number), number.to_be_bytes().repeat(32));
    let entry = Entry::from_envelope(&envelope, 0, key.public());
    Body::Append { channel: 2, entry, signature: envelope.signature }
}

const NODES: [NodeId; 2] = [NodeId([1; 32]), NodeId([2; 32])];
const DEVICE: Peer = PublicKey([0xDD; 32]);
/// Entries, and the ways to them.
const TABLES: [Table; 3] = [Table(4), Table(5), Table(6)];
const ENTRIES: u64 = 100_000;
const CASES: [u64; 3] = [10, 1000, 0];
/// Until all was counted and compared.
const UNTIL_COMPARED: Duration = Duration::from_secs(1800);
