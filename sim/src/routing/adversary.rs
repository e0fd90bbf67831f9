//! Adversaries: routers that join like any other, and then deviate from the protocol in one way.
//! The driver encodes their frames like those of any machine.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use crypto::{
    SigningKey,
    node::{NodeRecord, Suspicion, UnsignedNodeRecord},
};
use proto::{
    Body, Contact, Fact, Frame, Gossip, Input, Instant, Key, Machine, NodeId, Output, Peer, Record,
    Routing, Rows, limits,
};
use routing::{Router, RouterCommand, RouterEvent};

use super::{
    attacker::grind,
    mesh::{Party, WORK_BITS},
};
use crate::rng::Rng;

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// None: the others are compared with this one.
    Nothing,
    /// Answers with nonexistent contacts, nearer to the key than any real one.
    Poison,
    /// Answers with bundles that don't verify.
    Forge,
    /// Answers with older bundles, and stores them.
    Stale,
    /// Sends records, bundles, facts and lists that are too long.
    Oversize,
    /// Never answers a request.
    Silence,
    /// Sends requests, records and facts as fast as it can.
    Flood,
    /// Suspects every node.
    Suspect,
    /// Publishes addresses in other nodes' networks.
    Elsewhere,
}

/// What adversaries know before they begin.
pub(super) struct Loot {
    /// Keys of accounts, and bundles that have newer ones.
    pub(super) old: Vec<(Key, Vec<u8>)>,
    /// Nodes that are there.
    pub(super) nodes: Vec<(Contact, u64)>,
    /// Contacts that are nowhere, by the key that they are near to.
    nowhere: Vec<(Key, Contact)>,
}

impl Loot {
    pub(super) fn new(old: Vec<(Key, Vec<u8>)>, nodes: Vec<(Contact, u64)>, rng: &mut Rng) -> Self {
        let near = nodes.len().ilog2() + 4;
        let keys: Vec<Key> = old.iter().map(|(key, _)| *key).collect();
        let made_up = keys.iter().flat_map(|key| [*key; limits::BUCKET_MAX]).enumerate();
        let nowhere = made_up.map(|(number, key)| {
            let (signing, nonce, _) = grind(&key, near, rng.bytes());
            let [_, a, b, c] = (number as u32).to_be_bytes();
            let addresses = vec![([150 + a, b, c, 1], 4440).into()];
            (key, Contact { node: NodeId(signing.public().0), nonce, addresses })
        });
        let nowhere = nowhere.collect();
        Self { old, nodes, nowhere }
    }
}

/// One of them.
pub(super) struct Adversary {
    behaviour: Behaviour,
    router: Router,
    key: SigningKey,
    loot: Rc<Loot>,
    rng: Rng,
    peers: BTreeSet<Peer>,
    outputs: VecDeque<Output<RouterEvent>>,
    next: Instant,
    said: u32,
}

impl Adversary {
    pub(super) fn new(
        behaviour: Behaviour,
        router: Router,
        key: SigningKey,
        loot: Rc<Loot>,
        rng: Rng,
    ) -> Self {
        let mut adversary = Self {
            behaviour,
            router,
            key,
            loot,
            rng,
            peers: BTreeSet::new(),
            outputs: VecDeque::new(),
            next: Instant::default(),
            said: 0,
        };
        adversary.pass_on();
        adversary
    }

    /// What the router wants, which is to be taken for a good node.
    fn pass_on(&mut self) {
        while let Some(output) = Machine::poll_output(&mut self.router) {
            self.outputs.push_back(output);
        }
    }

    /// Answers a question in its own way. Returns false if it has none.
    fn answers(&mut self, peer: Peer, frame: &Frame) -> bool {
        let Body::Routing(Routing::Find { target, .. }) = &frame.body else {
            return self.behaviour == Behaviour::Silence
                && frame.request != 0
                && is_question(&frame.body);
        };
        let old = self.loot.old.iter().find(|(key, _)| key == target).map(|(_, bundle)| bundle);
        let answer = match self.behaviour {
            Behaviour::Silence => return true,
            Behaviour::Poison => (None, self.nowhere(target, limits::BUCKET_MAX)),
            Behaviour::Forge | Behaviour::Stale => {
                let Some(mut bundle) = old.cloned() else { return false };
                if self.behaviour == Behaviour::Forge
                    && let Some(byte) = bundle.last_mut()
                {
                    *byte ^= 1;
                }
                (Some(Record::Account(bundle)), Vec::new())
            }
            Behaviour::Oversize => (None, self.nowhere(target, limits::BUCKET_MAX + 1)),
            Behaviour::Nothing | Behaviour::Flood | Behaviour::Suspect | Behaviour::Elsewhere => {
                return false;
            }
        };
        let (record, contacts) = answer;
        self.say(peer, frame.request, Routing::Found { record, contacts });
        true
    }

