//! Rows: what machines remember. Reads are a trait, writes are a value.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    ops::ControlFlow,
};

/// A table of rows, ordered by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

/// Which way to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Backward,
}

/// Called for each row of a scan with key and value; breaks to stop.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The rows as they are now.
///
/// Reading can't fail here: a store that can't read its disk says so to the driver, which stops
/// before it carries out anything a machine concluded from missing rows.
pub trait Rows {
    /// The value of one row.
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>>;

    /// Visits the rows with `from <= key < to`.
    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>);
}

/// Changes that happen all or not at all. The last change of a row counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WriteBatch(BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>);

impl WriteBatch {
    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.insert((table, key.into()), Some(value.into()));
    }

    /// Removes a row; removing one that isn't there is harmless.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.insert((table, key.into()), None);
    }

    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes by table and key; `None` removes.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.0.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }
}

impl fmt::Debug for WriteBatch {
    /// Values may hold secrets, so only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBatch({} rows)", self.0.len())
    }
}

/// Rows as they will be once a batch in the making is carried out.
pub struct Transaction<'a> {
    rows: &'a dyn Rows,
    batch: WriteBatch,
}

impl<'a> Transaction<'a> {
    /// Starts without changes.
    pub fn new(rows: &'a dyn Rows) -> Self {
        Self { rows, batch: WriteBatch::default() }
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.batch.put(table, key, value);
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.batch.delete(table, key);
    }

    /// The changes so far.
    pub fn into_batch(self) -> WriteBatch {
        self.batch
    }

    fn changes(&self, table: Table, from: &[u8], to: &[u8]) -> Changes<'_> {
        let (from, to) = ((table, from.to_vec()), (table, to.to_vec()));
        self.batch.0.range(from..to)
    }
}

type Changes<'a> = btree_map::Range<'a, (Table, Vec<u8>), Option<Vec<u8>>>;

impl Rows for Transaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        match self.batch.0.get(&(table, key.to_vec())) {
            Some(change) => change.clone(),
            None => self.rows.get(table, key),
        }
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        if from >= to {
            return;
        }
        let mut changes: Box<dyn Iterator<Item = _>> = match direction {
            Direction::Forward => Box::new(self.changes(table, from, to)),
            Direction::Backward => Box::new(self.changes(table, from, to).rev()),
        };
        let before = |a: &[u8], b: &[u8]| match direction {
            Direction::Forward => a < b,
            Direction::Backward => a > b,
        };
        let mut next = changes.next();
        let mut stopped = false;
        self.rows.scan(table, from, to, direction, &mut |key, value| {
            while let Some(((_, changed), change)) = next
                && before(changed, key)
            {
                next = changes.next();
                if let Some(change) = change
                    && visit(changed, change).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let (shown, replaced) = match next {
                Some(((_, changed), change)) if changed == key => (change.as_deref(), true),
                _ => (Some(value), false),
            };
            if replaced {
                next = changes.next();
            }
            let flow = shown.map_or(ControlFlow::Continue(()), |shown| visit(key, shown));
            stopped = flow.is_break();
            flow
        });
        while let (false, Some(((_, changed), change))) = (stopped, next) {
            next = changes.next();
            if let Some(change) = change {
                stopped = visit(changed, change).is_break();
            }
        }
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({:?})", self.batch)
    }
}
