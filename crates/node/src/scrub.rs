//! Scrubbing: reads all entries and compares them with what the other rows say. Fingerprints are
//! updated with each entry, so they say what should be there; only reading shows whether it is.
//! Specified in `spec/logs.md`, section 12.
//!
//! Log by log, every entry is read, a portion at a time. It must be an envelope of its log that
//! both indexes find. Missing index rows are written again. Damaged entries and index rows without
//! an entry are deleted, so that anti-entropy restores the entries from other nodes.

use std::{ops::ControlFlow, time::Duration};

use proto::{Direction, Envelope, Instant, Rows, Seed, Table, Transaction};

use crate::{
    anti_entropy::cost_of,
    fingerprint::{Fingerprint, is_kept},
    layout::{self, DROPS, ENTRIES, LOGS, LogRow, POSITIONS, REFERENCES},
    log::Logs,
};

/// How far it has come, and when it continues.
#[derive(Debug)]
pub(crate) struct Scrub {
    every: Duration,
    due: Instant,
    place: Place,
}

/// What is read next.
#[derive(Debug, Default)]
struct Place {
    /// The number of the log, from 1; 0 before the first.
    number: u64,
    stage: Stage,
    /// The key of the first row that was not read.
    next: Vec<u8>,
    fingerprint: Fingerprint,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Entries, and whether the indexes find them.
    #[default]
    Entries,
    /// Index rows, and whether their entries exist.
    Positions,
    References,
}

/// What reading a portion has shown.
#[derive(Debug, Default)]
pub(crate) struct Scrubbed {
    /// Logs whose fingerprint did not match their entries.
    pub(crate) changed: Vec<u64>,
    /// Rows that were repaired or deleted.
    pub(crate) repaired: u64,
}

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

impl Scrub {
    /// The first scrub begins after a part of the time between two, not at all nodes at once.
    pub(crate) fn new(every: Duration, seed: &Seed, now: Instant) -> Self {
        let Seed([drawn, ..]) = seed;
        let part = every.checked_div(FIRST_PART).unwrap_or_default();
        let wait = part.saturating_mul(u32::from(*drawn)).checked_div(256).unwrap_or_default();
        Self { every, due: now.after(wait), place: Place::default() }
    }

    /// Returns when it continues. Logs that no other node holds can't be restored, so a node alone
    /// doesn't scrub.
    pub(crate) fn poll_timeout(&self, is_alone: bool) -> Option<Instant> {
        (!is_alone).then_some(self.due)
    }

    /// Reads a portion, if it is time.
    pub(crate) fn on_timeout(
        &mut self,
        logs: &mut Logs,
        tx: &mut Transaction<'_>,
        now: Instant,
    ) -> Scrubbed {
        let mut scrubbed = Scrubbed::default();
        if self.due > now {
            return scrubbed;
        }
        self.due = now.after(PAUSE);
        let mut room = PORTION;
        while room > 0 {
            let Some(row) = self.place.log(tx) else {
                self.place = Place::of(self.place.number.saturating_add(1));
                room = room.saturating_sub(1);
                if self.place.number > logs.count() {
                    self.place = Place::default();
                    self.due = now.after(self.every);
                    break;
                }
                continue;
            };
            let (rows, is_last) = self.place.take(tx, &mut room);
            for (key, value) in rows {
                let is_right = match self.place.stage {
                    Stage::Entries => self.place.check_entry(&row, &key, &value, tx),
                    Stage::Positions => self.place.check_way(POSITIONS, &key, &value, tx),
                    Stage::References => self.place.check_way(REFERENCES, &key, &value, tx),
                };
                scrubbed.repaired = scrubbed.repaired.saturating_add(u64::from(!is_right));
            }
            if is_last {
                scrubbed.changed.extend(self.place.end_stage(logs, tx));
            }
        }
        scrubbed
    }
}

