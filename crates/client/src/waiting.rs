//! The room that entries take which wait for others. Specified in `spec/delivery.md`, section 4.

use std::collections::{BTreeMap, BTreeSet};

use proto::{EnvelopeId, LogId, PublicKey, limits};

use crate::{Client, schema, step::Step};

/// The waiting entries of one conversation.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Bytes of each, and since when it waits.
    entries: BTreeMap<EnvelopeId, (usize, u64)>,
    bytes: usize,
    /// Those whose write key is unknown, that have waited longest first.
    unopened: BTreeSet<(u64, EnvelopeId)>,
}

impl Waiting {
    pub(crate) fn add(&mut self, id: EnvelopeId, row: &schema::Deferred) {
        self.remove(&id);
        let bytes = row.envelope.len();
        self.entries.insert(id, (bytes, row.since_us));
        self.bytes = self.bytes.saturating_add(bytes);
        if row.missing.iter().any(|missing| missing.len() == PublicKey::default().0.len()) {
            self.unopened.insert((row.since_us, id));
        }
    }

    pub(crate) fn remove(&mut self, id: &EnvelopeId) {
        if let Some((bytes, since_us)) = self.entries.remove(id) {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.unopened.remove(&(since_us, *id));
        }
    }

    fn fits(&self, id: &EnvelopeId, row: &schema::Deferred) -> bool {
        let before = self.entries.get(id).map_or(0, |(bytes, _)| *bytes);
        let others = self.entries.len().saturating_sub(usize::from(before > 0));
        let bytes = self.bytes.saturating_sub(before).saturating_add(row.envelope.len());
        others < limits::DEFERRED_MAX && bytes <= DEFERRED_BYTES_MAX
    }
}

impl Client {
    /// Makes room for an entry that is to wait; tells whether there is any.
    ///
    /// Those with an unknown write key make room, that have waited longest first: nobody knows
    /// whether a member wrote them, while one that waits for a dependency was opened. When the
    /// key comes after all, what follows them names them, so that they are fetched again.
    pub(crate) fn make_room(
        &mut self,
        step: &mut Step<'_>,
        log: &LogId,
        id: &EnvelopeId,
        row: &schema::Deferred,
    ) -> bool {
        while let Some(conversation) = self.conversations.get(log) {
            if conversation.room.fits(id, row) {
                return true;
            }
            let mut others = conversation.room.unopened.iter().filter(|(_, other)| other != id);
            let Some((_, oldest)) = others.next().copied() else { return false };
            self.forget_deferred(step, log, &oldest);
            self.count_dropped();
        }
        false
    }
}

/// Bytes of entries that wait in one conversation: 256 of the largest kind, or more than
/// [`limits::DEFERRED_MAX`] of the usual one.
const DEFERRED_BYTES_MAX: usize = 256 * limits::ENVELOPE_MAX;
