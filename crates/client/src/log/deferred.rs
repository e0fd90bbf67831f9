//! Entries that wait for others: the room they take, what they wait for, and what of that was
//! fetched. Specified in `spec/delivery.md`, section 4.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::ControlFlow,
};

use prost::Message;
use proto::{Envelope, EnvelopeId, Instant, LogId, PublicKey, Reference, Rows, Table, limits};

use crate::{
    rows::{self, join},
    step::Step,
};

/// Log ‖ id → [`DeferredRow`].
const DEFERRED: Table = Table(16);

/// An envelope that can't be shown yet.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeferredRow {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    /// The references it waits for; a write key, if its epoch is unknown.
    #[prost(bytes = "vec", repeated, tag = "2")]
    missing: Vec<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    since_us: u64,
}

impl DeferredRow {
    /// The row of an envelope that waits for these, since the time of `before` if it did already.
    pub(super) fn new(
        envelope: &Envelope,
        missing: Vec<Vec<u8>>,
        before: Option<&Self>,
        now: Instant,
    ) -> Self {
        let since_us = before.map_or(now.as_micros(), |before| before.since_us);
        Self { envelope: envelope.encode(), missing, since_us }
    }

    pub(super) fn missing(&self) -> &[Vec<u8>] {
        &self.missing
    }
}

pub(super) fn row(rows: &dyn Rows, log: &LogId, id: &EnvelopeId) -> Option<DeferredRow> {
    rows::load(rows, DEFERRED, &join(log, id))
}

pub(super) fn envelope(rows: &dyn Rows, log: &LogId, id: &EnvelopeId) -> Option<Envelope> {
    Envelope::decode(&row(rows, log, id)?.envelope).ok()
}

pub(super) fn put(step: &mut Step<'_>, log: &LogId, id: &EnvelopeId, row: &DeferredRow) {
    step.put(DEFERRED, join(log, id), row.encode_to_vec());
}

pub(super) fn delete(step: &mut Step<'_>, log: &LogId, id: &EnvelopeId) {
    step.delete(DEFERRED, join(log, id));
}

pub(super) fn erase(step: &mut Step<'_>, log: &LogId) {
    step.erase(DEFERRED, &log.0);
}

pub(super) fn has(rows: &dyn Rows, log: &LogId, reference: &Reference) -> bool {
    let mut waits = false;
    rows::each(rows, DEFERRED, &join(log, reference.0), &mut |_, _| {
        waits = true;
        ControlFlow::Break(())
    });
    waits
}

/// Returns since when each deferred entry of a log has waited.
pub(crate) fn deferred_since(rows: &dyn Rows, log: &LogId) -> Vec<Instant> {
    let all = rows::load_all::<DeferredRow>(rows, DEFERRED, &log.0).into_iter();
    all.map(|(_, row)| Instant::from_micros(row.since_us)).collect()
}

/// The deferred entries of one log.
#[derive(Default)]
pub(super) struct Deferred {
    /// Bytes of each, and since when it waits.
    entries: BTreeMap<EnvelopeId, (usize, u64)>,
    bytes: usize,
    /// Those whose write key is unknown, that have waited longest first.
    unopened: BTreeSet<(u64, EnvelopeId)>,
    /// What they wait for, a reference or a write key, and who waits for it.
    missing: BTreeMap<Vec<u8>, BTreeSet<EnvelopeId>>,
    /// What of it is to be fetched: it is not here, not even waiting itself.
    wanted: BTreeSet<Reference>,
    /// What of it is not to be fetched before the next round.
    asked: BTreeSet<Reference>,
    /// How often everything was fetched again since something new was missing.
    rounds: u32,
}

impl Deferred {
    pub(super) fn load(rows: &dyn Rows, log: &LogId) -> Self {
        let mut deferred = Self::default();
        for (id, row) in rows::load_all::<DeferredRow>(rows, DEFERRED, &log.0) {
            if let Ok(id) = EnvelopeId::try_from(id.as_slice()) {
                deferred.add(id, &row);
            }
        }
        deferred
    }

    /// Remembers that an entry waits. Returns whether something that can be fetched is missing that
    /// was not before, so that pauses begin with the shortest one.
    pub(super) fn add(&mut self, id: EnvelopeId, row: &DeferredRow) -> bool {
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
    pub(super) fn remove(&mut self, id: &EnvelopeId, missing: &[Vec<u8>]) {
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

    /// Takes the entries that waited for what has arrived.
    pub(super) fn released(&mut self, arrived: &[u8]) -> BTreeSet<EnvelopeId> {
        if let Ok(reference) = Reference::try_from(arrived) {
            self.wanted.remove(&reference);
            self.asked.remove(&reference);
        }
        self.missing.remove(arrived).unwrap_or_default()
    }

    /// Returns whether entries wait for this one and it is not here, not even waiting itself.
    pub(super) fn misses(&self, reference: &Reference) -> bool {
        self.missing.contains_key(reference.0.as_slice()) && !self.has(reference)
    }

    /// Takes what is to be fetched now.
    pub(super) fn take_wanted(&mut self) -> Vec<Reference> {
        let references: Vec<_> = self.wanted.iter().take(limits::FETCH_MAX).copied().collect();
        for reference in &references {
            self.wanted.remove(reference);
            self.asked.insert(*reference);
        }
        references
    }

    /// Returns whether something is left for the next round.
    pub(super) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whatever is missing is to be fetched again.
    pub(super) fn fetch_again(&mut self) {
        for reference in mem::take(&mut self.asked) {
            if !self.has(&reference) {
                self.wanted.insert(reference);
            }
        }
    }

    /// The same after a pause, so that the next one is longer.
    pub(super) fn next_round(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        self.fetch_again();
    }

    /// The same on a new connection, where pauses begin with the shortest one.
    pub(super) fn restart(&mut self) {
        self.rounds = 0;
        self.fetch_again();
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns for how many things they wait.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    fn has(&self, reference: &Reference) -> bool {
        let mut first = EnvelopeId::default();
        for (byte, of) in first.0.iter_mut().zip(reference.0) {
            *byte = of;
        }
        self.entries.range(first..).next().is_some_and(|(id, _)| id.reference() == *reference)
    }

    /// Returns the entry with an unknown write key that has waited longest, other than `id`.
    pub(super) fn oldest_unopened(&self, id: &EnvelopeId) -> Option<EnvelopeId> {
        let mut others = self.unopened.iter().filter(|(_, other)| other != id);
        others.next().map(|(_, oldest)| *oldest)
    }

    fn take_no_room(&mut self, id: &EnvelopeId) {
        if let Some((bytes, since_us)) = self.entries.remove(id) {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.unopened.remove(&(since_us, *id));
        }
    }

    /// Returns whether there is room for an entry.
    pub(super) fn fits(&self, id: &EnvelopeId, row: &DeferredRow) -> bool {
        let before = self.entries.get(id).map_or(0, |(bytes, _)| *bytes);
        let others = self.entries.len().saturating_sub(usize::from(before > 0));
        let bytes = self.bytes.saturating_sub(before).saturating_add(row.envelope.len());
        others < limits::DEFERRED_MAX && bytes <= DEFERRED_BYTES_MAX
    }
}

/// Bytes of entries that wait in one log: 256 of the largest kind, or more than
/// [`limits::DEFERRED_MAX`] of the usual one.
const DEFERRED_BYTES_MAX: usize = 256 * limits::ENVELOPE_MAX;