    /// Contacts near to a key that lead nowhere.
    fn nowhere(&mut self, target: &Key, count: usize) -> Vec<Contact> {
        let near = self.loot.nowhere.iter().filter(|(key, _)| key == target);
        let mut contacts: Vec<Contact> = near.map(|(_, contact)| contact.clone()).collect();
        while contacts.len() < count {
            let Some((_, contact)) = self.rng.pick(&self.loot.nowhere).cloned() else { break };
            contacts.push(contact);
        }
        contacts
    }

    /// Does harm unasked, to each peer.
    fn misbehave(&mut self, now: Instant) {
        let made_up =
            if self.behaviour == Behaviour::Flood { self.make_up(now) } else { Vec::new() };
        for peer in self.peers.clone() {
            match self.behaviour {
                Behaviour::Stale => {
                    for (_, bundle) in self.loot.old.clone().into_iter().take(4) {
                        self.store(peer, Record::Account(bundle));
                    }
                }
                Behaviour::Oversize => {
                    self.say(peer, 0, Routing::Introduce(vec![7; limits::NODE_RECORD_MAX + 1]));
                    self.store(peer, Record::Account(vec![7; limits::FRAME_MAX / 2]));
                    self.spread(peer, Fact::Node(vec![7; limits::NODE_RECORD_MAX + 1]));
                }
                Behaviour::Flood => self.flood(peer, &made_up),
                Behaviour::Suspect => self.suspect(peer, now),
                Behaviour::Nothing
                | Behaviour::Poison
                | Behaviour::Forge
                | Behaviour::Silence
                | Behaviour::Elsewhere => {}
            }
        }
    }

    fn flood(&mut self, peer: Peer, made_up: &[Vec<u8>]) {
        for _ in 0..FLOOD {
            let target = Key(self.rng.bytes());
            self.ask(peer, Routing::Find { target, record: true });
        }
        for bytes in made_up {
            self.spread(peer, Fact::Node(bytes.clone()));
            self.store(peer, Record::Node(bytes.clone()));
        }
    }

    /// Signs records of new nodes, which verify and which some node has to keep.
    fn make_up(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let draft = |number: u32| {
            let key = SigningKey::from_seed(self.rng.bytes());
            let nonce = NodeRecord::prove_work(&NodeId(key.public().0), WORK_BITS);
            let serial = now.as_secs() + u64::from(number);
            let addresses = vec![([160, 0, 0, 1], 4440).into()];
            let says =
                UnsignedNodeRecord { nonce, serial, addresses, ..UnsignedNodeRecord::default() };
            NodeRecord::sign(&key, &says, WORK_BITS)
        };
        let records = (0..FLOOD / 5).filter_map(draft);
        records.map(|record| record.as_bytes().to_vec()).collect()
    }

    fn suspect(&mut self, peer: Peer, now: Instant) {
        let own = self.router.record().contact();
        let Some((node, serial)) = self.rng.pick(&self.loot.nodes).cloned() else { return };
        let bytes = Suspicion::sign(&self.key, &own, node.node, serial, now.as_secs());
        self.spread(peer, Fact::Suspicion(bytes));
    }

    fn spread(&mut self, peer: Peer, fact: Fact) {
        self.say(peer, 0, Routing::Gossip(Gossip::Spread { fact, hops: 0 }));
    }

    fn store(&mut self, peer: Peer, record: Record) {
        self.ask(peer, Routing::Store { record, age_s: 0 });
    }

    fn ask(&mut self, peer: Peer, word: Routing) {
        // Beyond what its router uses.
        self.said = self.said.wrapping_add(1) | 1 << 31;
        self.say(peer, self.said, word);
    }

    fn say(&mut self, peer: Peer, request: u32, word: Routing) {
        let frame = Frame { request, body: Body::Routing(word) };
        self.outputs.push_back(Output::Transmit(peer, frame));
    }
}

impl Party for Adversary {
    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows) {
        match &input {
            Input::Connected(peer, _) => {
                self.peers.insert(*peer);
            }
            Input::Disconnected(peer) => {
                self.peers.remove(peer);
            }
            Input::Frame(peer, frame) if self.answers(*peer, frame) => return,
            Input::Timeout if now >= self.next => {
                self.next = now.after(EVERY);
                self.misbehave(now);
            }
            _ => {}
        }
        Machine::handle(&mut self.router, input, now, rows);
        self.pass_on();
    }

    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = Machine::poll_timeout(&self.router);
        let next = (!self.peers.is_empty()).then_some(self.next);
        [due, next].into_iter().flatten().min()
    }
}

fn is_question(body: &Body) -> bool {
    matches!(body, Body::Routing(Routing::Store { .. } | Routing::Probe { .. } | Routing::AskRelay))
}

/// How often it does harm unasked.
const EVERY: Duration = Duration::from_millis(200);
/// Questions each time: 100 a second to each peer, half as many again as one may ask.
const FLOOD: u32 = 20;
