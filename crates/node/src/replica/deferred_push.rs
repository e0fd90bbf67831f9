//! Deferred pushes: entries that came from another node and are owed to the remaining nodes only if
//! that node does not push them there itself.
//!
//! A node that takes an entry from a device pushes it to all nodes of the log. If each of these
//! pushed it on at once, it would come to each as often as there are nodes. So they wait for 2 s,
//! or until the first node says that all others have the entry, or is gone. Only in memory: that
//! the others may lack entries is in a row from the beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Gauge, Instant, Peer};

use crate::{log::EntryAt, placement::Origin};

/// Entries that may be owed later.
#[derive(Debug, Default)]
pub(super) struct DeferredPushes {
    /// By log and this node's sequence.
    owed: BTreeMap<u64, BTreeMap<u64, Owed>>,
    dues: BTreeSet<(Instant, EntryAt)>,
    /// Logs whose ranking got another node recently, and until when. Not all nodes may know of it
    /// yet, so no node's word counts that all have an entry.
    widened: BTreeMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    origin: Origin,
    due: Instant,
}

impl DeferredPushes {
    pub(super) fn gauges(&self) -> [Gauge; 3] {
        let most = self.owed.values().map(BTreeMap::len).max().unwrap_or(0);
        [
            Gauge::new("entries of a log that are owed later", most, OF_LOG_MAX),
            Gauge::new("entries that are owed later", self.dues.len(), OWED_MAX),
            Gauge::new("logs with a new node", self.widened.len(), WIDENED_MAX),
        ]
    }

    /// Defers an entry, unless it can't wait; returns whether it does.
    pub(super) fn defer(&mut self, at: EntryAt, origin: Origin, now: Instant) -> bool {
        if self.is_widened(at.log, now) {
            return false;
        }
        let of_log = self.owed.get(&at.log).map_or(0, BTreeMap::len);
        if of_log >= OF_LOG_MAX || self.dues.len() >= OWED_MAX {
            return false;
        }
        let due = now.after(DEFERRED_FOR);
        self.owed.entry(at.log).or_default().insert(at.sequence, Owed { origin, due });
        self.dues.insert((due, at));
        true
    }

    /// Returns whether an entry is owed later to a node. It is to all but the one it came from.
    pub(super) fn owes(&self, at: EntryAt, peer: &Peer) -> bool {
        let owed = self.owed.get(&at.log).and_then(|owed| owed.get(&at.sequence));
        owed.is_some_and(|owed| owed.origin.peer != *peer)
    }

    /// Returns the first entry of a log that is owed to a node later.
    pub(super) fn first(&self, number: u64, peer: &Peer) -> Option<u64> {
        let mut owed = self.owed.get(&number)?.iter();
        owed.find(|(_, owed)| owed.origin.peer != *peer).map(|(sequence, _)| *sequence)
    }

    /// A node says that all others have the entries that came from it up to a sequence. Returns the
    /// sequences of these entries here.
    pub(super) fn settled(&mut self, log: u64, up_to: Origin, now: Instant) -> Vec<u64> {
        if self.is_widened(log, now) {
            return Vec::new();
        }
        let is_settled =
            |Origin { peer, sequence }: Origin| peer == up_to.peer && sequence <= up_to.sequence;
        let owed = self.owed.get(&log).into_iter().flatten();
        let settled = owed.filter(|(_, owed)| is_settled(owed.origin));
        let settled: Vec<u64> = settled.map(|(sequence, _)| *sequence).collect();
        for sequence in &settled {
            self.remove(EntryAt { log, sequence: *sequence });
        }
        settled
    }

    /// Makes the entries that came from one node, or from any, due now, of one log or of all.
    pub(super) fn hurry(&mut self, number: Option<u64>, from: Option<&Peer>, now: Instant) {
        for (log, owed) in &mut self.owed {
            if number.is_some_and(|number| number != *log) {
                continue;
            }
            let is_meant = |owed: &Owed| from.is_none_or(|from| owed.origin.peer == *from);
            for (sequence, owed) in owed.iter_mut().filter(|(_, owed)| is_meant(owed)) {
                let at = EntryAt { log: *log, sequence: *sequence };
                self.dues.remove(&(owed.due, at));
                owed.due = owed.due.min(now);
                self.dues.insert((owed.due, at));
            }
        }
    }

    /// Notes that a log is held by a node that did not hold it before.
    pub(super) fn widened(&mut self, number: u64, now: Instant) {
        self.widened.retain(|_, until| now < *until);
        if self.widened.len() >= WIDENED_MAX {
            let first = self.widened.iter().min_by_key(|(_, until)| **until);
            if let Some(number) = first.map(|(number, _)| *number) {
                self.widened.remove(&number);
            }
        }
        self.widened.insert(number, now.after(WIDENED_TIME));
    }

