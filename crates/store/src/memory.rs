//! Rows in memory, with a disk that can be imagined to fail.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Bound, ControlFlow},
};

use proto::{Direction, Rows, Table, Visit, WriteBatch};

use crate::{Snapshot, Store, StoreError, check};

/// Rows in memory. What [`crash`](Self::crash) leaves is what a disk would hold.
#[derive(Clone, Default)]
pub struct Memory {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What the rows changed since the last sync were at that sync.
    synced: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    bytes: u64,
}

impl Memory {
    /// Starts without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not synced, as a power failure would.
    #[must_use]
    pub fn crash(mut self) -> Self {
        for ((table, key), value) in std::mem::take(&mut self.synced) {
            self.set(table, &key, value);
        }
        self
    }

    /// Sets or removes a row and returns what it was.
    fn set(&mut self, table: Table, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let rows = self.tables.entry(table).or_default();
        let added = value.as_ref().map_or(0, |value| row_bytes(key, value));
        let before = match value {
            Some(value) => rows.insert(key.to_vec(), value),
            None => rows.remove(key),
        };
        let removed = before.as_ref().map_or(0, |value| row_bytes(key, value));
        self.bytes = self.bytes.saturating_add(added).saturating_sub(removed);
        before
    }
}

impl Rows for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.tables.get(&table)?.get(key).cloned()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        let Some(rows) = self.tables.get(&table).filter(|_| from < to) else { return };
        let range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let mut visit = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
        let _: ControlFlow<()> = match direction {
            Direction::Forward => range.into_iter().try_for_each(&mut visit),
            Direction::Backward => range.rev().try_for_each(&mut visit),
        };
    }
}

impl Store for Memory {
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        check(batch)?;
        for (table, key, value) in batch.iter() {
            let before = self.set(table, key, value.map(<[u8]>::to_vec));
            self.synced.entry((table, key.to_vec())).or_insert(before);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.synced.clear();
        Ok(())
    }

    fn fault(&self) -> Option<StoreError> {
        None
    }

    fn disk_bytes(&self) -> u64 {
        self.bytes
    }

    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Option<Box<dyn Snapshot>> {
        Some(Box::new(self.clone()))
    }
}

impl Snapshot for Memory {
    fn fault(&self) -> Option<StoreError> {
        None
    }
}

impl fmt::Debug for Memory {
    /// Rows may hold secrets, so only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = self.tables.values().map(BTreeMap::len).sum();
        write!(f, "Memory({rows} rows, {} bytes)", self.bytes)
    }
}

fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    key.len().saturating_add(value.len()) as u64
}

#[test]
fn shows_no_rows() {
    let mut memory = Memory::new();
    let mut batch = WriteBatch::default();
    batch.put(Table(1), *b"who", *b"a secret");
    memory.apply(&batch).unwrap();
    assert_eq!(format!("{memory:?}"), "Memory(1 rows, 11 bytes)");
}
