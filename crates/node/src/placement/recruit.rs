//! Rounds through logs in which placement acts, each with its own reason: copies that a reserve
//! node may drop, accounts that want more than two copies, and a node that drains. Each step takes
//! a few logs, so that other inputs don't wait.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use proto::{Direction, Gauge, Instant, Rows, Table, Transaction, limits};

use crate::{
    layout::{self, LOGS, MORE_COPIES, RESERVE_COPIES},
    status::Drained,
};

/// A walk through the logs of a table, some at a time.
#[derive(Debug, Default)]
struct Round {
    due: Option<Instant>,
    /// The log from which on the next step reads.
    from: u64,
}

impl Round {
    /// Returns the logs of a step that is due.
    fn take_due(&self, rows: &dyn Rows, table: Table, most: usize, now: Instant) -> Vec<u64> {
        let mut numbers = Vec::new();
        if self.due.is_none_or(|due| now < due) {
            return numbers;
        }
        let from = layout::number_key(self.from);
        rows.scan(table, &from, &[0xFF; 9], Direction::Forward, &mut |key, _| {
            numbers.extend(layout::last_u64(key));
            if numbers.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        numbers
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Continues with this log.
    fn resume_at(&mut self, number: u64, now: Instant) {
        *self = Self { due: Some(now.after(STEP_PAUSE)), from: number };
    }

    /// Ends a step. Returns whether the round is over.
    fn end_step(&mut self, numbers: &[u64], most: usize, now: Instant) -> bool {
        match numbers.last().filter(|_| numbers.len() == most) {
            Some(last) => self.resume_at(last.saturating_add(1), now),
            None => *self = Self::default(),
        }
        self.due.is_none()
    }
}

/// When to check whether a reserve node still has to hold its logs, if it holds any.
#[derive(Debug, Default)]
pub(crate) struct ReserveTimer(Round);

impl ReserveTimer {
    pub(crate) fn open(rows: &dyn Rows, kept: Duration, now: Instant) -> Self {
        let mut timer = Self::default();
        rows.scan(RESERVE_COPIES, &[], &[0xFF; 9], Direction::Forward, &mut |_, _| {
            timer.plan(kept, now);
            ControlFlow::Break(())
        });
        timer
    }

    /// There is a log to check.
    pub(crate) fn plan(&mut self, kept: Duration, now: Instant) {
        self.0.due = self.0.due.or_else(|| Some(now.after(kept.min(CHECK_PAUSE))));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.due
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.0.is_due(now)
    }

    /// Returns the logs to check in a step that is due.
    pub(crate) fn take_due(&self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        self.0.take_due(rows, RESERVE_COPIES, CHECKS, now)
    }

    pub(crate) fn end_step(
        &mut self,
        numbers: &[u64],
        rows: &dyn Rows,
        kept: Duration,
        now: Instant,
    ) {
        if self.0.end_step(numbers, CHECKS, now) {
            *self = Self::open(rows, kept, now);
        }
    }
}

/// The accounts that want more than two copies, and the round that sees to it.
#[derive(Debug)]
pub(crate) struct CopyRounds {
    /// Numbers of their inboxes.
    accounts: BTreeSet<u64>,
    round: Round,
    /// The pause after a round, while copies are lacking.
    pause: Duration,
    /// Logs without enough copies in this round, and in the last one.
    found: u64,
    lacking: u64,
}

impl CopyRounds {
    pub(crate) fn open(rows: &dyn Rows, now: Instant) -> Self {
        let (accounts, round) = (BTreeSet::new(), Round::default());
        let mut copies = Self { accounts, round, pause: PAUSE_MIN, found: 0, lacking: 0 };
        rows.scan(MORE_COPIES, &[], &[0xFF; 9], Direction::Forward, &mut |key, _| {
            copies.accounts.extend(layout::last_u64(key));
            ControlFlow::Continue(())
        });
        copies.check_soon(now);
        copies
    }

    /// Takes the number of copies that an account wants.
    pub(crate) fn want(
        &mut self,
        inbox: u64,
        copies: usize,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) {
        let key = layout::number_key(inbox);
        if copies > limits::COPIES_MIN as usize {
            if self.accounts.insert(inbox) {
                tx.put(MORE_COPIES, key, []);
            }
            // Its homes may be others than before.
            self.restart(now);
        } else if self.accounts.remove(&inbox) {
            tx.delete(MORE_COPIES, key);
        }
    }

    /// Returns whether an account wants more than two copies.
    pub(crate) fn is_wanted_by(&self, account: u64) -> bool {
        self.accounts.contains(&account)
    }

    /// A node that was to make copies is connected.
    pub(crate) fn restart_if_wanted(&mut self, now: Instant) {
        if !self.accounts.is_empty() {
            self.restart(now);
        }
    }

    /// A reserve node has dropped its copy.
    pub(crate) fn check_soon(&mut self, now: Instant) {
        if !self.accounts.is_empty() {
            self.plan(now.after(PAUSE_MIN));
        }
    }

    /// A home was asked for a copy: checks later whether it has made one.
    pub(crate) fn check_asked(&mut self, now: Instant) {
        self.plan(now.after(PAUSE_MIN));
    }

    /// A home had too much to do to be asked.
    pub(crate) fn check_busy(&mut self, now: Instant) {
        self.plan(now.after(STEP_PAUSE));
    }

    fn restart(&mut self, now: Instant) {
        (self.round.from, self.found) = (0, 0);
        self.plan(now);
    }

    /// Steps at `at` at the latest, and again soon after.
    fn plan(&mut self, at: Instant) {
        self.pause = PAUSE_MIN;
        self.round.due = Some(self.round.due.map_or(at, |due| due.min(at)));
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.round.is_due(now)
    }

    /// Returns the logs of a step that is due.
    pub(crate) fn take_due(&self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        self.round.take_due(rows, LOGS, AT_A_TIME, now)
    }

    /// Counts a log without enough copies.
    pub(crate) fn count_lacking(&mut self) {
        self.found = self.found.saturating_add(1);
    }

    /// Continues with this log: the home to be asked has too much to do.
    pub(crate) fn resume_at(&mut self, number: u64, now: Instant) {
        self.round.resume_at(number, now);
    }

    pub(crate) fn end_step(&mut self, numbers: &[u64], now: Instant) {
        if self.round.end_step(numbers, AT_A_TIME, now) {
            self.lacking = std::mem::take(&mut self.found);
            self.round.due = (self.lacking > 0).then(|| now.after(self.pause));
            self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.round.due
    }

    /// Returns the number of logs without enough copies in the last round.
    pub(crate) fn lacking(&self) -> u64 {
        self.lacking
    }

    pub(crate) fn gauge(&self, accounts: u64) -> Gauge {
        let value = self.accounts.len() as u64;
        Gauge { name: "accounts that want more copies", value, limit: accounts }
    }
}

/// How far draining has come: before its operator ends a node permanently, other homes get copies
/// of all its logs. Meanwhile it serves, but takes no new accounts and no new logs.
#[derive(Debug)]
pub(crate) struct Draining {
    round: Round,
    /// What was found in this round.
    found: Drained,
    /// Who is told when it ends.
    tickets: Vec<u64>,
}

impl Draining {
    /// Begins a round, or begins it again, and tells `ticket` at its end.
    pub(crate) fn begin(old: Option<Self>, ticket: u64, now: Instant) -> Self {
        let mut tickets = old.map(|old| old.tickets).unwrap_or_default();
        tickets.truncate(TICKETS_MAX.saturating_sub(1));
        tickets.push(ticket);
        let round = Round { due: Some(now.after(ASKED_PAUSE)), from: 0 };
        Self { round, found: Drained::default(), tickets }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.round.due
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.round.is_due(now)
    }

    /// Returns the logs of a step that is due.
    pub(crate) fn take_due(&self, rows: &dyn Rows, now: Instant) -> Vec<u64> {
        self.round.take_due(rows, LOGS, AT_A_TIME, now)
    }

    /// Takes what a step has found. At the end of a round returns whom to tell how far it has come.
    pub(crate) fn end_step(
        &mut self,
        numbers: &[u64],
        found: Drained,
        now: Instant,
    ) -> (Vec<u64>, Drained) {
        self.found.safe = self.found.safe.saturating_add(found.safe);
        self.found.left = self.found.left.saturating_add(found.left);
        self.found.stuck = self.found.stuck.saturating_add(found.stuck);
        if !self.round.end_step(numbers, AT_A_TIME, now) {
            return Default::default();
        }
        self.round.due = Some(now.after(ROUND_PAUSE));
        (std::mem::take(&mut self.tickets), std::mem::take(&mut self.found))
    }
}

/// Logs that are checked in one step, and the pause after it: some three hundred a second.
const AT_A_TIME: usize = 32;
const STEP_PAUSE: Duration = Duration::from_millis(100);
/// How often to check copies of a reserve node, and how many logs at a time: some six hundred a
/// second.
const CHECK_PAUSE: Duration = Duration::from_secs(3600);
const CHECKS: usize = 64;
/// The pause after a round in which copies were lacking: at first as long as it takes to make a few
/// copies, and longer with each round without success.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The pause after a round of draining.
const ROUND_PAUSE: Duration = Duration::from_secs(10);
/// The time until an answer is sent, at most, to repeated questions how far draining has come.
const ASKED_PAUSE: Duration = Duration::from_secs(1);
const TICKETS_MAX: usize = 64;
