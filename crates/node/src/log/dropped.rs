//! Copies that were given up: their rows go bit by bit, so that other inputs don't wait.

use std::{ops::ControlFlow, time::Duration};

use proto::{Direction, Draft, Instant, Rows, Table};

use super::{Log, Logs, SWEEP_MAX};
use crate::{
    layout::{self, DROPS, ENTRIES, FINGERPRINTS, GENESES, KEYS, LOGS, NUMBERS, STATES},
    log::LOG_CHARGE,
    quota::Quota,
    replica::RANKING_CHARGE,
};

impl Logs {
    /// Gives up the copy of a conversation, whose ranking is gone already. Nobody finds it any more.
    pub(crate) fn drop_copy(&mut self, draft: &mut Draft<'_>, number: u64) {
        let Some(log) = self.cache.get(number, || Log::load(draft, number)) else { return };
        // It is not compared any more.
        log.fingerprint = None;
        draft.delete(FINGERPRINTS, layout::number_key(number));
        draft.delete(NUMBERS, log.row.id.0);
        draft.put(DROPS, layout::number_key(number), []);
        self.next_drop = Some(Instant::default());
    }

    /// Removes some of what was given up.
    pub(crate) fn sweep_dropped(&mut self, draft: &mut Draft<'_>, quota: &mut Quota, now: Instant) {
        if self.next_drop.is_none_or(|due| now < due) {
            return;
        }
        self.next_drop = None;
        let Some(number) = first(draft) else { return };
        self.next_drop = Some(now.after(PAUSE));
        let keys = some_of(draft, ENTRIES, number);
        for key in &keys {
            let sequence = layout::last_u64(key).unwrap_or_default();
            if self.remove(draft, quota, number, sequence).is_none() {
                draft.delete(ENTRIES, key.clone());
            }
        }
        if keys.is_empty() {
            let write_keys = some_of(draft, KEYS, number);
            write_keys.iter().for_each(|key| draft.delete(KEYS, key.clone()));
            if write_keys.is_empty() {
                self.end(draft, quota, number);
            }
        }
    }

    /// Nothing is left but what says that there was a log.
    fn end(&mut self, draft: &mut Draft<'_>, quota: &mut Quota, number: u64) {
        if let Some(log) = self.cache.get(number, || Log::load(draft, number)) {
            let rest = LOG_CHARGE.saturating_add(RANKING_CHARGE).saturating_add(log.state.bytes);
            quota.free_log(draft, log.row.account, rest);
        }
        self.cache.remove(number);
        for table in [LOGS, STATES, GENESES, FINGERPRINTS, DROPS] {
            draft.delete(table, layout::number_key(number));
        }
        // Its number may still stand in rows of what expires, so no other log gets it.
        let last = number.max(last_used(draft));
        draft.put(DROPS, layout::number_key(LAST_USED), layout::be(last));
    }
}

/// The first copy of which something is left.
pub(super) fn first(rows: &dyn Rows) -> Option<u64> {
    let mut first = None;
    let end = layout::number_key(LAST_USED);
    rows.scan(DROPS, &[], &end, Direction::Forward, &mut |key, _| {
        first = layout::last_u64(key);
        ControlFlow::Break(())
    });
    first
}

/// The largest number that a log had which is gone.
pub(super) fn last_used(rows: &dyn Rows) -> u64 {
    let row = rows.get(DROPS, &layout::number_key(LAST_USED));
    row.and_then(|row| layout::last_u64(&row)).unwrap_or_default()
}

fn some_of(rows: &dyn Rows, table: Table, number: u64) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let (from, to) = (layout::number_key(number), layout::number_end(number));
    rows.scan(table, &from, &to, Direction::Forward, &mut |key, _| {
        keys.push(key.to_vec());
        if keys.len() < SWEEP_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    keys
}

/// In place of a log's number.
const LAST_USED: u64 = u64::MAX;
const PAUSE: Duration = Duration::from_millis(50);
