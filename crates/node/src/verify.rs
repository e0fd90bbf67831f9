//! Verification of all rows, for an operator who doubts the disk.

use std::{collections::BTreeMap, fmt, ops::ControlFlow};

use proto::{Direction, Envelope, EnvelopeId, LogId, PublicKey, Rows, Seed};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::{
    fingerprint::{Fingerprint, is_kept},
    layout::{
        self, BUNDLES, ENTRIES, FINGERPRINTS, KEYS, LOGS, LogRow, POSITIONS, REFERENCES, STATES,
        StateRow,
    },
};

/// The result of reading all rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Inboxes and conversations.
    pub logs: u64,
    /// Envelopes, good or not.
    pub envelopes: u64,
    /// Bytes of all envelopes.
    pub bytes: u64,
    /// Records of accounts.
    pub bundles: u64,
    /// Things that are wrong, shown or not.
    pub faults: u64,
    /// The first hundred of them.
    pub shown: Vec<Fault>,
}

/// Something wrong: where, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The log, if its row can be read.
    pub log: Option<LogId>,
    /// The entry, by the order in which the log took them.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A log's row, or what it says of its entries, can't be read.
    #[error("the log's row is damaged")]
    Log,
    /// An entry of a number that no log has.
    #[error("an entry of no log")]
    Stray,
    /// An entry behind the last of its log.
    #[error("an entry that its log has not taken")]
    Ahead,
    /// An entry is no envelope.
    #[error("no envelope")]
    Undecodable,
    /// An envelope of another log.
    #[error("an envelope of another log")]
    Misplaced,
    /// A signature doesn't verify.
    #[error("a bad signature")]
    BadSignature,
    /// It is signed with a key that never was the conversation's.
    #[error("an unknown write key")]
    UnknownKey,
    /// It can't be found by its position or by its reference.
    #[error("an envelope that can't be found")]
    Lost,
    /// A position or a reference leads to no entry.
    #[error("a way to an entry that is not there")]
    DeadEnd,
    /// A log's fingerprint is not that of its entries.
    #[error("a fingerprint of other entries")]
    Fingerprint,
    /// An account's record doesn't verify.
    #[error("a record that doesn't verify")]
    Bundle,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(log) = self.log {
            write!(out, "log {log}")?;
            self.sequence.map_or(Ok(()), |sequence| write!(out, ", entry {sequence}"))?;
            write!(out, ": ")?;
        }
        self.what.fmt(out)
    }
}

/// Reads every row of logs and records once, and verifies every signature. The rows must not change
/// meanwhile. What it remembers grows with the number of logs only.
pub fn verify(rows: &dyn Rows, seed: Seed) -> Verified {
    let mut look = Look {
        rows,
        rng: ChaCha20Rng::from_seed(seed.0),
        logs: BTreeMap::new(),
        fingerprints: BTreeMap::new(),
        waiting: Vec::new(),
        seen: Verified::default(),
    };
    look.logs();
    look.entries();
    look.ways();
    look.fingerprints();
    look.bundles();
    look.seen
}

struct Look<'a> {
    rows: &'a dyn Rows,
    rng: ChaCha20Rng,
    logs: BTreeMap<u64, (LogRow, StateRow)>,
    /// Of the entries that were seen.
    fingerprints: BTreeMap<u64, Fingerprint>,
    /// Envelopes whose signatures are to be verified together.
    waiting: Vec<(u64, u64, Envelope)>,
    seen: Verified,
}

