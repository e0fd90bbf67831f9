//! A node's store with many envelopes: the machine of the node over its real store, which is handed
//! what devices say, without a network in between.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use crypto::SigningKey;
use node::{Node, NodeCommand, NodeConfig};
use proto::{
    Body, Frame, Input, Instant, Machine, NodeAddress, Output, Peer, PublicKey, Ranking, Seed,
    Table,
};
use store::{Fjall, Memory, Store};

use crate::{
    crowd::{Plan, authors},
    process::{node_id, open_store},
    sender::{Author, Sender, SenderConfig},
};

/// What was stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    pub(super) envelopes: u64,
    pub(super) bytes: u64,
}

/// Creates a node in `directory` with so many conversations, with so many messages each. Each has
/// another home, which is away, so that the node owes it all.
pub(super) fn fill(directory: &Path, conversations: u32, each: u64) -> Result<Filled> {
    let store = open_store(directory)?;
    let key = directory.join("node.key");
    fs::write(&key, SEED)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let mut filler = Filler::new(store)?;
    let mut writers = Vec::new();
    for (author, _) in
        authors(Plan::new(conversations), |number| Author::new(number, &address(SEED)))?
    {
        writers.push(filler.welcome(author)?);
    }
    let (made, to_store) = sync_channel(BATCHES_AHEAD);
    thread::scope(|scope| {
        scope.spawn(move || write(writers, each, &made));
        filler.take(to_store)
    })?;
    let wanted = u64::from(conversations) * each;
    ensure!(filler.filled.envelopes == wanted, "{wanted} and not {:?}", filler.filled);
    Ok(filler.filled)
}

/// The account of a conversation, as it was when the store was filled.
pub(super) fn author(number: u32) -> Result<Author> {
    Author::new(number, &address(SEED))
}

/// Each author says something, in turns.
fn write(mut writers: Vec<(Peer, Author)>, each: u64, made: &SyncSender<Batch>) {
    let mut batch = Batch::new();
    for round in 0..each {
        for (number, (device, author)) in (0..).zip(&mut writers) {
            let body = author.next_of(text_bytes(number, round));
            batch.push((*device, Frame { request: 1, body }));
            // The stopped receiver reports why.
            if batch.len() >= BATCH && made.send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    let _ = made.send(batch);
}

fn text_bytes(number: u64, round: u64) -> usize {
    TEXT_MIN + (number * 101 + round * 37) as usize % (TEXT_MAX - TEXT_MIN)
}

/// The node, and the disk under it.
struct Filler {
    node: Node,
    store: Fjall,
    now: Instant,
    said: VecDeque<Frame>,
    filled: Filled,
}

impl Filler {
    fn new(store: Fjall) -> Result<Self> {
        // No device is connected to get acks.
        let name = address(SEED).node;
        let config = NodeConfig { disk_cap_bytes: u64::MAX, ..NodeConfig::new(name) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now = Instant::from_secs(now.as_secs());
        let node = Node::open(config, Seed(SEED), now, &store)?;
        Ok(Self { node, store, now, said: VecDeque::new(), filled: Filled::default() })
    }

    /// Registers an account; its device opens inbox and conversation.
    fn welcome(&mut self, author: Author) -> Result<(Peer, Author)> {
        let (home, away) = (address(SEED), address(AWAY));
        let name = PublicKey(home.node.0);
        let device = SigningKey::from_seed(author.transport).public();
        let ranking = Ranking { version: 1, nodes: vec![home.clone(), away], reserve: Vec::new() };
        let (node, ranking, ready_made) = (home, Some(ranking), VecDeque::new());
        let progress = Default::default();
        let config = SenderConfig { author, node, progress, ready_made, follow: false, ranking };
        let nobodys = Memory::new();
        let mut sender = Sender::open(config, Seed(SEED), self.now, &nobodys)?;
        self.input(Input::Connected(device, None))?;
        sender.handle(Input::Connected(name, None), self.now, &nobodys);
        while let Some(output) = sender.poll_output() {
            let Output::Transmit(_, frame) = output else { continue };
            self.input(Input::Frame(device, frame))?;
            for frame in std::mem::take(&mut self.said) {
                sender.handle(Input::Frame(name, frame), self.now, &nobodys);
            }
        }
        ensure!(sender.is_ready(), "a device does not come in");
        Ok((device, sender.into_author()))
    }

    /// Stores its input as the driver does: many signatures are verified and many commits synced at
    /// once.
    fn take(&mut self, to_store: Receiver<Batch>) -> Result<()> {
        for batch in to_store {
            self.node.prefetch(&batch, &self.store);
            for (device, frame) in batch {
                self.input(Input::Frame(device, frame))?;
            }
            self.store.sync()?;
            let refused = self.said.iter().find(|frame| matches!(frame.body, Body::Refused { .. }));
            if let Some(frame) = refused {
                bail!("{frame:?}");
            }
            self.said.clear();
        }
        Ok(())
    }

    fn input(&mut self, input: Input<NodeCommand>) -> Result<()> {
        self.node.handle(input, self.now, &self.store);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Commit(batch) | Output::Note(batch) => {
                    for (_, _, row) in batch.iter().filter(|(table, ..)| *table == ENTRIES) {
                        self.filled.envelopes += 1;
                        self.filled.bytes += row.map_or(0, <[u8]>::len) as u64;
                    }
                    self.store.apply(&batch)?;
                }
                Output::Transmit(_, frame) => self.said.push_back(frame),
                _ => {}
            }
        }
        Ok(())
    }
}

fn address(seed: [u8; 32]) -> NodeAddress {
    // No node listens there.
    let addresses = vec![([127, 0, 0, 1], 1).into()];
    NodeAddress { node: node_id(seed), addresses }
}

type Batch = Vec<(Peer, Frame)>;

pub(super) const ENTRIES: Table = Table(4);
const SEED: [u8; 32] = [0xB8; 32];
const AWAY: [u8; 32] = [0xB9; 32];
/// As many as a driver handles before a sync.
const BATCH: usize = 1024;
const BATCHES_AHEAD: usize = 8;
const TEXT_MIN: usize = 10;
const TEXT_MAX: usize = 330;
