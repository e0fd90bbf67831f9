//! Rows of logs that are read across logs, and what rows are charged.

use std::ops::ControlFlow;

use proto::{Direction, Instant, Rows};

use crate::layout::{self, DROPS, EXPIRIES};

/// Returns when the next entry expires.
pub(super) fn first_expiry(rows: &dyn Rows) -> Option<Instant> {
    let mut first = None;
    rows.scan(EXPIRIES, &[], &[0xFF; 25], Direction::Forward, &mut |key, _| {
        first = layout::parse_expiry_key(key).map(|(second, _, _)| Instant::from_secs(second));
        ControlFlow::Break(())
    });
    first
}

/// Returns the first dropped copy of which rows are left.
pub(super) fn first_dropped(rows: &dyn Rows) -> Option<u64> {
    let mut first = None;
    let end = layout::number_key(LAST_USED);
    rows.scan(DROPS, &[], &end, Direction::Forward, &mut |key, _| {
        first = layout::last_u64(key);
        ControlFlow::Break(())
    });
    first
}

/// Returns the largest number of a log that is gone.
pub(super) fn last_used(rows: &dyn Rows) -> u64 {
    let row = rows.get(DROPS, &layout::number_key(LAST_USED));
    row.and_then(|row| layout::last_u64(&row)).unwrap_or_default()
}

/// Returns what an entry of so many stored bytes is charged.
pub(super) fn charge_of(stored: usize) -> u64 {
    (stored as u64).saturating_add(ENTRY_CHARGE)
}

/// What an account is charged for a log besides its entries: its rows in six tables.
pub(crate) const LOG_CHARGE: u64 = 320;
/// What an entry takes besides its bytes: its rows in the three indexes.
const ENTRY_CHARGE: u64 = 128;
/// What a key takes: its row, and its place in the log's.
pub(super) const KEY_CHARGE: u64 = 80;
/// Rows deleted at a time, so that other inputs don't wait.
pub(super) const SWEEP_MAX: usize = 256;
/// In place of a log's number.
pub(super) const LAST_USED: u64 = u64::MAX;
