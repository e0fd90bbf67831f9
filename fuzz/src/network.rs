//! Machines among strangers.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use crypto::{OPEN_CONTEXT, SigningKey, open_proof_message, sign_envelope};
use node::{Node, NodeCommand, NodeConfig, NodeEvent};
use proto::{
    Body, Frame, Hello, Input, Instant, LogGenesis, LogId, Machine, Open, Output, Peer, PublicKey,
    Seed, VERSIONS,
};
use store::{Memory, Store};

use crate::{
    secrets::{ALICE, BOB, NODE, Person},
    words::survives,
};

/// A node, where two accounts live already, and three connections that do what the bytes say:
/// connect, talk nonsense, tell the truth, leave, wait; now and then the power fails.
pub fn node_machine(bytes: &[u8]) {
    let mut world = World::new(POPULATED.clone());
    let mut rest = bytes;
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        let peer = PublicKey([step >> 3 & 3; 32]);
        match step & 7 {
            0 => world.input(Input::Connected(peer, None)),
            1 => world.input(Input::Disconnected(peer)),
            2 => world.pass(take(&mut rest, 1)),
            3 => world.crash(),
            4 | 5 => {
                let length = take(&mut rest, 1).first().copied().unwrap_or_default();
                let Ok(frame) = Frame::decode(take(&mut rest, length)) else { continue };
                world.input(Input::Frame(
                    peer,
                    if step & 7 == 4 { frame } else { world.honest(peer, frame) },
                ));
            }
            6 => {
                let bytes =
                    u64::from(take(&mut rest, 1).first().copied().unwrap_or_default()) << 25;
                world.input(Input::Command(NodeCommand::DiskUsed(bytes)));
            }
            _ => {
                let hello = Hello { versions: VERSIONS, nonce: NONCE };
                world.input(Input::Frame(peer, Frame::new(Body::Hello(hello))));
            }
        }
    }
    world.sync();
    let charged = world.node.counters().charged_bytes;
    world.reopen();
    assert_eq!(world.node.counters().charged_bytes, charged, "a restart changes what is charged");
}

/// A node and its store.
struct World {
    node: Node,
    store: Memory,
    now: Instant,
    unsynced: u8,
    /// The node's newest nonce for each peer.
    nonces: BTreeMap<Peer, [u8; 16]>,
}

impl World {
    fn new(store: Memory) -> Self {
        let now = Instant::from_secs(1_900_000_000);
        let node = Node::open(config(), Seed([1; 32]), now, &store).unwrap();
        Self { node, store, now, unsynced: 0, nonces: BTreeMap::new() }
    }

