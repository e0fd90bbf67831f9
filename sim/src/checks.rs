//! Checks of the rows of a node: secrets, duplicates, and how much there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use proto::{Direction, Envelope, EnvelopeId, Expiry, LogId, Rows, Table};

use crate::{Rule, model::holds_marker};

/// What the rows of a node hold.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) found: Vec<(Rule, String)>,
    /// Which log has which number.
    numbers: BTreeMap<Vec<u8>, LogId>,
    /// The entries of each log, by its number.
    logs: BTreeMap<Vec<u8>, BTreeSet<EnvelopeId>>,
    /// Those that expire.
    expiring: BTreeSet<EnvelopeId>,
}

impl Holding {
    /// Takes the entries of each log; without those that expire unless they are asked for: they are
    /// pushed and never compared, and adversaries don't push them.
    pub(crate) fn take_logs(
        &mut self,
        with_expiring: bool,
    ) -> BTreeMap<LogId, BTreeSet<EnvelopeId>> {
        let logs = std::mem::take(&mut self.numbers).into_iter();
        let logs = logs.map(|(number, log)| {
            let mut entries = self.logs.remove(&number).unwrap_or_default();
            entries.retain(|entry| with_expiring || !self.expiring.contains(entry));
            (log, entries)
        });
        logs.collect()
    }
}

/// Returns what the rows of a node hold.
pub(crate) fn look_through(rows: &dyn Rows, secrets: &Secrets) -> Holding {
    let mut holding = Holding::default();
    for table in 0..TABLES_MAX {
        let table = Table(table);
        rows.scan(table, &[], &[0xFF; 64], Direction::Forward, &mut |key, value| {
            let size = key.len().saturating_add(value.len()) as u64;
            holding.bytes = holding.bytes.saturating_add(size);
            if [key, value].into_iter().any(|bytes| secrets.are_in(bytes) || holds_marker(bytes)) {
                holding.found.push((Rule::Secret, format!("a secret in table {}", table.0)));
            }
            if table == NUMBERS
                && let Ok(log) = LogId::try_from(key)
            {
                holding.numbers.insert(value.to_vec(), log);
            }
            if table == ENTRIES {
                holding.entries = holding.entries.saturating_add(1);
                let log = key.get(..8).unwrap_or_default().to_vec();
                let Ok(envelope) = Envelope::decode(value) else {
                    return ControlFlow::Continue(());
                };
                if envelope.head.expiry != Expiry::Never {
                    holding.expiring.insert(envelope.id());
                }
                if !holding.logs.entry(log).or_default().insert(envelope.id()) {
                    let text = format!("an entry at position {} twice", envelope.head.position);
                    holding.found.push((Rule::Twice, text));
                }
            }
            ControlFlow::Continue(())
        });
    }
    holding
}

/// What only devices may know.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// Which first two bytes there are, so that most windows need no second look.
    begin: Vec<bool>,
    all: BTreeSet<[u8; 32]>,
}

impl Secrets {
    pub(crate) fn new(all: &[[u8; 32]]) -> Self {
        let mut begin = vec![false; 1 << 16];
        for secret in all {
            if let Some(begins) = begin.get_mut(first_two(secret)) {
                *begins = true;
            }
        }
        Self { begin, all: all.iter().copied().collect() }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(32).any(|window| {
            self.begin.get(first_two(window)) == Some(&true) && self.all.contains(window)
        })
    }
}

fn first_two(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |first| u16::from_le_bytes(*first).into())
}

/// A node's table of logs: the name to the number.
const NUMBERS: Table = Table(1);
/// A node's table of entries: the number of the log in eight bytes, and a sequence, to the
/// envelope.
const ENTRIES: Table = Table(4);
/// More than any layout has.
const TABLES_MAX: u8 = 64;
