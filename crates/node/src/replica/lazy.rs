//! What came from another node and is owed to the rest only if that node does not get it there itself.
//!
//! Whoever takes an entry from a device pushes it to all nodes of the log; if each of these pushed it on
//! at once, it would come to each as often as there are nodes. So they wait for a moment: until the
//! first one says that all others have it, or is gone, or is late. Only in memory: that the others may
//! lack something is in a row from the beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::{Gauge, Instant, Peer};

/// Entries that are owed later, perhaps.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    /// By log and this node's sequence.
    owed: BTreeMap<u64, BTreeMap<u64, Owed>>,
    dues: BTreeSet<(Instant, u64, u64)>,
    /// Logs whose ranking got another node lately, of which not all may have heard yet, and until when
    /// nobody's word counts that all have something.
    widened: BTreeMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    from: Peer,
    /// In that node's order.
    sequence: u64,
    due: Instant,
}

impl Lazy {
    pub(super) fn gauges(&self) -> [Gauge; 3] {
        let most = self.owed.values().map(BTreeMap::len).max().unwrap_or(0);
        [
            Gauge::new("entries of a log that are owed later", most, OF_LOG_MAX),
            Gauge::new("entries that are owed later", self.dues.len(), OWED_MAX),
            Gauge::new("logs with a new node", self.widened.len(), WIDENED_MAX),
        ]
    }

    /// An entry came from a node, under that node's `sequence`. Tells whether it can wait.
    pub(super) fn owe(
        &mut self,
        (number, own): (u64, u64),
        (from, sequence): (Peer, u64),
        now: Instant,
    ) -> bool {
        if self.is_widened(number, now) {
            return false;
        }
        let of_log = self.owed.get(&number).map_or(0, BTreeMap::len);
        if of_log >= OF_LOG_MAX || self.dues.len() >= OWED_MAX {
            return false;
        }
        let due = now.after(PATIENCE);
        self.owed.entry(number).or_default().insert(own, Owed { from, sequence, due });
        self.dues.insert((due, number, own));
        true
    }

    /// Tells whether an entry is owed later to a node: to all but the one it came from.
    pub(super) fn owes(&self, number: u64, own: u64, peer: &Peer) -> bool {
        let owed = self.owed.get(&number).and_then(|owed| owed.get(&own));
        owed.is_some_and(|owed| owed.from != *peer)
    }

    /// The first entry of a log that is owed to a node later.
    pub(super) fn first(&self, number: u64, peer: &Peer) -> Option<u64> {
        let mut owed = self.owed.get(&number)?.iter();
        owed.find(|(_, owed)| owed.from != *peer).map(|(own, _)| *own)
    }

    /// A node says that all others have what came from it up to its `sequence`. Returns what that is
    /// here.
    pub(super) fn settle(
        &mut self,
        number: u64,
        (from, sequence): (&Peer, u64),
        now: Instant,
    ) -> Vec<u64> {
        if self.is_widened(number, now) {
            return Vec::new();
        }
        let owed = self.owed.get(&number).into_iter().flatten();
        let settled = owed.filter(|(_, owed)| owed.from == *from && owed.sequence <= sequence);
        let settled: Vec<u64> = settled.map(|(own, _)| *own).collect();
        for own in &settled {
            self.remove(number, *own);
        }
        settled
    }

    /// What came from one node, or from any, is due now, of one log or of all.
    pub(super) fn hurry(&mut self, number: Option<u64>, from: Option<&Peer>, now: Instant) {
        for (log, owed) in &mut self.owed {
            if number.is_some_and(|number| number != *log) {
                continue;
            }
            let is_meant = |owed: &Owed| from.is_none_or(|from| owed.from == *from);
            for (own, owed) in owed.iter_mut().filter(|(_, owed)| is_meant(owed)) {
                self.dues.remove(&(owed.due, *log, *own));
                owed.due = owed.due.min(now);
                self.dues.insert((owed.due, *log, *own));
            }
        }
    }

    /// A log is held by a node that did not hold it before.
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

    /// Takes an entry that is due: its log, sequence here, and where it came from.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(u64, u64, Peer)> {
        let (_, number, own) = self.dues.first().copied().filter(|(due, ..)| *due <= now)?;
        let from = self.owed.get(&number)?.get(&own)?.from;
        self.remove(number, own);
        Some((number, own, from))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dues.first().map(|(due, ..)| *due)
    }

    fn is_widened(&self, number: u64, now: Instant) -> bool {
        self.widened.get(&number).is_some_and(|until| now < *until)
    }

    fn remove(&mut self, number: u64, own: u64) {
        let Some(owed) = self.owed.get_mut(&number) else { return };
        if let Some(gone) = owed.remove(&own) {
            self.dues.remove(&(gone.due, number, own));
        }
        if owed.is_empty() {
            self.owed.remove(&number);
        }
    }
}

