//! A disk: rows in memory, what a sync takes, and what can go wrong with it.

use std::time::Duration;

use proto::{Rows, WriteBatch};
use store::{Memory, Store};

use crate::rng::Rng;

/// The disk of one host.
#[derive(Debug)]
pub(crate) struct Disk {
    store: Memory,
    /// What was applied since the last sync, in order.
    unsynced: Vec<WriteBatch>,
    sync: [Duration; 2],
    capacity: u64,
    rng: Rng,
    pub(crate) slow: bool,
    pub(crate) full: bool,
}

/// The disk takes no more; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Disk {
    /// An empty disk of `capacity` bytes (0: without limit) whose syncs take from `sync[0]` to
    /// `sync[1]`.
    pub(crate) fn new(sync: [Duration; 2], capacity: u64, rng: Rng) -> Self {
        let capacity = if capacity == 0 { u64::MAX } else { capacity };
        let (store, unsynced) = (Memory::new(), Vec::new());
        Self { store, unsynced, sync, capacity, rng, slow: false, full: false }
    }

    pub(crate) fn rows(&self) -> &dyn Rows {
        self.store.as_rows()
    }

    /// Bytes of rows.
    pub(crate) fn bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    /// Makes changes visible.
    pub(crate) fn apply(&mut self, batch: WriteBatch) -> Result<(), Full> {
        let added = batch.iter().map(|(_, key, value)| {
            value.map_or(0, |value| key.len().saturating_add(value.len()) as u64)
        });
        let added: u64 = added.sum();
        if added > 0 && (self.full || self.bytes().saturating_add(added) > self.capacity) {
            return Err(Full);
        }
        self.store.apply(&batch).map_err(|_| Full)?;
        if !batch.is_empty() {
            self.unsynced.push(batch);
        }
        Ok(())
    }

    /// What the sync that begins now will take.
    pub(crate) fn sync_time(&mut self) -> Duration {
        let [least, most] = self.sync;
        let time = self.rng.between(least, most);
        if self.slow { time.saturating_mul(SLOWER) } else { time }
    }

    /// Makes durable what was applied.
    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
        // Memory doesn't fail.
        let _ = self.store.sync();
    }

    /// The power fails. Of what was applied since the last sync the disk has any beginning: nothing
    /// says that it wrote none of it.
    pub(crate) fn lose_power(&mut self) {
        let kept = self.rng.index(self.unsynced.len().saturating_add(1));
        self.store = std::mem::take(&mut self.store).crash();
        for batch in self.unsynced.drain(..).take(kept) {
            let _ = self.store.apply(&batch);
        }
        self.sync();
    }
}

/// How many times as long a slow disk takes.
const SLOWER: u32 = 100;

#[cfg(test)]
mod tests {
    use proto::Table;

    use super::*;

    fn disk(capacity: u64, number: u64) -> Disk {
        let millisecond = Duration::from_millis(1);
        Disk::new([millisecond, Duration::from_millis(3)], capacity, Rng::new(1, "disk", number))
    }

    fn put(key: u8) -> WriteBatch {
        let mut batch = WriteBatch::default();
        batch.put(Table(1), [key], [key]);
        batch
    }

    fn keys(disk: &Disk) -> Vec<u8> {
        (0..9).filter(|key| disk.rows().get(Table(1), &[*key]).is_some()).collect()
    }

    #[test]
    fn a_power_failure_leaves_what_was_synced_and_a_beginning_of_the_rest() {
        let mut left = std::collections::BTreeSet::new();
        for number in 0..64 {
            let mut disk = disk(0, number);
            disk.apply(put(0)).unwrap();
            disk.sync();
            disk.apply(put(1)).unwrap();
            disk.apply(put(2)).unwrap();
            disk.lose_power();
            left.insert(keys(&disk));
        }
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [vec![0], vec![0, 1], vec![0, 1, 2]]);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let mut disk = disk(3, 0);
        assert_eq!(disk.apply(put(1)), Ok(()));
        assert_eq!(disk.apply(put(2)), Err(Full));
        disk.full = true;
        assert_eq!(disk.apply(WriteBatch::default()), Ok(()));
        assert_eq!(keys(&disk), [1]);
    }

    #[test]
    fn a_slow_disk_takes_longer() {
        let mut disk = disk(0, 0);
        assert!(disk.sync_time() <= Duration::from_millis(3));
        disk.slow = true;
        assert!(disk.sync_time() >= Duration::from_millis(100));
    }
}
