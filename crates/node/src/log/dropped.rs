//! Dropped copies: their rows are deleted bit by bit, so that other inputs don't wait.

use std::{ops::ControlFlow, time::Duration};

use proto::{Direction, Instant, Rows, Table, Transaction};

use super::{
    Logs,
    rows::{LAST_USED, LOG_CHARGE, SWEEP_MAX, first_dropped, last_used},
    state::Log,
};
use crate::{
    layout::{self, DROPS, ENTRIES, FINGERPRINTS, GENESES, KEYS, LOGS, NUMBERS, STATES},
    quota::{Quota, RANKING_CHARGE},
};

impl Logs {
    /// Drops the copy of a conversation, whose ranking is gone already. No peer finds it any more.
    pub(crate) fn drop_copy(&mut self, tx: &mut Transaction<'_>, number: u64) {
        let Some(log) = self.cache.get(number, || Log::load(tx, number)) else { return };
        // Without a fingerprint it is not compared any more.
        log.fingerprint = None;
        tx.delete(FINGERPRINTS, layout::number_key(number));
        tx.delete(NUMBERS, log.row.id.0);
        tx.put(DROPS, layout::number_key(number), []);
        self.next_drop = Some(Instant::default());
    }

    /// Deletes some rows of dropped copies.
    pub(crate) fn sweep_dropped(
        &mut self,
        tx: &mut Transaction<'_>,
        quota: &mut Quota,
        now: Instant,
    ) {
        if self.next_drop.is_none_or(|due| now < due) {
            return;
        }
        self.next_drop = None;
        let Some(number) = first_dropped(tx) else { return };
        self.next_drop = Some(now.after(PAUSE));
        let keys = some_of(tx, ENTRIES, number);
        for key in &keys {
            let sequence = layout::last_u64(key).unwrap_or_default();
            if self.remove(tx, quota, number, sequence).is_none() {
                tx.delete(ENTRIES, key.clone());
            }
        }
        if keys.is_empty() {
            let write_keys = some_of(tx, KEYS, number);
            write_keys.iter().for_each(|key| tx.delete(KEYS, key.clone()));
            if write_keys.is_empty() {
                self.end(tx, quota, number);
            }
        }
    }

    /// Deletes the last rows of a copy.
    fn end(&mut self, tx: &mut Transaction<'_>, quota: &mut Quota, number: u64) {
        if let Some(log) = self.cache.get(number, || Log::load(tx, number)) {
            let rest = LOG_CHARGE.saturating_add(RANKING_CHARGE).saturating_add(log.state.bytes);
            quota.free_log(tx, log.row.account, rest);
        }
        self.cache.remove(number);
        for table in [LOGS, STATES, GENESES, FINGERPRINTS, DROPS] {
            tx.delete(table, layout::number_key(number));
        }
        // Rows of expiries may still name its number, so no other log gets it.
        let last = number.max(last_used(tx));
        tx.put(DROPS, layout::number_key(LAST_USED), layout::be(last));
    }
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

const PAUSE: Duration = Duration::from_millis(50);
