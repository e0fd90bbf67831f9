//! Receipts: which devices wait to hear that other nodes hold what they have appended. Only in memory:
//! whoever misses one appends again and is told again.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Gauge, Peer, PublicKey, Reference};

/// What devices wait for.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    waiting: BTreeMap<Key, Waiting>,
    /// All of them, the oldest first.
    ages: BTreeMap<u64, Key>,
    /// Those of each connection, the oldest first.
    of_peer: BTreeMap<Peer, BTreeSet<u64>>,
    next_age: u64,
}

/// An entry, and the connection and handle by which it came.
type Key = (Reference, Peer, u32);

#[derive(Debug)]
struct Waiting {
    log: u64,
    age: u64,
    /// Who has not said that it has the entry.
    nodes: Vec<Peer>,
}

impl Receipts {
    pub(crate) fn gauges(&self) -> [Gauge; 2] {
        let most = self.of_peer.values().map(BTreeSet::len).max().unwrap_or(0);
        [
            Gauge::new("entries a connection awaits receipts for", most, PER_CONNECTION_MAX),
            Gauge::new("entries that receipts are awaited for", self.waiting.len(), WAITING_MAX),
        ]
    }

    /// A device has appended an entry to a log that `nodes` hold as well.
    pub(crate) fn expect(
        &mut self,
        (reference, peer, handle): (Reference, Peer, u32),
        log: u64,
        nodes: Vec<Peer>,
    ) {
        let key = (reference, peer, handle);
        self.forget(&key);
        if nodes.is_empty() {
            return;
        }
        let ages = self.of_peer.get(&peer);
        let oldest_of_peer = ages.filter(|ages| ages.len() >= PER_CONNECTION_MAX);
        let oldest_of_peer = oldest_of_peer.and_then(|ages| ages.first().copied());
        let oldest = self.ages.first_key_value().filter(|_| self.ages.len() >= WAITING_MAX);
        let gone = oldest_of_peer.or_else(|| oldest.map(|(age, _)| *age));
        if let Some(key) = gone.and_then(|age| self.ages.get(&age).copied()) {
            self.forget(&key);
        }
        let age = self.next_age;
        self.next_age = age.saturating_add(1);
        self.waiting.insert(key, Waiting { log, age, nodes });
        self.ages.insert(age, key);
        self.of_peer.entry(peer).or_default().insert(age);
    }

    /// A node says that it holds an entry of one of the logs of which `is_pushed` speaks. Returns who
    /// has waited for that, by connection and handle; nothing if nobody knows of the entry.
    pub(crate) fn held(
        &mut self,
        reference: Reference,
        node: &Peer,
        is_pushed: impl Fn(u64) -> bool,
    ) -> Vec<(Peer, u32)> {
        let (first, last) = (PublicKey([0; 32]), PublicKey([0xFF; 32]));
        let all = (reference, first, 0)..=(reference, last, u32::MAX);
        let (mut told, mut done) = (Vec::new(), Vec::new());
        for (key, waiting) in self.waiting.range_mut(all) {
            let at = waiting.nodes.iter().position(|awaited| awaited == node);
            let Some(at) = at.filter(|_| is_pushed(waiting.log)) else { continue };
            waiting.nodes.swap_remove(at);
            told.push((key.1, key.2));
            if waiting.nodes.is_empty() {
                done.push(*key);
            }
        }
        done.iter().for_each(|key| self.forget(key));
        told
    }

