//! Doing what placement wants: asks homes for copies and drops this node's own, some logs at a
//! time.

use std::time::Duration;

use crypto::identity::Bundle;
use proto::{Instant, NodeAddress, Peer, PublicKey, Ranking, Recruit, Rows, Transaction};

use super::Node;
use crate::{
    Drained,
    account::{self, Home},
    command::NodeEvent,
    layout::{self, GENESES, RESERVE_COPIES},
    placement::{
        self, names,
        policy::{Copies, Wish},
        recruit::Draining,
    },
    replica,
};

/// What came of asking a home for a copy.
enum Asked {
    /// No home is to be asked.
    No,
    Yes,
    /// The home has too much to do for now.
    Busy,
}

impl Node {
    pub(super) fn on_placement_timeout(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        self.replace_unreachable(tx, now);
        self.release_reserve(tx, now);
        self.step_draining(tx, now);
        self.step_copies(tx, now);
    }

    /// Asks for copies in place of those of unreachable nodes.
    fn replace_unreachable(&mut self, rows: &dyn Rows, now: Instant) {
        for number in self.replicas.vacancies(rows, now) {
            if matches!(self.fill(number, rows, now), Asked::Busy) {
                return self.replicas.vacancies_from(number);
            }
        }
    }

    /// Drops copies of a reserve node that enough homes hold again.
    fn release_reserve(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        if !self.reserve_timer.is_due(now) {
            return;
        }
        let numbers = self.reserve_timer.take_due(tx, now);
        for number in &numbers {
            let ranking = placement::ranking(tx, *number);
            if let Some(ranking) = ranking.filter(|r| names(&r.reserve, &self.own()))
                && self.release(*number, tx, now) == Wish::Drop
            {
                self.drop_copy(*number, &ranking, tx, now);
            }
        }
        self.reserve_timer.end_step(&numbers, tx, self.config.reserve_kept, now);
    }

