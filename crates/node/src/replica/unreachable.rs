//! Unreachable nodes: nodes of shared logs that have been away for long. Another node is asked to
//! copy each of their logs, a few logs at a time, again and again while they are unreachable.
//! Nothing of this is in rows: a node that restarts finds out again which nodes are unreachable.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use proto::{AccountId, Gauge, Instant, Peer, Rows};

use super::rows;
use crate::layout::REPLICAS;

/// Nodes that have been away for long.
#[derive(Debug, Default)]
pub(super) struct Unreachable {
    /// The nodes, and from which log on each has yet to be replaced in this round.
    nodes: BTreeMap<Peer, Option<u64>>,
    /// The node whose logs were returned last.
    turn: Option<Peer>,
    /// Nodes that have refused to hold logs of an account, and until when they are not asked again.
    unwilling: BTreeMap<(Peer, AccountId), Instant>,
    /// Nodes that are asked for copies once they are connected.
    sought: BTreeSet<Peer>,
    /// When to return the next few logs.
    due: Option<Instant>,
}

impl Unreachable {
    /// Begins a round for a node that has been away for long, or still is.
    pub(super) fn add(&mut self, peer: Peer, now: Instant) {
        if self.nodes.len() < PEERS_MAX {
            self.nodes.insert(peer, Some(0));
            self.due = self.due.or(Some(now));
        }
    }

    /// A node is connected. If it was sought for copies, they are asked for 10 s later: this node
    /// may have been cut off itself, and then the other nodes come back as well. Returns whether
    /// the node was sought.
    pub(super) fn back(&mut self, peer: &Peer, now: Instant) -> bool {
        self.nodes.remove(peer);
        let was_sought = self.sought.remove(peer);
        if was_sought && !self.nodes.is_empty() {
            self.nodes.values_mut().for_each(|from| *from = Some(0));
            self.due = Some(now.after(COME_BACK_TIME));
        }
        was_sought
    }

    /// Forgets a node that shares no log any more.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.nodes.remove(peer);
        self.sought.remove(peer);
    }

    /// Notes a node that is to be asked for copies and is not connected yet.
    pub(super) fn sought(&mut self, peer: Peer) {
        if self.sought.len() < PEERS_MAX {
            self.sought.insert(peer);
        }
    }

    /// Notes that a node has refused to hold logs of an account. It may still hold those of others:
    /// the reason may be the account's quota.
    pub(super) fn unwilling(&mut self, peer: Peer, account: AccountId, now: Instant) {
        if self.unwilling.len() >= UNWILLING_MAX {
            self.unwilling.retain(|_, until| now < *until);
        }
        if self.unwilling.len() < UNWILLING_MAX {
            self.unwilling.insert((peer, account), now.after(UNWILLING_TIME));
        }
    }

    pub(super) fn contains(&self, peer: &Peer) -> bool {
        self.nodes.contains_key(peer)
    }

    pub(super) fn count(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(super) fn is_unwilling(&self, peer: &Peer, account: &AccountId, now: Instant) -> bool {
        self.unwilling.get(&(*peer, *account)).is_some_and(|until| now < *until)
    }

    /// Returns the next few logs of an unreachable node.
    pub(super) fn vacancies(&mut self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let next = self.nodes.iter_mut().find_map(|(peer, from)| from.as_mut().map(|f| (*peer, f)));
        let Some((peer, from)) = next else { return Vec::new() };
        let mut numbers = Vec::new();
        rows::logs_of(rows, REPLICAS, &peer, *from, |number| {
            numbers.push(number);
            if numbers.len() < AT_A_TIME {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match numbers.last().filter(|_| numbers.len() == AT_A_TIME) {
            Some(last) => *from = last.saturating_add(1),
            None => {
                self.nodes.insert(peer, None);
            }
        }
        self.turn = Some(peer);
        self.due = Some(now.after(PAUSE));
        numbers
    }

    /// Returns to this log of the node whose logs were returned last.
    pub(super) fn vacancies_from(&mut self, number: u64) {
        if let Some(from) = self.turn.and_then(|peer| self.nodes.get_mut(&peer)) {
            *from = Some(number);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn gauges(&self) -> [Gauge; 3] {
        [
            Gauge::new("nodes that are to take a place", self.sought.len(), PEERS_MAX),
            Gauge::new("nodes that are gone", self.nodes.len(), PEERS_MAX),
            Gauge::new("nodes that take no place", self.unwilling.len(), UNWILLING_MAX),
        ]
    }
}

/// Nodes that share logs with this one and are connected: each costs some 30 KB and a keep-alive.
/// Of more, the least recently used wait for their turns.
pub(crate) const PEERS_MAX: usize = 1024;
/// How often a round begins for a node that is still unreachable.
pub(super) const ROUND_PAUSE: Duration = Duration::from_secs(60);
/// Logs returned in one step, and the pause after it: some three hundred a second, so that other
/// inputs don't wait and the new node is not flooded.
const AT_A_TIME: usize = 32;
const PAUSE: Duration = Duration::from_millis(100);
/// How long other nodes have to come back after one has.
const COME_BACK_TIME: Duration = Duration::from_secs(10);
/// Refusals that are remembered: 1 MiB. Beyond that, nodes are asked again once a minute.
const UNWILLING_MAX: usize = 16_384;
/// How long a node is not asked again after a refusal.
const UNWILLING_TIME: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use proto::PublicKey;
    use store::Memory;

    use super::*;

    const AWAY: Peer = PublicKey([1; 32]);
    const CANDIDATE: Peer = PublicKey([2; 32]);

    #[test]
    fn a_node_that_was_cut_off_itself_gives_the_others_time_to_come_back() {
        let (rows, now) = (Memory::new(), Instant::from_secs(100));
        let mut unreachable = Unreachable::default();
        unreachable.add(AWAY, now);
        unreachable.sought(CANDIDATE);
        assert!(unreachable.vacancies(&rows, now).is_empty());
        unreachable.back(&CANDIDATE, now.after(Duration::from_secs(1)));
        assert_eq!(unreachable.poll_timeout(), Some(now.after(Duration::from_secs(11))));
        unreachable.back(&AWAY, now.after(Duration::from_secs(2)));
        assert!(
            unreachable.vacancies(&rows, now.after(COME_BACK_TIME.saturating_mul(2))).is_empty()
        );
        assert_eq!(unreachable.poll_timeout(), None, "there is nothing left to do");
    }

    #[test]
    fn a_refusal_counts_for_its_account_and_for_an_hour() {
        let (one, other) = (AccountId([3; 32]), AccountId([4; 32]));
        let mut unreachable = Unreachable::default();
        let now = Instant::from_secs(100);
        unreachable.unwilling(CANDIDATE, one, now);
        assert!(unreachable.is_unwilling(&CANDIDATE, &one, now));
        assert!(!unreachable.is_unwilling(&CANDIDATE, &other, now));
        assert!(!unreachable.is_unwilling(&CANDIDATE, &one, now.after(UNWILLING_TIME)));
    }
}