impl Place {
    fn of(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Returns the log, unless it is gone or dropped.
    fn log(&self, rows: &dyn Rows) -> Option<LogRow> {
        if rows.get(DROPS, &layout::number_key(self.number)).is_some() {
            return None;
        }
        LogRow::decode(&rows.get(LOGS, &layout::number_key(self.number))?)
    }

    /// Returns the next rows, as many as there is room for, and whether they are the last.
    fn take(&mut self, rows: &dyn Rows, room: &mut usize) -> (Vec<Row>, bool) {
        let table = match self.stage {
            Stage::Entries => ENTRIES,
            Stage::Positions => POSITIONS,
            Stage::References => REFERENCES,
        };
        let from =
            if self.next.is_empty() { layout::number_key(self.number) } else { self.next.clone() };
        let (mut taken, mut is_last) = (Vec::new(), true);
        let to = layout::number_end(self.number);
        rows.scan(table, &from, &to, Direction::Forward, &mut |key, value| {
            if *room == 0 {
                self.next = key.to_vec();
                is_last = false;
                return ControlFlow::Break(());
            }
            *room = room.saturating_sub(cost_of(value));
            taken.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        (taken, is_last)
    }

    /// Counts an entry, or deletes it if it is damaged. Returns whether all was right.
    fn check_entry(
        &mut self,
        log: &LogRow,
        key: &[u8],
        row: &[u8],
        tx: &mut Transaction<'_>,
    ) -> bool {
        let envelope = Envelope::decode(row).ok().filter(|envelope| envelope.head.log == log.id);
        let (Some(envelope), Some(sequence)) = (envelope, layout::last_u64(key)) else {
            tx.delete(ENTRIES, key);
            return false;
        };
        let id = envelope.id();
        let position = layout::position_key(self.number, envelope.head.position, &id);
        let reference = layout::reference_key(self.number, id.reference());
        let leads_to = tx.get(POSITIONS, &position).and_then(|row| layout::last_u64(&row));
        let is_found = leads_to == Some(sequence);
        if !is_found {
            if leads_to.is_some_and(|other| self.has_entry(other, tx)) {
                // It is stored twice, and counts once.
                return true;
            }
            if crypto::verify_envelope(&envelope).is_err() {
                // The entry was stored under another id, so it is damaged.
                tx.delete(ENTRIES, key);
                return false;
            }
            tx.put(POSITIONS, position, layout::be(sequence));
        }
        if is_kept(&envelope) {
            self.fingerprint.add(&id);
        }
        let is_named = tx.get(REFERENCES, &reference).is_some();
        if !is_named {
            tx.put(REFERENCES, reference, layout::be(sequence));
        }
        is_found && is_named
    }

    /// Deletes an index row without an entry. Returns whether all was right.
    fn check_way(&self, table: Table, key: &[u8], row: &[u8], tx: &mut Transaction<'_>) -> bool {
        let sequence = layout::last_u64(row);
        let is_right = sequence.is_some_and(|sequence| self.has_entry(sequence, tx));
        if !is_right {
            tx.delete(table, key);
        }
        is_right
    }

    fn has_entry(&self, sequence: u64, rows: &dyn Rows) -> bool {
        rows.get(ENTRIES, &layout::entry_key(self.number, sequence)).is_some()
    }

    /// Ends a stage. Returns the log if its fingerprint was wrong.
    fn end_stage(&mut self, logs: &mut Logs, tx: &mut Transaction<'_>) -> Option<u64> {
        let Self { number, stage, fingerprint, .. } = *self;
        let next = match stage {
            Stage::Entries => Stage::Positions,
            Stage::Positions => Stage::References,
            Stage::References => {
                *self = Self::of(number.saturating_add(1));
                return None;
            }
        };
        *self = Self { stage: next, ..Self::of(number) };
        if stage != Stage::Entries {
            return None;
        }
        if logs.get(tx, number)?.fingerprint == Some(fingerprint) {
            return None;
        }
        logs.set_fingerprint(tx, number, fingerprint);
        Some(number)
    }
}

/// How much is read at a time, in units of [`cost_of`], and the pause after it: some thousand
/// entries a second, which take a hundredth of the time.
const PORTION: usize = 256;
const PAUSE: Duration = Duration::from_millis(100);
/// The first scrub begins within this part of the time between two.
const FIRST_PART: u32 = 12;
