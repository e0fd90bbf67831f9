//! Entries that wait for others: the room they take, what they wait for, and what of that was asked
//! for. Specified in `spec/delivery.md`, section 4.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use proto::{EnvelopeId, LogId, PublicKey, Reference, limits};

use crate::{Client, schema, step::Step};

/// The waiting entries of one conversation.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Bytes of each, and since when it waits.
    entries: BTreeMap<EnvelopeId, (usize, u64)>,
    bytes: usize,
    /// Those whose write key is unknown, that have waited longest first.
    unopened: BTreeSet<(u64, EnvelopeId)>,
    /// What they wait for, a reference or a write key, and who waits for it.
    missing: BTreeMap<Vec<u8>, BTreeSet<EnvelopeId>>,
    /// What of it is to be asked for: it is not here, not even waiting itself.
    wanted: BTreeSet<Reference>,
    /// What of it is not to be asked for before the next round.
    asked: BTreeSet<Reference>,
    /// How often all was asked for again since something new was missing.
    rounds: u32,
}

impl Waiting {
    /// Remembers that an entry waits. Tells whether something that can be asked for is missing
    /// that was not before, so that pauses begin anew.
    pub(crate) fn add(&mut self, id: EnvelopeId, row: &schema::Deferred) -> bool {
        self.take_no_room(&id);
        let bytes = row.envelope.len();
        self.entries.insert(id, (bytes, row.since_us));
        self.bytes = self.bytes.saturating_add(bytes);
        if row.missing.iter().any(|missing| missing.len() == PublicKey::default().0.len()) {
            self.unopened.insert((row.since_us, id));
        }
        self.wanted.remove(&id.reference());
        let mut new = false;
        for missing in &row.missing {
            let by = self.missing.entry(missing.clone()).or_default();
            let reference = Reference::try_from(missing.as_slice()).ok();
            let reference = reference.filter(|_| by.is_empty());
            by.insert(id);
            if let Some(reference) = reference.filter(|reference| !self.has(reference)) {
                self.wanted.insert(reference);
                new = true;
            }
        }
        if new {
            self.rounds = 0;
        }
        new
    }

    /// Forgets an entry that waited for these.
    pub(crate) fn remove(&mut self, id: &EnvelopeId, missing: &[Vec<u8>]) {
        self.take_no_room(id);
        for missing in missing {
            if let Some(by) = self.missing.get_mut(missing) {
                by.remove(id);
                if by.is_empty() {
                    self.released(missing);
                }
            }
        }
        if self.missing.contains_key(id.reference().0.as_slice()) {
            // Unless it is placed now, it is missing again.
            self.asked.insert(id.reference());
        }
    }

    /// Who waits for what has come, and does so no longer.
    pub(crate) fn released(&mut self, arrived: &[u8]) -> BTreeSet<EnvelopeId> {
        if let Ok(reference) = Reference::try_from(arrived) {
            self.wanted.remove(&reference);
            self.asked.remove(&reference);
        }
        self.missing.remove(arrived).unwrap_or_default()
    }

    /// Tells whether entries wait for this one and it is not here, not even waiting itself.
    pub(crate) fn misses(&self, reference: &Reference) -> bool {
        self.missing.contains_key(reference.0.as_slice()) && !self.has(reference)
    }

    /// What is to be asked for now, and was not yet.
    pub(crate) fn ask(&mut self) -> Vec<Reference> {
        let references: Vec<_> = self.wanted.iter().take(limits::FETCH_MAX).copied().collect();
        for reference in &references {
            self.wanted.remove(reference);
            self.asked.insert(*reference);
        }
        references
    }

    /// Tells whether something is left for the next round.
    pub(crate) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whatever is missing is to be asked for again.
    pub(crate) fn ask_again(&mut self) {
        for reference in mem::take(&mut self.asked) {
            if !self.has(&reference) {
                self.wanted.insert(reference);
            }
        }
    }

    /// The same after a pause, so that the next one is longer.
    pub(crate) fn next_round(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        self.ask_again();
    }

    /// The same on a new connection, where pauses begin anew.
    pub(crate) fn start_over(&mut self) {
        self.rounds = 0;
        self.ask_again();
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// For how many things they wait.
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Tells whether an entry waits.
    fn has(&self, reference: &Reference) -> bool {
        let mut first = EnvelopeId::default();
        for (byte, of) in first.0.iter_mut().zip(reference.0) {
            *byte = of;
        }
        self.entries.range(first..).next().is_some_and(|(id, _)| id.reference() == *reference)
    }

    fn take_no_room(&mut self, id: &EnvelopeId) {
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
            if conversation.waiting.fits(id, row) {
                return true;
            }
            let mut others = conversation.waiting.unopened.iter().filter(|(_, other)| other != id);
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