impl Look<'_> {
    fn logs(&mut self) {
        let rows = self.rows;
        each(rows, LOGS, |key, value| {
            self.seen.logs = self.seen.logs.saturating_add(1);
            let number = layout::last_u64(key);
            let state = rows.get(STATES, key).and_then(|state| StateRow::decode(&state));
            match (number, LogRow::decode(value), state) {
                (Some(number), Some(row), Some(state)) => {
                    self.logs.insert(number, (row, state));
                }
                (_, row, _) => self.blame(row.map(|row| row.id), None, Wrong::Log),
            }
        });
    }

    fn entries(&mut self) {
        each(self.rows, ENTRIES, |key, bytes| {
            self.seen.envelopes = self.seen.envelopes.saturating_add(1);
            self.seen.bytes = self.seen.bytes.saturating_add(bytes.len() as u64);
            let number = key.first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
            let (Some(number), Some(sequence)) = (number, layout::last_u64(key)) else {
                return self.blame(None, None, Wrong::Stray);
            };
            if let Err(what) = self.entry(number, sequence, bytes) {
                self.blame_entry(number, sequence, what);
            }
        });
        self.signatures();
    }

    fn entry(&mut self, number: u64, sequence: u64, bytes: &[u8]) -> Result<(), Wrong> {
        let (row, state) = self.logs.get(&number).ok_or(Wrong::Stray)?;
        if sequence > state.last_sequence {
            return Err(Wrong::Ahead);
        }
        let envelope = Envelope::decode(bytes).map_err(|_| Wrong::Undecodable)?;
        if envelope.head.log != row.id {
            return Err(Wrong::Misplaced);
        }
        // Invites, which write to inboxes, are forgotten when they are used up.
        if row.inbox_of.is_none() && !self.knows(number, row, &envelope.head.write_key) {
            return Err(Wrong::UnknownKey);
        }
        let id = envelope.id();
        if !self.leads(number, sequence, envelope.head.position, &id) {
            return Err(Wrong::Lost);
        }
        if is_kept(&envelope) {
            self.fingerprints.entry(number).or_default().add(&id);
        }
        self.waiting.push((number, sequence, envelope));
        if self.waiting.len() >= TOGETHER {
            self.signatures();
        }
        Ok(())
    }

    fn knows(&self, number: u64, row: &LogRow, key: &PublicKey) -> bool {
        row.keys.iter().any(|known| known.key == *key)
            || self.rows.get(KEYS, &layout::public_key_key(number, key)).is_some()
    }

    /// Returns whether both indexes find an entry. Of two with one reference the later is found.
    fn leads(&self, number: u64, sequence: u64, position: u64, id: &EnvelopeId) -> bool {
        let at = |row: Option<Vec<u8>>| row.and_then(|row| layout::last_u64(&row));
        let position = layout::position_key(number, position, id);
        let reference = layout::reference_key(number, id.reference());
        at(self.rows.get(POSITIONS, &position)) == Some(sequence)
            && at(self.rows.get(REFERENCES, &reference)) >= Some(sequence)
    }

    fn signatures(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let envelopes: Vec<&Envelope> = waiting.iter().map(|(.., envelope)| envelope).collect();
        let verdicts = crypto::verify_envelopes(&envelopes, &mut self.rng);
        for ((number, sequence, _), is_good) in waiting.iter().zip(verdicts) {
            if !is_good {
                self.blame_entry(*number, *sequence, Wrong::BadSignature);
            }
        }
    }

    /// Positions and references without entries.
    fn ways(&mut self) {
        let rows = self.rows;
        for table in [POSITIONS, REFERENCES] {
            each(rows, table, |key, value| {
                let number = key.first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
                let (Some(number), Some(sequence)) = (number, layout::last_u64(value)) else {
                    return self.blame(None, None, Wrong::DeadEnd);
                };
                if rows.get(ENTRIES, &layout::entry_key(number, sequence)).is_none() {
                    self.blame_entry(number, sequence, Wrong::DeadEnd);
                }
            });
        }
    }

    /// Rows of an older version have none.
    fn fingerprints(&mut self) {
        let rows = self.rows;
        each(rows, FINGERPRINTS, |key, row| {
            let of = |number: u64| self.fingerprints.get(&number).copied().unwrap_or_default();
            let number = layout::last_u64(key);
            if number.is_none_or(|number| Fingerprint::decode(row) != Some(of(number))) {
                let log = number.and_then(|number| self.logs.get(&number));
                let log = log.map(|(row, _)| row.id);
                self.blame(log, None, Wrong::Fingerprint);
            }
        });
    }

    fn bundles(&mut self) {
        each(self.rows, BUNDLES, |key, bytes| {
            self.seen.bundles = self.seen.bundles.saturating_add(1);
            let bundle = crypto::identity::Bundle::verify(bytes);
            if !bundle.is_ok_and(|bundle| bundle.account().0 == *key) {
                self.blame(None, None, Wrong::Bundle);
            }
        });
    }

    fn blame_entry(&mut self, number: u64, sequence: u64, what: Wrong) {
        let log = self.logs.get(&number).map(|(row, _)| row.id);
        self.blame(log, Some(sequence), what);
    }

    fn blame(&mut self, log: Option<LogId>, sequence: Option<u64>, what: Wrong) {
        self.seen.faults = self.seen.faults.saturating_add(1);
        if self.seen.shown.len() < FAULTS_MAX {
            self.seen.shown.push(Fault { log, sequence, what });
        }
    }
}

fn each(rows: &dyn Rows, table: proto::Table, mut visit: impl FnMut(&[u8], &[u8])) {
    // No key is longer.
    rows.scan(table, &[], &[0xFF; 80], Direction::Forward, &mut |key, value| {
        visit(key, value);
        ControlFlow::Continue(())
    });
}

/// How many faults are shown.
const FAULTS_MAX: usize = 100;
/// How many signatures are verified together.
const TOGETHER: usize = 256;