    fn input(&mut self, input: Input<NodeCommand>) {
        self.node.handle(input, self.now, &self.store);
        let (mut commits, mut refusals, mut first) = (0, 0, true);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Note(batch) => self.store.apply(&batch).unwrap(),
                Output::Commit(batch) => {
                    assert!(first && !batch.is_empty(), "one commit, before all answers");
                    self.store.apply(&batch).unwrap();
                    commits += 1;
                }
                Output::Transmit(peer, said) => {
                    survives(&said);
                    match said.body {
                        Body::Hello(hello) => _ = self.nonces.insert(peer, hello.nonce),
                        Body::Refused { .. } => refusals += 1,
                        _ => {}
                    }
                }
                Output::Connect(..)
                | Output::Disconnect(_)
                | Output::Event(NodeEvent::Counters(_)) => {}
                Output::Event(NodeEvent::Registered(account)) => {
                    assert!([ALICE.account(), BOB.account()].contains(&account), "an intruder");
                }
                Output::Event(_) | Output::Reach(_) => {
                    panic!("not of a node alone")
                }
            }
            first = false;
        }
        assert!(commits == 0 || refusals == 0, "what is refused changes nothing");
        self.unsynced += 1;
        if self.unsynced == 4 {
            self.sync();
        }
    }

    fn pass(&mut self, minutes: &[u8]) {
        let minutes = u64::from(minutes.first().copied().unwrap_or_default());
        self.now = self.now.after(Duration::from_secs(minutes * minutes * 60));
        for _ in 0..100 {
            if self.node.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
            self.input(Input::Timeout);
        }
        panic!("timeouts without end");
    }

    fn sync(&mut self) {
        self.store.sync().unwrap();
        self.unsynced = 0;
    }

    fn crash(&mut self) {
        self.store = std::mem::take(&mut self.store).crash();
        self.reopen();
    }

    fn reopen(&mut self) {
        self.node = Node::open(config(), Seed([2; 32]), self.now, &self.store).unwrap();
        self.unsynced = 0;
    }

    /// The frame with the names, proofs and signatures of someone who holds the keys.
    fn honest(&self, peer: Peer, frame: Frame) -> Frame {
        let body = match frame.body {
            Body::Open(open) => Body::Open(self.honest_open(peer, open)),
            Body::Append { channel, entry, signature } => {
                let (key, log, _) = role(channel);
                let envelope = entry.clone().into_envelope(log, key.public(), signature);
                let signature = sign_envelope(&key, envelope.head, envelope.ciphertext).signature;
                Body::Append { channel, entry, signature }
            }
            Body::PutBundle(bytes) => {
                let person: &Person = if bytes.len() % 2 == 0 { &ALICE } else { &BOB };
                let mut record = person.bundle.next_record();
                record.version = bytes.first().copied().unwrap_or_default().into();
                let bundle = person.authority.sign_record(record);
                Body::PutBundle(bundle.map_or(bytes, |bundle| bundle.as_bytes().to_vec()))
            }
            Body::PutKeyPackages(mut put) => {
                put.device = ALICE.device.public();
                Body::PutKeyPackages(put)
            }
            Body::PutInvite { channel, key: _, expires_s, uses } => {
                let expires_s = self.now.as_secs().saturating_add(expires_s);
                Body::PutInvite { channel, key: invite().public(), expires_s, uses }
            }
            other => other,
        };
        Frame { body, ..frame }
    }

    fn honest_open(&self, peer: Peer, open: Open) -> Open {
        let (key, log, genesis) = role(open.channel);
        let node_nonce = self.nonces.get(&peer).copied().unwrap_or_default();
        let message = open_proof_message(&node_nonce, &NONCE, &peer, &NODE, &log, open.channel);
        let genesis = open.genesis.map(|_| genesis.encode());
        Open { log, key: key.public(), proof: key.sign(OPEN_CONTEXT, &message), genesis, ..open }
    }
}

/// Whose key opens which log as `channel`: the inboxes' owners, a member, a guest.
fn role(channel: u32) -> (SigningKey, LogId, LogGenesis) {
    let member = SigningKey::from_seed([9; 32]);
    let conversation = LogGenesis::Conversation { write_key: member.public(), salt: [9; 16] };
    let (key, genesis) = match channel % 4 {
        0 => (ALICE.device.clone(), LogGenesis::Inbox(ALICE.account())),
        1 => (BOB.device.clone(), LogGenesis::Inbox(BOB.account())),
        2 => (member, conversation),
        _ => (invite(), LogGenesis::Inbox(ALICE.account())),
    };
    (key, genesis.id(), genesis)
}

fn invite() -> SigningKey {
    SigningKey::from_seed([8; 32])
}

fn take<'a>(rest: &mut &'a [u8], length: u8) -> &'a [u8] {
    let (taken, after) = rest.split_at_checked(length.into()).unwrap_or((rest, &[]));
    *rest = after;
    taken
}

/// Small, so that its limits are met.
fn config() -> NodeConfig {
    NodeConfig {
        disk_cap_bytes: 64 << 20,
        account_quota_bytes: 64 << 10,
        log_quota_bytes: 8 << 10,
        ..NodeConfig::new(NODE)
    }
}

/// The rows of a node where Alice and Bob are registered.
static POPULATED: LazyLock<Memory> = LazyLock::new(|| {
    let mut world = World::new(Memory::new());
    let peer = PublicKey([0; 32]);
    world.input(Input::Connected(peer, None));
    let hello = Body::Hello(Hello { versions: VERSIONS, nonce: NONCE });
    world.input(Input::Frame(peer, Frame::new(hello)));
    for person in [&*ALICE, &*BOB] {
        let put = Body::PutBundle(person.bundle.as_bytes().to_vec());
        world.input(Input::Frame(peer, Frame { request: 1, body: put }));
    }
    world.sync();
    world.store
});

/// Of the dialling side.
const NONCE: [u8; 16] = [6; 16];
