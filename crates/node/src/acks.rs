//! Node acks that devices await: which channels are told that other nodes hold an entry that was
//! appended on them. Only in memory: a device that misses an ack appends again and is told again.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Gauge, Peer, PublicKey, Reference};

use crate::session::Channel;

/// The entries for which acks of other nodes are awaited.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    awaited: BTreeMap<AckRequest, Awaited>,
    /// All of them, the oldest first.
    ages: BTreeMap<u64, AckRequest>,
    /// Those of each connection, the oldest first.
    of_peer: BTreeMap<Peer, BTreeSet<u64>>,
    next_age: u64,
}

/// An entry and the channel by which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AckRequest {
    pub(crate) reference: Reference,
    pub(crate) channel: Channel,
}

#[derive(Debug)]
struct Awaited {
    log: u64,
    age: u64,
    /// The nodes that have not said yet that they hold the entry.
    nodes: Vec<Peer>,
}

impl Acks {
    pub(crate) fn gauges(&self) -> [Gauge; 2] {
        let most = self.of_peer.values().map(BTreeSet::len).max().unwrap_or(0);
        [
            Gauge::new("entries a connection awaits acks for", most, PER_CONNECTION_MAX),
            Gauge::new("entries that acks are awaited for", self.awaited.len(), AWAITED_MAX),
        ]
    }

    /// Awaits the acks of `nodes` for an entry that a device has appended.
    pub(crate) fn expect(&mut self, request: AckRequest, log: u64, nodes: Vec<Peer>) {
        self.forget(&request);
        if nodes.is_empty() {
            return;
        }
        let peer = request.channel.peer;
        let ages = self.of_peer.get(&peer);
        let oldest_of_peer = ages.filter(|ages| ages.len() >= PER_CONNECTION_MAX);
        let oldest_of_peer = oldest_of_peer.and_then(|ages| ages.first().copied());
        let oldest = self.ages.first_key_value().filter(|_| self.ages.len() >= AWAITED_MAX);
        let gone = oldest_of_peer.or_else(|| oldest.map(|(age, _)| *age));
        if let Some(oldest) = gone.and_then(|age| self.ages.get(&age).copied()) {
            self.forget(&oldest);
        }
        let age = self.next_age;
        self.next_age = age.saturating_add(1);
        self.awaited.insert(request, Awaited { log, age, nodes });
        self.ages.insert(age, request);
        self.of_peer.entry(peer).or_default().insert(age);
    }

    /// Takes the ack of a node for an entry of one of the logs for which `is_pushed` holds. Returns
    /// the channels that have awaited it.
    pub(crate) fn acked(
        &mut self,
        reference: Reference,
        node: &Peer,
        is_pushed: impl Fn(u64) -> bool,
    ) -> Vec<Channel> {
        let at = |byte, number| {
            let channel = Channel { peer: PublicKey([byte; 32]), number };
            AckRequest { reference, channel }
        };
        let (mut told, mut done) = (Vec::new(), Vec::new());
        for (request, awaited) in self.awaited.range_mut(at(0, 0)..=at(0xFF, u32::MAX)) {
            let position = awaited.nodes.iter().position(|awaited| awaited == node);
            let Some(position) = position.filter(|_| is_pushed(awaited.log)) else { continue };
            awaited.nodes.swap_remove(position);
            told.push(request.channel);
            if awaited.nodes.is_empty() {
                done.push(*request);
            }
        }
        done.iter().for_each(|request| self.forget(request));
        told
    }

    /// Awaits nothing more for a channel that is closed.
    pub(crate) fn close(&mut self, channel: Channel) {
        let ages = self.of_peer.get(&channel.peer).into_iter().flatten();
        let request = ages.filter_map(|age| self.ages.get(age).copied());
        let of_channel: Vec<AckRequest> =
            request.filter(|request| request.channel == channel).collect();
        of_channel.iter().for_each(|request| self.forget(request));
    }

    /// Awaits nothing more for a connection that is gone.
    pub(crate) fn disconnected(&mut self, peer: Peer) {
        for age in self.of_peer.remove(&peer).into_iter().flatten() {
            if let Some(request) = self.ages.remove(&age) {
                self.awaited.remove(&request);
            }
        }
    }

    fn forget(&mut self, request: &AckRequest) {
        let Some(awaited) = self.awaited.remove(request) else { return };
        self.ages.remove(&awaited.age);
        if let Some(ages) = self.of_peer.get_mut(&request.channel.peer) {
            ages.remove(&awaited.age);
            if ages.is_empty() {
                self.of_peer.remove(&request.channel.peer);
            }
        }
    }
}

