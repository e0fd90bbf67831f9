//! What a comparison needs of the rest of the node, and what it draws at random.

use std::time::Duration;

use proto::{Peer, Reference, Rows, Seed};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use reconcile::Key;

use super::walk::Set;
use crate::{
    Counters,
    fingerprint::kept_item,
    layout::{self, ENTRIES, REFERENCES},
    log::{EntryAt, Logs},
    replica::Replicas,
};

/// What a comparison needs of the node.
pub(crate) struct Around<'a> {
    pub(crate) rows: &'a dyn Rows,
    pub(crate) logs: &'a mut Logs,
    pub(crate) replicas: &'a mut Replicas,
    pub(crate) counters: &'a mut Counters,
}

impl Around<'_> {
    /// Returns the sequence of an entry that is here, if it is one of those that are compared.
    pub(super) fn find(&self, number: u64, reference: Reference) -> Option<u64> {
        let sequence = self.rows.get(REFERENCES, &layout::reference_key(number, reference))?;
        let sequence = layout::last_u64(&sequence)?;
        let row = self.rows.get(ENTRIES, &layout::entry_key(number, sequence))?;
        (kept_item(&row) == Some(reference.0)).then_some(sequence)
    }

    /// Pushes an entry to a node that lacks it.
    pub(super) fn push(&mut self, peer: &Peer, number: u64, reference: Reference) {
        let Some(sequence) = self.find(number, reference) else { return };
        let at = EntryAt { log: number, sequence };
        self.replicas.push_again(&[*peer], at, self.logs, self.rows);
        self.counters.repaired = self.counters.repaired.saturating_add(1);
    }
}

/// What is drawn and counted.
#[derive(Debug)]
pub(super) struct Draws {
    /// Apart from the node's generator, so that comparisons don't change what the node draws.
    rng: ChaCha20Rng,
    requests: u32,
}

impl Draws {
    /// Mixes the node's name into the seed: two nodes with one seed don't compare at the same
    /// times.
    pub(super) fn new(own: Peer, seed: &Seed) -> Self {
        let mut mixed = seed.0;
        mixed.iter_mut().zip(own.0).for_each(|(to, from)| *to ^= from);
        let mut rng = ChaCha20Rng::from_seed(mixed);
        rng.set_stream(STREAM);
        Self { rng, requests: 0 }
    }

    /// Draws a key that no peer knows yet.
    pub(super) fn key(&mut self) -> Key {
        let mut key = [0; 16];
        self.rng.fill_bytes(&mut key);
        Key(key)
    }

    /// Returns the next request number. Those of other parts of the node are rarely as high, so it
    /// is rarely taken.
    pub(super) fn request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1);
        self.requests | FIRST_REQUEST
    }

    /// Draws between half and one and a half times `time`, so that nodes don't act at the same
    /// time.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        let half = time.checked_div(2).unwrap_or_default();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let drawn = self.rng.next_u64().checked_rem(micros.saturating_add(1)).unwrap_or_default();
        half.saturating_add(Duration::from_micros(drawn))
    }
}

/// Returns how many symbols of a set are sent at most. Larger differences are compared part by
/// part.
pub(super) fn symbols_max(set: Set) -> usize {
    match set {
        Set::Logs => LOGS_SYMBOLS_MAX,
        Set::Entries { .. } => ENTRIES_SYMBOLS_MAX,
    }
}

/// 32 KiB: enough for some 500 logs that differ. As logs may change from one walk to the next, they
/// are walked through once or twice.
pub(super) const LOGS_SYMBOLS_MAX: usize = 1024;
/// 512 KiB: enough for some 10,000 entries that differ.
const ENTRIES_SYMBOLS_MAX: usize = 16_384;
/// The first request number.
const FIRST_REQUEST: u32 = 1 << 31;
/// Of the seed's random numbers.
const STREAM: u64 = 3;
