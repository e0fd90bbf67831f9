//! Whose place is to be taken: nodes of shared logs that have been gone for long. For each of their logs
//! somebody who stands by is asked to make a copy, a few logs at a time, again and again while the
//! node is gone. Nothing of this is in rows: whoever starts anew finds out anew who is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use proto::{AccountId, Gauge, Instant, Peer, Rows};

use super::{PEERS_MAX, rows};
use crate::layout::REPLICAS;

/// Nodes that have been gone for long.
#[derive(Debug, Default)]
pub(super) struct Recruits {
    /// Who is gone, and from which log on its place is yet to be taken in this round.
    gone: BTreeMap<Peer, Option<u64>>,
    /// Whose logs were looked at last.
    turn: Option<Peer>,
    /// Who would not take a place for an account, and until when it is not asked again.
    unwilling: BTreeMap<(Peer, AccountId), Instant>,
    /// Who is to take a place once it is connected.
    sought: BTreeSet<Peer>,
    /// When to look at the next few logs.
    due: Option<Instant>,
}

impl Recruits {
    /// A node has been gone for long, or still is: a round begins.
    pub(super) fn gone(&mut self, peer: Peer, now: Instant) {
        if self.gone.len() < PEERS_MAX {
            self.gone.insert(peer, Some(0));
            self.due = self.due.or(Some(now));
        }
    }

    /// A node is there: it is not gone. If it was sought to take a place, that is tried in a moment,
    /// for it may have been this node that was cut off, and the others turn up as well. Tells whether
    /// it was sought.
    pub(super) fn back(&mut self, peer: &Peer, now: Instant) -> bool {
        self.gone.remove(peer);
        let was_sought = self.sought.remove(peer);
        if was_sought && !self.gone.is_empty() {
            self.gone.values_mut().for_each(|from| *from = Some(0));
            self.due = Some(now.after(TURN_UP_TIME));
        }
        was_sought
    }

    /// Nobody needs to know any more whether it is there.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.gone.remove(peer);
        self.sought.remove(peer);
    }

    /// A node is to take a place, and not connected yet.
    pub(super) fn sought(&mut self, peer: Peer) {
        if self.sought.len() < PEERS_MAX {
            self.sought.insert(peer);
        }
    }

    /// A node would not take a place for an account. That says nothing of others: it may be their quota.
    pub(super) fn unwilling(&mut self, peer: Peer, account: AccountId, now: Instant) {
        if self.unwilling.len() >= UNWILLING_MAX {
            self.unwilling.retain(|_, until| now < *until);
        }
        if self.unwilling.len() < UNWILLING_MAX {
            self.unwilling.insert((peer, account), now.after(UNWILLING_TIME));
        }
    }

    pub(super) fn is_gone(&self, peer: &Peer) -> bool {
        self.gone.contains_key(peer)
    }

    pub(super) fn gone_count(&self) -> u64 {
        self.gone.len() as u64
    }

    pub(super) fn is_unwilling(&self, peer: &Peer, account: &AccountId, now: Instant) -> bool {
        self.unwilling.get(&(*peer, *account)).is_some_and(|until| now < *until)
    }

    /// The next few logs of somebody who is gone.
    pub(super) fn vacancies(&mut self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let next = self.gone.iter_mut().find_map(|(peer, from)| from.as_mut().map(|f| (*peer, f)));
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
                self.gone.insert(peer, None);
            }
        }
        self.turn = Some(peer);
        self.due = Some(now.after(PAUSE));
        numbers
    }

    /// Those that were looked at last are looked at once more from this log on.
    pub(super) fn vacancies_from(&mut self, number: u64) {
        if let Some(from) = self.turn.and_then(|peer| self.gone.get_mut(&peer)) {
            *from = Some(number);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn gauges(&self) -> [Gauge; 3] {
        [
            Gauge::new("nodes that are to take a place", self.sought.len(), PEERS_MAX),
            Gauge::new("nodes that are gone", self.gone.len(), PEERS_MAX),
            Gauge::new("nodes that take no place", self.unwilling.len(), UNWILLING_MAX),
        ]
    }
}

/// Logs that are looked at in one step, and the pause after it: some three hundred a second, so that
/// others are not held up and the new node is not flooded.
const AT_A_TIME: usize = 32;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the others have to turn up when somebody does.
const TURN_UP_TIME: Duration = Duration::from_secs(10);
/// Refusals that are remembered, 1 MiB; of more, the nodes are asked once a minute.
const UNWILLING_MAX: usize = 16_384;
/// How long somebody who has refused is left alone.
const UNWILLING_TIME: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use proto::PublicKey;
    use store::Memory;

    use super::*;

    const GONE: Peer = PublicKey([1; 32]);
    const STANDBY: Peer = PublicKey([2; 32]);

    #[test]
    fn who_was_cut_off_itself_gives_the_others_time_to_turn_up() {
        let (rows, now) = (Memory::new(), Instant::from_secs(100));
        let mut recruits = Recruits::default();
        recruits.gone(GONE, now);
        recruits.sought(STANDBY);
        assert!(recruits.vacancies(&rows, now).is_empty());
        recruits.back(&STANDBY, now.after(Duration::from_secs(1)));
        assert_eq!(recruits.poll_timeout(), Some(now.after(Duration::from_secs(11))));
        recruits.back(&GONE, now.after(Duration::from_secs(2)));
        assert!(recruits.vacancies(&rows, now.after(TURN_UP_TIME.saturating_mul(2))).is_empty());
        assert_eq!(recruits.poll_timeout(), None, "there is nothing left to do");
    }

    #[test]
    fn a_refusal_counts_for_its_account_and_for_an_hour() {
        let (one, other) = (AccountId([3; 32]), AccountId([4; 32]));
        let mut recruits = Recruits::default();
        let now = Instant::from_secs(100);
        recruits.unwilling(STANDBY, one, now);
        assert!(recruits.is_unwilling(&STANDBY, &one, now));
        assert!(!recruits.is_unwilling(&STANDBY, &other, now));
        assert!(!recruits.is_unwilling(&STANDBY, &one, now.after(UNWILLING_TIME)));
    }
}
