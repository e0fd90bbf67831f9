//! Tests of the record store.

use std::collections::BTreeMap;

use crypto::SigningKey;
use proto::Visit;

use super::*;
use crate::{NodeRecord, UnsignedNodeRecord};

const NOW: Instant = Instant::from_secs(1_800_000_000);

/// Rows in memory.
#[derive(Default)]
struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Rows for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], _: Direction, visit: Visit<'_>) {
        for ((_, key), value) in self.0.range((table, from.to_vec())..(table, to.to_vec())) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}

/// A record store with its rows.
struct Shelf {
    records: RecordStore,
    rows: Memory,
}

impl Shelf {
    fn new(records_max: usize) -> Self {
        let rows = Memory::default();
        Self {
            records: RecordStore::open(Key([0; 32]), records_max, Verifier::new(0), NOW, &rows),
            rows,
        }
    }

    fn store(&mut self, record: &Record, age_s: u32, now: Instant) -> Result<Key, Refusal> {
        let mut batch = WriteBatch::default();
        let stored = self.records.store(record, age_s, Duration::ZERO, now, &self.rows, &mut batch);
        self.apply(&batch);
        stored
    }

    fn timeout(&mut self, now: Instant) -> Option<Due> {
        let mut batch = WriteBatch::default();
        let due = self.records.timeout(Duration::ZERO, now, &self.rows, &mut batch);
        self.apply(&batch);
        due
    }

    fn get(&self, key: &Key, now: Instant) -> Option<Record> {
        self.records.get(key, now, &self.rows)
    }

    fn apply(&mut self, batch: &WriteBatch) {
        for (table, key, value) in batch.iter() {
            match value {
                Some(value) => self.rows.0.insert((table, key.to_vec()), value.to_vec()),
                None => self.rows.0.remove(&(table, key.to_vec())),
            };
        }
    }
}

fn record(number: u8, serial: u64) -> Record {
    let says = UnsignedNodeRecord { serial, ..UnsignedNodeRecord::default() };
    let record = NodeRecord::sign(&SigningKey::from_seed([number; 32]), &says, 0).unwrap();
    Record::Node(record.as_bytes().to_vec())
}

fn after_s(seconds: u64) -> Instant {
    NOW.after(Duration::from_secs(seconds))
}

#[test]
fn the_newer_record_stays_and_the_older_is_refused_with_it() {
    let mut shelf = Shelf::new(10);
    let key = shelf.store(&record(1, 5), 0, NOW).unwrap();
    let refused = shelf.store(&record(1, 4), 0, NOW).unwrap_err();
    assert_eq!((refused.code, refused.newer), (Code::Stale, record(1, 5).encode()));
    assert_eq!(shelf.store(&record(1, 5), 0, NOW), Ok(key));
    assert_eq!(shelf.store(&record(1, 6), 0, NOW), Ok(key));
    assert_eq!(shelf.get(&key, NOW), Some(record(1, 6)));
}

#[test]
fn forged_records_are_not_kept() {
    let mut shelf = Shelf::new(10);
    let Record::Node(bytes) = record(1, 5) else { panic!("a node's record") };
    for byte in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[byte] ^= 1;
        let refused = shelf.store(&Record::Node(forged), 0, NOW).unwrap_err();
        assert_eq!(refused.code, Code::Invalid, "byte {byte}");
    }
    let refused = shelf.store(&Record::Account(b"no bundle".to_vec()), 0, NOW).unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert_eq!(shelf.records.len(), 0);
}

#[test]
fn a_record_expires_after_a_day_and_an_older_copy_does_not_age_it() {
    let mut shelf = Shelf::new(10);
    let day = u64::from(limits::RECORD_LIFE_S);
    let key = shelf.store(&record(1, 5), 0, NOW).unwrap();
    assert!(shelf.store(&record(1, 5), 80_000, NOW).is_ok(), "an older copy of the same");
    assert!(shelf.get(&key, after_s(day - 1)).is_some());
    assert_eq!(shelf.get(&key, after_s(day)), None);
    assert!(shelf.timeout(after_s(day)).is_none());
    assert_eq!(shelf.records.len(), 0);
    assert!(shelf.store(&record(1, 5), limits::RECORD_LIFE_S, NOW).is_err(), "over already");
}

#[test]
fn a_record_that_no_node_stores_again_is_republished() {
    let mut shelf = Shelf::new(10);
    shelf.store(&record(1, 5), 100, NOW).unwrap();
    assert!(shelf.timeout(after_s(3_599)).is_none());
    shelf.store(&record(1, 5), 0, after_s(3_000)).unwrap();
    assert!(shelf.timeout(after_s(3_601)).is_none(), "it was stored again");
    let Some(Due::Republish { record: due, age_s }) = shelf.timeout(after_s(6_700)) else {
        panic!("it is due")
    };
    assert_eq!((due, age_s), (record(1, 5), 3_700));
    assert!(shelf.timeout(after_s(6_701)).is_none(), "once an hour");
}

#[test]
fn the_farthest_go_first_and_what_is_farther_is_refused() {
    let mut shelf = Shelf::new(4);
    let mut keys: Vec<(Key, u8)> = (1..=9)
        .map(|number| (Key(SigningKey::from_seed([number; 32]).public().0), number))
        .collect();
    // The own key is 0, so that the smallest keys are the nearest.
    keys.sort_unstable();
    for (_, number) in &keys[4..8] {
        shelf.store(&record(*number, 1), 0, NOW).unwrap();
    }
    let refused = shelf.store(&record(keys[8].1, 1), 0, NOW).unwrap_err();
    assert_eq!(refused.code, Code::Full);
    for (_, number) in &keys[..4] {
        shelf.store(&record(*number, 1), 0, NOW).unwrap();
    }
    let kept: Vec<bool> = keys.iter().map(|(key, _)| shelf.get(key, NOW).is_some()).collect();
    assert_eq!(kept, [true, true, true, true, false, false, false, false, false]);
}

#[test]
fn records_are_there_after_a_restart() {
    let mut shelf = Shelf::new(10);
    let key = shelf.store(&record(1, 5), 50, NOW).unwrap();
    shelf.records = RecordStore::open(Key([0; 32]), 10, Verifier::new(0), after_s(10), &shelf.rows);
    assert_eq!(shelf.get(&key, after_s(10)), Some(record(1, 5)));
    let all = shelf.records.all(after_s(10), &shelf.rows);
    assert_eq!(all, [(key, record(1, 5), 60)]);
}
