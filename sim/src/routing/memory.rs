//! Rows in memory that never fail.

use std::collections::BTreeMap;

use proto::{Direction, Rows, Table, Visit, WriteBatch};

/// The rows of one router.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Memory {
    pub(super) fn apply(&mut self, batch: &WriteBatch) {
        for (table, key, value) in batch.iter() {
            match value {
                Some(value) => self.0.insert((table, key.to_vec()), value.to_vec()),
                None => self.0.remove(&(table, key.to_vec())),
            };
        }
    }
}

impl Rows for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        let mut range = self.0.range((table, from.to_vec())..(table, to.to_vec()));
        let mut next = || match direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        while let Some(((_, key), value)) = next() {
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}
