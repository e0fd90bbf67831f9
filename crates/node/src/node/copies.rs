//! Accounts that want more copies than those of the two homes that serve them: the next homes of
//! their record make copies at once, and not only while another one is gone. Specified in
//! `spec/logs.md`, section 9.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use proto::{Direction, Draft, Gauge, Instant, Rows, limits};

use super::Node;
use crate::{
    account::Home,
    layout::{self, MORE_COPIES},
    log,
};

/// Who wants more copies, and the round through all logs that sees to it.
#[derive(Debug)]
pub(super) struct Copies {
    /// Numbers of their inboxes.
    accounts: BTreeSet<u64>,
    due: Option<Instant>,
    /// How long after a round the next one comes, as long as something is lacking.
    pause: Duration,
    /// From which log on this round has yet to look.
    from: u64,
    /// Logs without enough copies in this round, and in the last one.
    found: u64,
    lacking: u64,
}

impl Copies {
    pub(super) fn open(rows: &dyn Rows, now: Instant) -> Self {
        let mut copies = Self {
            accounts: BTreeSet::new(),
            due: None,
            pause: PAUSE_MIN,
            from: 0,
            found: 0,
            lacking: 0,
        };
        rows.scan(MORE_COPIES, &[], &[0xFF; 9], Direction::Forward, &mut |key, _| {
            copies.accounts.extend(layout::last_u64(key));
            ControlFlow::Continue(())
        });
        if !copies.accounts.is_empty() {
            copies.plan(now.after(PAUSE_MIN));
        }
        copies
    }

    /// Looks through all logs, at that time at the latest, and soon again.
    fn plan(&mut self, at: Instant) {
        self.pause = PAUSE_MIN;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Logs that had not enough copies when they were looked at last.
    pub(super) fn lacking(&self) -> u64 {
        self.lacking
    }

    pub(super) fn gauge(&self, accounts: u64) -> Gauge {
        let value = self.accounts.len() as u64;
        Gauge { name: "accounts that want more copies", value, limit: accounts }
    }
}

impl Node {
    /// An account is at home here, and wants so many copies.
    pub(super) fn copies_are_wanted(&mut self, home: &Home, draft: &mut Draft<'_>, now: Instant) {
        let key = layout::number_key(home.inbox);
        if home.copies > limits::COPIES_MIN as usize {
            if self.copies.accounts.insert(home.inbox) {
                draft.put(MORE_COPIES, key, []);
            }
            // Perhaps at other homes than before.
            (self.copies.from, self.copies.found) = (0, 0);
            self.copies.plan(now);
        } else if self.copies.accounts.remove(&home.inbox) {
            draft.delete(MORE_COPIES, key);
        }
    }

    /// A log is new here: if its account wants more copies, the next home is to make one.
    pub(super) fn see_to_copies(&mut self, number: u64, rows: &dyn Rows, now: Instant) {
        match self.copy(number, rows, now) {
            Fate::Enough => {}
            // Whether anything has come of it is seen then.
            Fate::Asked => self.copies.plan(now.after(PAUSE_MIN)),
            Fate::Busy => self.copies.plan(now.after(STEP_PAUSE)),
        }
    }

    fn copy(&mut self, number: u64, rows: &dyn Rows, now: Instant) -> Fate {
        let account = self.logs.get(rows, number).map(|log| log.row.account);
        if !account.is_some_and(|account| self.copies.accounts.contains(&account)) {
            return Fate::Enough;
        }
        let Some((standby, account, recruit)) = self.recruit_for(number, rows, now) else {
            return Fate::Enough;
        };
        if self.replicas.recruit(&standby, account, recruit, now) {
            Fate::Asked
        } else {
            Fate::Busy
        }
    }

    /// Looks after a few logs.
    pub(super) fn go_on_copying(&mut self, rows: &dyn Rows, now: Instant) {
        if self.copies.due.is_none_or(|due| now < due) {
            return;
        }
        let numbers = log::numbers_from(rows, self.copies.from, AT_A_TIME);
        for number in &numbers {
            match self.copy(*number, rows, now) {
                Fate::Enough => {}
                Fate::Asked => self.copies.found = self.copies.found.saturating_add(1),
                Fate::Busy => {
                    self.copies.from = *number;
                    self.copies.due = Some(now.after(STEP_PAUSE));
                    return;
                }
            }
        }
        let copies = &mut self.copies;
        if let Some(last) = numbers.last().filter(|_| numbers.len() == AT_A_TIME) {
            (copies.from, copies.due) = (last.saturating_add(1), Some(now.after(STEP_PAUSE)));
            return;
        }
        copies.lacking = std::mem::take(&mut copies.found);
        copies.from = 0;
        copies.due = (copies.lacking > 0).then(|| now.after(copies.pause));
        copies.pause = copies.pause.saturating_mul(2).min(PAUSE_MAX);
    }

    /// A standby has no copy any more.
    pub(super) fn copy_is_gone(&mut self, now: Instant) {
        if !self.copies.accounts.is_empty() {
            self.copies.plan(now.after(PAUSE_MIN));
        }
    }

    /// Somebody who was to make copies is there.
    pub(super) fn copier_is_there(&mut self, now: Instant) {
        if !self.copies.accounts.is_empty() {
            (self.copies.from, self.copies.found) = (0, 0);
            self.copies.plan(now);
        }
    }
}

/// What came of looking after a log.
enum Fate {
    Enough,
    Asked,
    /// Whoever is to be asked has enough to do for a moment.
    Busy,
}

/// Logs that are looked at in one step, and the pause after it.
const AT_A_TIME: usize = 32;
const STEP_PAUSE: Duration = Duration::from_millis(100);
/// The pause after all of them: at first as long as it takes to make a few copies, and longer each
/// time that it was in vain.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);
