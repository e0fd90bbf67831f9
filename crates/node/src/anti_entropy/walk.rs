//! Walking through a set that is compared, a portion at a time: no input waits for a large one.

use std::ops::ControlFlow;

use proto::{Direction, Part, Peer, Rows};
use reconcile::{Item, Key};

use crate::{
    fingerprint::{Fingerprint, kept_item},
    layout::{self, ENTRIES, FINGERPRINTS, LOGS, LogRow, REPLICAS},
    replica::is_marked,
};

/// What is compared with another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// Logs that both hold, each with what it keeps.
    Logs,
    /// What one log keeps, up to a sequence, so that it stays the same while it is compared.
    Entries { number: u64, last: u64 },
}

/// A part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) set: Set,
    pub(super) part: Part,
}

/// How far one has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    peer: Peer,
    scope: Scope,
    key: Key,
    next: u64,
    /// Logs were left out, because they are being pushed to the other node, or because their
    /// entries were not counted yet.
    pub(super) left_out: bool,
}

impl Walk {
    pub(super) fn new(peer: Peer, scope: Scope, key: Key) -> Self {
        Self { peer, scope, key, next: 0, left_out: false }
    }

    /// Walks on and uses up `room`. Visits each item with the number of its log, or with its
    /// sequence. Returns whether all was visited.
    pub(super) fn advance(
        &mut self,
        rows: &dyn Rows,
        room: &mut usize,
        mut visit: impl FnMut(Item, u64),
    ) -> bool {
        let (table, from, to) = match self.scope.set {
            Set::Logs => {
                let key = |number| layout::peer_key(&self.peer, number);
                (REPLICAS, key(self.next), key(u64::MAX))
            }
            Set::Entries { number, last } => {
                let key = |sequence| layout::entry_key(number, sequence);
                (ENTRIES, key(self.next), key(last.saturating_add(1)))
            }
        };
        let mut is_done = true;
        rows.scan(table, &from, &to, Direction::Forward, &mut |key, value| {
            if *room == 0 {
                is_done = false;
                return ControlFlow::Break(());
            }
            *room = room.saturating_sub(cost_of(value));
            let Some(at) = layout::last_u64(key) else { return ControlFlow::Continue(()) };
            self.next = at.saturating_add(1);
            let item = match self.scope.set {
                Set::Logs => self.log(rows, at, value),
                Set::Entries { .. } => kept_item(value).filter(|item| self.has(item)),
            };
            if let Some(item) = item {
                visit(item, at);
            }
            ControlFlow::Continue(())
        });
        is_done
    }

    /// Returns the item of a log that both hold, or nothing if the other node is not known to have
    /// a copy.
    fn log(&mut self, rows: &dyn Rows, number: u64, received: &[u8]) -> Option<Item> {
        let cursor = layout::decode_cursor(received)?;
        let row = LogRow::decode(&rows.get(LOGS, &layout::number_key(number))?)?;
        if cursor.incarnation == 0 || !self.has(&row.id.0) {
            return None;
        }
        let fingerprint = rows.get(FINGERPRINTS, &layout::number_key(number));
        let fingerprint = fingerprint.and_then(|row| Fingerprint::decode(&row));
        if fingerprint.is_none() || is_marked(rows, &self.peer, number) {
            self.left_out = true;
            return None;
        }
        Some(self.key.item(&[row.id.0, fingerprint?.0].concat()))
    }

    fn has(&self, id: &[u8]) -> bool {
        id.first_chunk().is_some_and(|first| self.scope.part.has(*first))
    }
}

/// Returns the part after `part`, in a walk over parts of different sizes.
pub(super) fn after(part: Part) -> Option<Part> {
    let (mut depth, mut bits) = (part.depth(), part.bits().saturating_add(1));
    while depth > 0 && bits.is_multiple_of(1 << STEP) {
        depth = depth.saturating_sub(STEP);
        bits >>= STEP;
    }
    if depth == 0 { None } else { Part::new(depth, bits) }
}

/// Returns the first part of a part that is too large, if it can be divided.
pub(super) fn finer(part: Part) -> Option<Part> {
    Part::new(part.depth().saturating_add(STEP), part.bits() << STEP)
}

/// Returns the cost of reading a row: the longer it is, the more, since it is hashed.
pub(crate) fn cost_of(row: &[u8]) -> usize {
    (row.len() >> 10).saturating_add(1)
}

/// Into eight at a time.
const STEP: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_until_all_ids_were_in_one() {
        let divided = |part: Part| matches!((part.depth(), part.bits()), (0, 0) | (3, 5) | (6, 47));
        let (mut next, mut seen) = (Some(Part::ALL), Vec::new());
        while let Some(part) = next {
            if divided(part) {
                next = finer(part);
                continue;
            }
            seen.push(part);
            next = after(part);
        }
        assert_eq!(seen.len(), 7 + 7 + 8);
        for first in 0..=u16::MAX {
            let of = seen.iter().filter(|part| part.has(first.to_be_bytes()));
            assert_eq!(of.count(), 1, "{first}");
        }
        let mut part = Part::ALL;
        while let Some(finer) = finer(part) {
            part = finer;
        }
        assert_eq!(part.depth(), 15);
    }
}