    /// A handle is closed.
    pub(crate) fn close(&mut self, peer: Peer, handle: u32) {
        let ages = self.of_peer.get(&peer).into_iter().flatten();
        let keys = ages.filter_map(|age| self.ages.get(age).copied());
        let keys: Vec<Key> = keys.filter(|key| key.2 == handle).collect();
        keys.iter().for_each(|key| self.forget(key));
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&mut self, peer: Peer) {
        for age in self.of_peer.remove(&peer).into_iter().flatten() {
            if let Some(key) = self.ages.remove(&age) {
                self.waiting.remove(&key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(waiting) = self.waiting.remove(key) else { return };
        self.ages.remove(&waiting.age);
        if let Some(ages) = self.of_peer.get_mut(&key.1) {
            ages.remove(&waiting.age);
            if ages.is_empty() {
                self.of_peer.remove(&key.1);
            }
        }
    }
}

/// Entries of one connection: twice as many as a device has on the way without an answer.
const PER_CONNECTION_MAX: usize = 256;
/// Entries of all: about 20 MiB, and what a busy node takes in some seconds. The oldest go, for they
/// wait for nodes that are away.
const WAITING_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Peer = PublicKey([1; 32]);
    const B: Peer = PublicKey([2; 32]);
    const NODES: [Peer; 2] = [PublicKey([8; 32]), PublicKey([9; 32])];

    fn reference(number: u64) -> Reference {
        Reference(u128::from(number).to_be_bytes())
    }

    fn expecting(keys: &[(u64, Peer, u32)]) -> Receipts {
        let mut receipts = Receipts::default();
        for (number, peer, handle) in keys {
            receipts.expect((reference(*number), *peer, *handle), 1, NODES.to_vec());
        }
        receipts
    }

    fn check(receipts: &Receipts) {
        for gauge in receipts.gauges() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        let of_peers: usize = receipts.of_peer.values().map(BTreeSet::len).sum();
        assert_eq!(of_peers, receipts.ages.len());
        assert_eq!(receipts.waiting.len(), receipts.ages.len());
    }

    #[test]
    fn each_node_is_heard_once_by_all_who_wait() {
        let mut receipts = expecting(&[(1, A, 7), (1, B, 8), (2, A, 7)]);
        let [one, other] = NODES;
        assert!(receipts.held(reference(1), &A, |_| true).is_empty(), "not a node of the log");
        assert!(receipts.held(reference(1), &one, |log| log != 1).is_empty(), "not pushed there");
        assert_eq!(receipts.held(reference(1), &one, |_| true), [(A, 7), (B, 8)]);
        assert!(receipts.held(reference(1), &one, |_| true).is_empty(), "once");
        assert_eq!(receipts.held(reference(1), &other, |_| true), [(A, 7), (B, 8)]);
        assert_eq!(receipts.waiting.len(), 1, "all have answered");
        check(&receipts);
    }

    #[test]
    fn who_appends_again_hears_all_again() {
        let mut receipts = expecting(&[(1, A, 7)]);
        receipts.held(reference(1), &NODES[0], |_| true);
        receipts.expect((reference(1), A, 7), 1, NODES.to_vec());
        assert_eq!(receipts.held(reference(1), &NODES[0], |_| true), [(A, 7)]);
        check(&receipts);
    }

    #[test]
    fn what_is_closed_or_gone_is_forgotten() {
        let mut receipts = expecting(&[(1, A, 7), (2, A, 8), (3, B, 7)]);
        receipts.close(A, 7);
        check(&receipts);
        assert!(receipts.held(reference(1), &NODES[0], |_| true).is_empty());
        assert_eq!(receipts.held(reference(2), &NODES[0], |_| true), [(A, 8)]);
        receipts.disconnected(A);
        check(&receipts);
        assert_eq!(receipts.waiting.len(), 1);
        receipts.disconnected(B);
        assert!(receipts.of_peer.is_empty());
        check(&receipts);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut receipts = Receipts::default();
        let peer = |number: u64| {
            let mut peer = [0; 32];
            peer[..8].copy_from_slice(&number.to_be_bytes());
            PublicKey(peer)
        };
        for number in 0..1000 {
            receipts.expect((reference(number), A, 7), 1, NODES.to_vec());
        }
        assert_eq!(receipts.waiting.len(), PER_CONNECTION_MAX);
        assert!(receipts.held(reference(743), &NODES[0], |_| true).is_empty());
        assert_eq!(receipts.held(reference(744), &NODES[0], |_| true), [(A, 7)]);
        for number in 0..70_000 {
            receipts.expect((reference(number), peer(number), 7), 1, NODES.to_vec());
        }
        check(&receipts);
        assert_eq!(receipts.waiting.len(), WAITING_MAX);
        assert!(receipts.held(reference(0), &NODES[0], |_| true).is_empty());
    }
}