    /// Takes an entry that is due, with the node it came from.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(EntryAt, Peer)> {
        let (_, at) = self.dues.first().copied().filter(|(due, _)| *due <= now)?;
        let from = self.owed.get(&at.log)?.get(&at.sequence)?.origin.peer;
        self.remove(at);
        Some((at, from))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dues.first().map(|(due, _)| *due)
    }

    fn is_widened(&self, number: u64, now: Instant) -> bool {
        self.widened.get(&number).is_some_and(|until| now < *until)
    }

    fn remove(&mut self, at: EntryAt) {
        let Some(owed) = self.owed.get_mut(&at.log) else { return };
        if let Some(gone) = owed.remove(&at.sequence) {
            self.dues.remove(&(gone.due, at));
        }
        if owed.is_empty() {
            self.owed.remove(&at.log);
        }
    }
}

/// How long to wait for the first node: several times as long as it takes to push to the other side
/// of the world, and short for a reader that awaits the message of a device whose home has just
/// failed.
const DEFERRED_FOR: Duration = Duration::from_secs(2);
/// Entries of one log: as many as one node may push without an answer.
const OF_LOG_MAX: usize = 256;
/// Entries of all logs: about 8 MiB.
const OWED_MAX: usize = 65_536;
/// For how long after a log got another node every entry is pushed at once: longer than a device
/// that migrates takes to tell all nodes.
const WIDENED_TIME: Duration = Duration::from_secs(600);
/// Logs with a new node: few accounts migrate at the same time.
const WIDENED_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proto::PublicKey;

    use super::*;

    const A: Peer = PublicKey([1; 32]);
    const B: Peer = PublicKey([2; 32]);
    const NOW: Instant = Instant::from_secs(100);

    fn at(log: u64, sequence: u64) -> EntryAt {
        EntryAt { log, sequence }
    }

    fn origin(peer: Peer, sequence: u64) -> Origin {
        Origin { peer, sequence }
    }

    fn owing() -> DeferredPushes {
        let mut deferred = DeferredPushes::default();
        for (own, its) in [(1, 11), (2, 12), (3, 13)] {
            assert!(deferred.defer(at(7, own), origin(A, its), NOW));
        }
        assert!(deferred.defer(at(7, 4), origin(B, 90), NOW.after(Duration::from_secs(1))));
        assert!(deferred.defer(at(8, 1), origin(A, 11), NOW));
        deferred
    }

    #[test]
    fn a_node_settles_its_own_entries_up_to_its_sequence() {
        let mut deferred = owing();
        assert_eq!(deferred.settled(7, origin(A, 12), NOW), [1, 2]);
        assert!(deferred.settled(7, origin(A, 12), NOW).is_empty());
        assert_eq!(deferred.settled(7, origin(B, 89), NOW), []);
        assert_eq!((deferred.first(7, &A), deferred.first(7, &B)), (Some(4), Some(3)));
        assert!(
            deferred.owes(at(7, 3), &B)
                && !deferred.owes(at(7, 3), &A)
                && !deferred.owes(at(7, 1), &B)
        );
    }

    #[test]
    fn entries_are_due_after_two_seconds_and_at_once_if_their_node_is_gone() {
        let mut deferred = owing();
        assert_eq!(deferred.take_due(NOW), None);
        deferred.hurry(None, Some(&B), NOW);
        assert_eq!(deferred.take_due(NOW), Some((at(7, 4), B)));
        deferred.hurry(Some(8), None, NOW);
        assert_eq!(deferred.take_due(NOW), Some((at(8, 1), A)));
        assert_eq!(deferred.poll_timeout(), Some(NOW.after(DEFERRED_FOR)));
        for own in 1..=3 {
            assert_eq!(deferred.take_due(NOW.after(DEFERRED_FOR)), Some((at(7, own), A)));
        }
        assert_eq!((deferred.poll_timeout(), deferred.owed.len()), (None, 0));
    }

    #[test]
    fn nothing_waits_beyond_the_limits() {
        let mut deferred = DeferredPushes::default();
        let waiting =
            (0..1000).filter(|own| deferred.defer(at(7, *own), origin(A, *own), NOW)).count();
        assert_eq!(waiting, OF_LOG_MAX);
        let waiting =
            (8..70_000).filter(|log| deferred.defer(at(*log, 1), origin(A, 1), NOW)).count();
        assert_eq!(waiting.saturating_add(OF_LOG_MAX), OWED_MAX);
        for number in 0..5000 {
            deferred.widened(number, NOW);
        }
        deferred.gauges().iter().for_each(|gauge| assert!(gauge.value <= gauge.limit, "{gauge:?}"));
    }

    #[test]
    fn nothing_waits_while_a_node_may_not_know_all_nodes() {
        let mut deferred = DeferredPushes::default();
        deferred.widened(7, NOW);
        assert!(!deferred.defer(at(7, 1), origin(A, 1), NOW));
        assert!(deferred.defer(at(8, 1), origin(A, 1), NOW));
        let later = NOW.after(WIDENED_TIME);
        assert!(deferred.defer(at(7, 2), origin(A, 2), later));
        assert_eq!(deferred.settled(7, origin(A, 2), later), [2]);
        assert!(deferred.defer(at(7, 2), origin(A, 2), later));
        deferred.widened(7, later);
        assert!(deferred.settled(7, origin(A, 2), later).is_empty(), "it may speak of fewer nodes");
    }
}
