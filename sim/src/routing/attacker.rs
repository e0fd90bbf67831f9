//! Attackers: nodes of one hand that keep to the protocol as far as they must, and name only each
//! other. What they store they drop, and they know no record.

use std::{collections::VecDeque, rc::Rc};

use crypto::{
    SigningKey,
    node::{NodeRecord, UnsignedNodeRecord},
};
use proto::{Body, Contact, Frame, Input, Instant, Key, Output, Routing, Rows, limits};
use routing::{RouterCommand, RouterEvent};

use super::mesh::{Party, WORK_BITS};

/// One of them.
pub(super) struct Attacker {
    own: NodeRecord,
    /// All of them, with their places.
    gang: Rc<Vec<(Key, Contact)>>,
    outputs: VecDeque<Output<RouterEvent>>,
    requests: u32,
}

impl Attacker {
    /// The attacker of this key, which joins through `through` by asking it for its own key, so
    /// that it becomes known.
    pub(super) fn new(
        key: &SigningKey,
        own: &Contact,
        gang: Rc<Vec<(Key, Contact)>>,
        through: &[Contact],
        now: Instant,
    ) -> Option<Self> {
        let says = UnsignedNodeRecord {
            nonce: own.nonce,
            serial: now.as_secs(),
            addresses: own.addresses.clone(),
            // Nodes believe any capacity up to a limit.
            capacity_bytes: u64::MAX,
            ..UnsignedNodeRecord::default()
        };
        let own = NodeRecord::sign(key, &says, WORK_BITS)?;
        let outputs = through.iter().map(|contact| {
            Output::Connect(proto::PublicKey(contact.node.0), contact.addresses.clone())
        });
        Some(Self { own, gang, outputs: outputs.collect(), requests: 0 })
    }

    /// The nearest of the gang.
    fn nearest(&self, target: &Key) -> Vec<Contact> {
        let distance = |key: &Key| {
            let mut xor = key.0;
            xor.iter_mut().zip(target.0).for_each(|(byte, other)| *byte ^= other);
            xor
        };
        let mut nearest: Vec<&(Key, Contact)> =
            self.gang.iter().filter(|(_, contact)| contact.node != self.own.node()).collect();
        let count = limits::BUCKET_MAX.min(nearest.len());
        if count < nearest.len() {
            nearest.select_nth_unstable_by_key(count, |(key, _)| distance(key));
        }
        nearest.into_iter().take(count).map(|(_, contact)| contact.clone()).collect()
    }

    fn say(&mut self, peer: proto::Peer, request: u32, word: Routing) {
        let frame = Frame { request, body: Body::Routing(word) };
        self.outputs.push_back(Output::Transmit(peer, frame));
    }
}

impl Party for Attacker {
    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        self.outputs.pop_front()
    }

    fn handle(&mut self, input: Input<RouterCommand>, _now: Instant, _rows: &dyn Rows) {
        match input {
            Input::Connected(peer, _) => {
                let introduce = Routing::Introduce(self.own.as_bytes().to_vec());
                self.say(peer, 0, introduce);
                self.requests += 1;
                let find = Routing::Find { target: self.own.dht_key(), record: false };
                self.say(peer, self.requests, find);
            }
            Input::Frame(peer, Frame { request, body: Body::Routing(word) }) => match word {
                Routing::Find { target, .. } => {
                    let contacts = self.nearest(&target);
                    self.say(peer, request, Routing::Found { record: None, contacts });
                }
                Routing::Store { .. } => {
                    let body = Body::Accepted { channel: 0, sequence: 0 };
                    self.outputs.push_back(Output::Transmit(peer, Frame { request, body }));
                }
                Routing::Probe { .. } => self.say(peer, request, Routing::Probed(Some(true))),
                _ => {}
            },
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Grinds a key whose DHT key shares `bits` leading bits with `target`; returns it with the number
/// of keys and nonces tried.
pub(super) fn grind(target: &Key, bits: u32, mut seed: [u8; 32]) -> (SigningKey, u64, u64) {
    let mut tries = 0;
    loop {
        let key = SigningKey::from_seed(seed);
        let node = proto::NodeId(key.public().0);
        // One key will do: each nonce gives another.
        for nonce in 0..1_u64 << 40 {
            tries += 1;
            let contact = Contact { node, nonce, addresses: Vec::new() };
            let key_there = NodeRecord::key_of(&contact, WORK_BITS);
            if key_there.is_some_and(|there| there.shared_bits(target) >= bits) {
                return (key, nonce, tries);
            }
        }
        seed[31] = seed[31].wrapping_add(1);
    }
}