/// Entries of one connection: twice as many as a device sends without an answer.
const PER_CONNECTION_MAX: usize = 256;
/// Entries of all connections: about 20 MiB, and the appends of some seconds at a busy node. The
/// oldest are dropped first, since they await nodes that are away.
const AWAITED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Peer = PublicKey([1; 32]);
    const B: Peer = PublicKey([2; 32]);
    const NODES: [Peer; 2] = [PublicKey([8; 32]), PublicKey([9; 32])];

    fn reference(number: u64) -> Reference {
        Reference(u128::from(number).to_be_bytes())
    }

    fn opened(peer: Peer, number: u32) -> Channel {
        Channel { peer, number }
    }

    fn request(number: u64, peer: Peer, channel: u32) -> AckRequest {
        AckRequest { reference: reference(number), channel: opened(peer, channel) }
    }

    fn expecting(keys: &[(u64, Peer, u32)]) -> Acks {
        let mut acks = Acks::default();
        for (number, peer, channel) in keys {
            acks.expect(request(*number, *peer, *channel), 1, NODES.to_vec());
        }
        acks
    }

    fn check(acks: &Acks) {
        for gauge in acks.gauges() {
            assert!(gauge.value <= gauge.limit, "{gauge:?}");
        }
        let of_peers: usize = acks.of_peer.values().map(BTreeSet::len).sum();
        assert_eq!(of_peers, acks.ages.len());
        assert_eq!(acks.awaited.len(), acks.ages.len());
    }

    #[test]
    fn each_node_is_told_once_to_each_channel() {
        let mut acks = expecting(&[(1, A, 7), (1, B, 8), (2, A, 7)]);
        let [one, other] = NODES;
        assert!(acks.acked(reference(1), &A, |_| true).is_empty(), "not a node of the log");
        assert!(acks.acked(reference(1), &one, |log| log != 1).is_empty(), "not pushed there");
        assert_eq!(acks.acked(reference(1), &one, |_| true), [opened(A, 7), opened(B, 8)]);
        assert!(acks.acked(reference(1), &one, |_| true).is_empty(), "once");
        assert_eq!(acks.acked(reference(1), &other, |_| true), [opened(A, 7), opened(B, 8)]);
        assert_eq!(acks.awaited.len(), 1, "all have answered");
        check(&acks);
    }

    #[test]
    fn an_entry_appended_again_is_acked_again() {
        let mut acks = expecting(&[(1, A, 7)]);
        acks.acked(reference(1), &NODES[0], |_| true);
        acks.expect(request(1, A, 7), 1, NODES.to_vec());
        assert_eq!(acks.acked(reference(1), &NODES[0], |_| true), [opened(A, 7)]);
        check(&acks);
    }

    #[test]
    fn closed_channels_and_ended_connections_await_nothing() {
        let mut acks = expecting(&[(1, A, 7), (2, A, 8), (3, B, 7)]);
        acks.close(opened(A, 7));
        check(&acks);
        assert!(acks.acked(reference(1), &NODES[0], |_| true).is_empty());
        assert_eq!(acks.acked(reference(2), &NODES[0], |_| true), [opened(A, 8)]);
        acks.disconnected(A);
        check(&acks);
        assert_eq!(acks.awaited.len(), 1);
        acks.disconnected(B);
        assert!(acks.of_peer.is_empty());
        check(&acks);
    }

    #[test]
    fn the_oldest_are_dropped_for_new_ones() {
        let mut acks = Acks::default();
        let peer = |number: u64| {
            let mut peer = [0; 32];
            peer[..8].copy_from_slice(&number.to_be_bytes());
            PublicKey(peer)
        };
        for number in 0..1000 {
            acks.expect(request(number, A, 7), 1, NODES.to_vec());
        }
        assert_eq!(acks.awaited.len(), PER_CONNECTION_MAX);
        assert!(acks.acked(reference(743), &NODES[0], |_| true).is_empty());
        assert_eq!(acks.acked(reference(744), &NODES[0], |_| true), [opened(A, 7)]);
        for number in 0..70_000 {
            acks.expect(request(number, peer(number), 7), 1, NODES.to_vec());
        }
        check(&acks);
        assert_eq!(acks.awaited.len(), AWAITED_MAX);
        assert!(acks.acked(reference(0), &NODES[0], |_| true).is_empty());
    }
}
