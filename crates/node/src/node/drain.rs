//! Draining: before its operator ends a node for good, other homes get copies of all that is here.
//! Meanwhile it goes on serving, but takes no new accounts and no new logs.

use std::time::Duration;

use proto::{Instant, NodeAddress, PublicKey, Rows};

use super::Node;
use crate::{Drained, command::NodeEvent, log, replica};

/// How far draining has come.
#[derive(Debug)]
pub(super) struct Draining {
    due: Instant,
    /// From which log on this round has yet to look.
    from: u64,
    /// What was found in this round.
    found: Drained,
    /// Who is told when it ends.
    tickets: Vec<u64>,
}

impl Draining {
    pub(super) fn poll_timeout(&self) -> Instant {
        self.due
    }
}

impl Node {
    /// Begins, if it has not, and tells at the end of the next round how far it has come.
    pub(super) fn drain(&mut self, ticket: u64, now: Instant) {
        let due = now.after(ASKED_PAUSE);
        let mut tickets = self.draining.take().map(|old| old.tickets).unwrap_or_default();
        tickets.truncate(TICKETS_MAX.saturating_sub(1));
        tickets.push(ticket);
        self.draining = Some(Draining { due, from: 0, found: Drained::default(), tickets });
    }

    /// Looks after a few logs.
    pub(super) fn go_on_draining(&mut self, rows: &dyn Rows, now: Instant) {
        let Some(draining) = self.draining.as_mut().filter(|draining| draining.due <= now) else {
            return;
        };
        let numbers = log::numbers_from(rows, draining.from, AT_A_TIME);
        let mut found = draining.found;
        for number in &numbers {
            let kind = match self.look_after(*number, rows, now) {
                Fate::Safe => &mut found.safe,
                Fate::Left => &mut found.left,
                Fate::Stuck => &mut found.stuck,
            };
            *kind = kind.saturating_add(1);
        }
        let Some(draining) = &mut self.draining else { return };
        draining.found = found;
        if let Some(last) = numbers.last().filter(|_| numbers.len() == AT_A_TIME) {
            (draining.from, draining.due) = (last.saturating_add(1), now.after(STEP_PAUSE));
            return;
        }
        let tickets = std::mem::take(&mut draining.tickets);
        (draining.from, draining.due) = (0, now.after(ROUND_PAUSE));
        draining.found = Drained::default();
        for ticket in tickets {
            self.emit(NodeEvent::Drained { ticket, drained: found });
        }
    }

    /// Sees to it that two other homes of an account hold a log, or the one that there is.
    fn look_after(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Fate {
        let Some((holders, bundle)) = self.holders_and_bundle(number, rows) else {
            return Fate::Safe;
        };
        let (own, account) = (self.config.node, bundle.account());
        let homes = bundle.homes();
        if homes.iter().all(|home| home.node != own) {
            // Its account has moved away.
            return Fate::Safe;
        }
        let others = || homes.iter().filter(|home| home.node != own);
        let peer = |home: &NodeAddress| PublicKey(home.node.0);
        let holds = |home: &&NodeAddress| holders.contains(&peer(home));
        let is_there = |home: &&NodeAddress| self.replicas.may_serve(&peer(home), &account, now);
        let has_all = |home: &&NodeAddress| {
            let is_up = self.replicas.is_up_for(&peer(home), Duration::ZERO, now);
            holds(home) && is_up && !replica::is_marked(rows, &peer(home), number)
        };
        let wanted = bundle.copies().min(others().count());
        if wanted > 0 && others().filter(has_all).count() >= wanted {
            return Fate::Safe;
        }
        let lacks = others().filter(is_there).find(|home| !holds(home)).cloned();
        let holders_there = others().filter(holds).filter(is_there).count();
        match lacks.filter(|_| holders_there < wanted) {
            Some(standby) => {
                if let Some(recruit) = self.recruit_to(number, &standby, &bundle, rows) {
                    // If it has enough to do, the next round asks it.
                    let _ = self.replicas.recruit(&standby, account, recruit, now);
                }
                Fate::Left
            }
            None if holders_there >= wanted && wanted > 0 => Fate::Left,
            None => Fate::Stuck,
        }
    }
}

/// What becomes of a log when this node ends.
enum Fate {
    /// Others have all of it.
    Safe,
    /// They are getting it.
    Left,
    /// There is nobody who could.
    Stuck,
}

/// Logs that are looked after in one step, the pause after it, and after all of them.
const AT_A_TIME: usize = 32;
const STEP_PAUSE: Duration = Duration::from_millis(100);
const ROUND_PAUSE: Duration = Duration::from_secs(10);
/// Whoever asks again and again gets an answer each second.
const ASKED_PAUSE: Duration = Duration::from_secs(1);
const TICKETS_MAX: usize = 64;
