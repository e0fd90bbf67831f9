//! Rows: how keys are built, and reading them. Each table belongs to one module, which alone writes
//! it.
//!
//! Numbers in keys are big-endian, so that rows lie in the order in which they are read.

use std::ops::ControlFlow;

use prost::Message;
use proto::{Direction, Envelope, EnvelopeId, LogId, Rows, Table, Visit};

/// Reads one row and decodes it; `None` if it is missing or damaged.
pub(crate) fn load<M: Message + Default>(rows: &dyn Rows, table: Table, key: &[u8]) -> Option<M> {
    M::decode(rows.get(table, key)?.as_slice()).ok()
}

/// Visits all rows whose key begins with `prefix`, with what follows the prefix.
pub(crate) fn each(rows: &dyn Rows, table: Table, prefix: &[u8], visit: Visit<'_>) {
    let (from, to) = prefix_range(prefix);
    rows.scan(table, &from, &to, Direction::Forward, &mut |key, value| {
        visit(key.get(prefix.len()..).unwrap_or_default(), value)
    });
}

/// Counts the rows whose key begins with `prefix`.
pub(crate) fn count(rows: &dyn Rows, table: Table, prefix: &[u8]) -> usize {
    let mut count = 0_usize;
    each(rows, table, prefix, &mut |_, _| {
        count = count.saturating_add(1);
        ControlFlow::Continue(())
    });
    count
}

/// Returns all rows whose key begins with `prefix`, with what follows the prefix.
pub(crate) fn all(rows: &dyn Rows, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    each(rows, table, prefix, &mut |key, row| {
        all.push((key.to_vec(), row.to_vec()));
        ControlFlow::Continue(())
    });
    all
}

/// The same, decoded; without those that are damaged.
pub(crate) fn load_all<M: Message + Default>(
    rows: &dyn Rows,
    table: Table,
    prefix: &[u8],
) -> Vec<(Vec<u8>, M)> {
    let all = all(rows, table, prefix).into_iter();
    all.filter_map(|(key, row)| Some((key, M::decode(row.as_slice()).ok()?))).collect()
}

/// The keys `from <= key < to` that begin with `prefix`, which is not all `0xff`.
pub(crate) fn prefix_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return (prefix.to_vec(), end);
        }
    }
    (prefix.to_vec(), vec![0xff; KEY_LEN_MAX])
}

/// The key of a row below a log.
pub(crate) fn join(log: &LogId, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [log.0.as_slice(), rest.as_ref()].concat()
}

/// The key of a numbered row below a log.
pub(crate) fn numbered(log: &LogId, number: u64) -> Vec<u8> {
    join(log, number.to_be_bytes())
}

/// Where an entry stands in its timeline, which is sorted by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineKey {
    /// Its depth in the graph of dependencies.
    pub position: u64,
    /// Its name, which orders entries of the same position.
    pub id: EnvelopeId,
}

impl TimelineKey {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self { position: envelope.head.position, id: envelope.id() }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        [self.position.to_be_bytes().as_slice(), &self.id.0].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, id) = bytes.split_first_chunk::<8>()?;
        Some(Self { position: u64::from_be_bytes(*position), id: EnvelopeId::try_from(id).ok()? })
    }

    pub(crate) fn row_key(self, log: &LogId) -> Vec<u8> {
        [log.0.as_slice(), &self.encode()].concat()
    }
}

const KEY_LEN_MAX: usize = 255;