/// How long to wait for the first node: several times as long as it takes to push to the other side of
/// the world, and short for who waits for a message of somebody whose home has just failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries of one log: as many as may be on the way from one node.
const OF_LOG_MAX: usize = 256;
/// Entries of all logs: about 8 MiB.
const OWED_MAX: usize = 65_536;
/// For how long after a log got another node all is pushed at once: longer than it takes whoever moves
/// to tell all nodes.
const WIDENED_TIME: Duration = Duration::from_secs(600);
/// Logs with a new node: few people move at the same time.
const WIDENED_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proto::PublicKey;

    use super::*;

    const A: Peer = PublicKey([1; 32]);
    const B: Peer = PublicKey([2; 32]);
    const NOW: Instant = Instant::from_secs(100);

    fn owing() -> Lazy {
        let mut lazy = Lazy::default();
        for (own, its) in [(1, 11), (2, 12), (3, 13)] {
            assert!(lazy.owe((7, own), (A, its), NOW));
        }
        assert!(lazy.owe((7, 4), (B, 90), NOW.after(Duration::from_secs(1))));
        assert!(lazy.owe((8, 1), (A, 11), NOW));
        lazy
    }

    #[test]
    fn who_says_so_settles_its_own_up_to_there() {
        let mut lazy = owing();
        assert_eq!(lazy.settle(7, (&A, 12), NOW), [1, 2]);
        assert!(lazy.settle(7, (&A, 12), NOW).is_empty());
        assert_eq!(lazy.settle(7, (&B, 89), NOW), []);
        assert_eq!((lazy.first(7, &A), lazy.first(7, &B)), (Some(4), Some(3)));
        assert!(lazy.owes(7, 3, &B) && !lazy.owes(7, 3, &A) && !lazy.owes(7, 1, &B));
    }

    #[test]
    fn all_is_due_after_a_while_and_at_once_if_its_node_is_gone() {
        let mut lazy = owing();
        assert_eq!(lazy.take_due(NOW), None);
        lazy.hurry(None, Some(&B), NOW);
        assert_eq!(lazy.take_due(NOW), Some((7, 4, B)));
        lazy.hurry(Some(8), None, NOW);
        assert_eq!(lazy.take_due(NOW), Some((8, 1, A)));
        assert_eq!(lazy.poll_timeout(), Some(NOW.after(PATIENCE)));
        for own in 1..=3 {
            assert_eq!(lazy.take_due(NOW.after(PATIENCE)), Some((7, own, A)));
        }
        assert_eq!((lazy.poll_timeout(), lazy.owed.len()), (None, 0));
    }

    #[test]
    fn nothing_waits_beyond_the_limits() {
        let mut lazy = Lazy::default();
        let waiting = (0..1000).filter(|own| lazy.owe((7, *own), (A, *own), NOW)).count();
        assert_eq!(waiting, OF_LOG_MAX);
        let waiting = (8..70_000).filter(|log| lazy.owe((*log, 1), (A, 1), NOW)).count();
        assert_eq!(waiting.saturating_add(OF_LOG_MAX), OWED_MAX);
        for number in 0..5000 {
            lazy.widened(number, NOW);
        }
        lazy.gauges().iter().for_each(|gauge| assert!(gauge.value <= gauge.limit, "{gauge:?}"));
    }

    #[test]
    fn nothing_waits_while_not_all_may_know_all_nodes() {
        let mut lazy = Lazy::default();
        lazy.widened(7, NOW);
        assert!(!lazy.owe((7, 1), (A, 1), NOW));
        assert!(lazy.owe((8, 1), (A, 1), NOW));
        let later = NOW.after(WIDENED_TIME);
        assert!(lazy.owe((7, 2), (A, 2), later));
        assert_eq!(lazy.settle(7, (&A, 2), later), [2]);
        assert!(lazy.owe((7, 2), (A, 2), later));
        lazy.widened(7, later);
        assert!(lazy.settle(7, (&A, 2), later).is_empty(), "it may speak of fewer nodes");
    }
}