    fn release(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Wish {
        let Some((holders, bundle)) = self.holders_and_bundle(number, rows) else {
            return Wish::Enough;
        };
        let copies = Copies { own: self.config.node, bundle: &bundle, holders: &holders };
        copies.release(|peer| self.has_all(number, peer, self.config.reserve_kept, rows, now))
    }

    /// Sees to the copies of a few logs of accounts that want more than two.
    fn step_copies(&mut self, rows: &dyn Rows, now: Instant) {
        if !self.copies.is_due(now) {
            return;
        }
        let numbers = self.copies.take_due(rows, now);
        for number in &numbers {
            match self.copy(*number, rows, now) {
                Asked::No => {}
                Asked::Yes => self.copies.count_lacking(),
                Asked::Busy => return self.copies.resume_at(*number, now),
            }
        }
        self.copies.end_step(&numbers, now);
    }

    /// Sees to the copies of a log that is new here.
    pub(super) fn ensure_copies(&mut self, number: u64, rows: &dyn Rows, now: Instant) {
        match self.copy(number, rows, now) {
            Asked::No => {}
            Asked::Yes => self.copies.check_asked(now),
            Asked::Busy => self.copies.check_busy(now),
        }
    }

    /// Takes the number of copies that an account wants which is at home here.
    pub(super) fn want_copies(&mut self, home: &Home, tx: &mut Transaction<'_>, now: Instant) {
        self.copies.want(home.inbox, home.copies, tx, now);
    }

    fn copy(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Asked {
        let account = self.logs.get(rows, number).map(|log| log.row.account);
        if account.is_some_and(|account| self.copies.is_wanted_by(account)) {
            self.fill(number, rows, now)
        } else {
            Asked::No
        }
    }

    /// Asks the next home that should hold a log and does not, if there is one.
    fn fill(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Asked {
        let Some((holders, bundle)) = self.holders_and_bundle(number, rows) else {
            return Asked::No;
        };
        let copies = Copies { own: self.config.node, bundle: &bundle, holders: &holders };
        let account = bundle.account();
        match copies.fill(|peer| self.replicas.may_serve(peer, &account, now)) {
            Wish::Recruit(candidate) => self.ask(number, &candidate, &bundle, rows, now),
            Wish::Enough | Wish::Wait | Wish::Stuck | Wish::Drop => Asked::No,
        }
    }

    fn ask(
        &mut self,
        number: u64,
        candidate: &NodeAddress,
        bundle: &Bundle,
        rows: &dyn Rows,
        now: Instant,
    ) -> Asked {
        let Some(recruit) = self.recruit_for(number, candidate, bundle, rows) else {
            return Asked::No;
        };
        if self.replicas.recruit(candidate, bundle.account(), recruit, now) {
            Asked::Yes
        } else {
            Asked::Busy
        }
    }

    /// Returns what to ask of another home that should make a copy of a log.
    fn recruit_for(
        &mut self,
        number: u64,
        candidate: &NodeAddress,
        bundle: &Bundle,
        rows: &dyn Rows,
    ) -> Option<Recruit> {
        let is_inbox = self.logs.get(rows, number)?.row.inbox_of.is_some();
        let conversation = if is_inbox {
            None
        } else {
            let genesis = rows.get(GENESES, &layout::number_key(number))?;
            let ranking = placement::ranking(rows, number)?;
            // The other nodes don't let in a node that members have not named.
            names(&ranking.reserve, &placement::peer_of(candidate)).then_some(())?;
            Some((genesis, ranking))
        };
        Some(Recruit { bundle: bundle.as_bytes().to_vec(), conversation })
    }

    /// Returns the nodes that hold a log, and the record of the account that is charged for it
    /// here.
    fn holders_and_bundle(&mut self, number: u64, rows: &dyn Rows) -> Option<(Vec<Peer>, Bundle)> {
        let log = self.logs.get(rows, number)?;
        let (holders, account) = (log.nodes.clone(), log.row.account);
        let account = self.logs.get(rows, account)?.row.inbox_of?;
        let bundle = Bundle::verify(&account::bundle(rows, account).ok()?).ok()?;
        Some((holders, bundle))
    }

    /// Returns whether a node has been connected for so long and lacks nothing of a log.
    fn has_all(
        &self,
        number: u64,
        peer: &Peer,
        time: Duration,
        rows: &dyn Rows,
        now: Instant,
    ) -> bool {
        self.replicas.is_up_for(peer, time, now) && !replica::is_marked(rows, peer, number)
    }

    fn own(&self) -> Peer {
        PublicKey(self.config.node.0)
    }
}

/// Draining.
impl Node {
    /// Begins to drain, and tells `ticket` at the end of the next round how far it has come.
    pub(super) fn drain(&mut self, ticket: u64, now: Instant) {
        self.draining = Some(Draining::begin(self.draining.take(), ticket, now));
    }

    fn step_draining(&mut self, rows: &dyn Rows, now: Instant) {
        let Some(draining) = self.draining.as_ref().filter(|draining| draining.is_due(now)) else {
            return;
        };
        let numbers = draining.take_due(rows, now);
        let mut found = Drained::default();
        for number in &numbers {
            let kind = match self.drain_log(*number, rows, now) {
                Wish::Enough | Wish::Drop => &mut found.safe,
                Wish::Recruit(_) | Wish::Wait => &mut found.left,
                Wish::Stuck => &mut found.stuck,
            };
            *kind = kind.saturating_add(1);
        }
        let Some(draining) = &mut self.draining else { return };
        let (tickets, drained) = draining.end_step(&numbers, found, now);
        for ticket in tickets {
            self.emit(NodeEvent::Drained { ticket, drained });
        }
    }

    /// Sees to it that enough other homes of an account hold a log.
    fn drain_log(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Wish {
        let Some((holders, bundle)) = self.holders_and_bundle(number, rows) else {
            return Wish::Enough;
        };
        let copies = Copies { own: self.config.node, bundle: &bundle, holders: &holders };
        let account = bundle.account();
        let wish = copies.drain(
            |peer| self.replicas.may_serve(peer, &account, now),
            |peer| self.has_all(number, peer, Duration::ZERO, rows, now),
        );
        if let Wish::Recruit(candidate) = &wish {
            // A home that has too much to do is asked in the next round.
            let _ = self.ask(number, candidate, &bundle, rows, now);
        }
        wish
    }
}

/// The reserve.
impl Node {
    /// Notes whether this node is in the reserve of a log, when its ranking changes.
    pub(super) fn note_role(
        &mut self,
        number: u64,
        ranking: &Ranking,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let key = layout::number_key(number);
        if names(&ranking.reserve, &self.own()) {
            tx.put(RESERVE_COPIES, key, []);
            self.reserve_timer.plan(self.config.reserve_kept, now);
        } else if tx.get(RESERVE_COPIES, &key).is_some() {
            tx.delete(RESERVE_COPIES, key);
        }
    }
}
