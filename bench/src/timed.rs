//! A store that notes how long its disk takes, so that the product needs no timers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use proto::{Direction, Rows, Table, Visit, WriteBatch};
use store::{Store, StoreError};

use crate::measure::Samples;

/// Any store, timed.
#[derive(Debug)]
pub(crate) struct Timed<S> {
    store: S,
    timings: Arc<Timings>,
}

/// What a [`Timed`] store has recorded since the last read.
#[derive(Debug, Default)]
pub(crate) struct Timings(Mutex<Noted>);

/// See [`Timings`].
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// All syncs.
    pub(crate) syncs: Samples,
    /// Time spent applying batches.
    pub(crate) applying: Duration,
}

impl Timings {
    /// What was noted since the last call.
    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<S> Timed<S> {
    pub(crate) fn new(store: S) -> (Self, Arc<Timings>) {
        let timings = Arc::<Timings>::default();
        (Self { store, timings: Arc::clone(&timings) }, timings)
    }
}

impl<S: Rows> Rows for Timed<S> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.store.scan(table, from, to, direction, visit);
    }
}

impl<S: Store> Store for Timed<S> {
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        let start = Instant::now();
        self.store.apply(batch)?;
        self.timings.note(|noted| noted.applying += start.elapsed());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        self.store.sync()?;
        self.timings.note(|noted| noted.syncs.push(start.elapsed()));
        Ok(())
    }

    fn fault(&self) -> Option<StoreError> {
        self.store.fault()
    }

    fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Option<Box<dyn store::Snapshot>> {
        self.store.snapshot()
    }
}
