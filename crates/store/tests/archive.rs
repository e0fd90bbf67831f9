//! Snapshots and archives: what was there at one moment, elsewhere and later.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "these are tests"
)]

use std::ops::ControlFlow;

use proptest::prelude::*;
use proto::{Direction, Rows, Table, WriteBatch};
use store::{
    ArchiveError, Archived, Fjall, Layout, Memory, Store, check_archive, load_archive,
    write_archive,
};

const LAYOUT: Layout = Layout { name: "test", version: 3, migrations: &[] };

type Contents = Vec<(u8, Vec<u8>, Vec<u8>)>;

fn contents(rows: &dyn Rows) -> Contents {
    let mut contents = Vec::new();
    for table in 0..=u8::MAX {
        rows.scan(Table(table), &[], &[0xFF; 80], Direction::Forward, &mut |key, value| {
            contents.push((table, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
    }
    contents
}

fn batch(rows: &Contents) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (table, key, value) in rows {
        batch.put(Table(*table), key.as_slice(), value.as_slice());
    }
    batch
}

fn archive(rows: &dyn Rows) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = write_archive(rows, &LAYOUT, b"and this", &mut bytes).unwrap();
    assert_eq!(written, Archived { rows: contents(rows).len() as u64, bytes: bytes.len() as u64 });
    bytes
}

#[test]
fn a_snapshot_shows_what_was_there_whatever_follows() {
    let place = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] =
        [Box::new(Memory::new()), Box::new(Fjall::open(place.path(), &LAYOUT).unwrap())];
    for mut store in stores {
        let first: Contents = vec![(0, vec![], vec![1]), (7, b"key".to_vec(), vec![2; 9000])];
        store.apply(&batch(&first)).unwrap();
        let snapshot = store.snapshot().unwrap();
        let mut change = batch(&vec![(7, b"key".to_vec(), vec![3]), (9, vec![1], vec![4])]);
        change.delete(Table(0), *b"");
        store.apply(&change).unwrap();
        store.sync().unwrap();
        let elsewhere = std::thread::spawn(move || {
            assert_eq!(snapshot.get(Table(7), b"key"), Some(vec![2; 9000]));
            assert_eq!((snapshot.get(Table(9), &[1]), snapshot.fault()), (None, None));
            contents(&*snapshot)
        });
        assert_eq!(elsewhere.join().unwrap(), first);
        assert_eq!(store.get(Table(0), b""), None);
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let mut store = Memory::new();
    store
        .apply(&batch(&vec![(1, b"a".to_vec(), vec![5; 50]), (2, b"b".to_vec(), vec![])]))
        .unwrap();
    let whole = archive(&store);
    let refused =
        |bytes: &[u8]| matches!(check_archive(&mut &*bytes), Err(ArchiveError::Damaged(_)));
    for place in 0..whole.len() {
        assert!(refused(&whole[..place]), "cut at {place}");
        let mut changed = whole.clone();
        changed[place] ^= 0x80;
        assert!(refused(&changed), "changed at {place}");
    }
    assert!(refused(&[&whole[..], b"x"].concat()));
    assert!(!refused(&whole));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_taken_from_an_archive_is_what_was_put_in(
        rows in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..200)),
            0..60,
        ),
    ) {
        let (mut from, mut to) = (Memory::new(), Memory::new());
        from.apply(&batch(&rows)).unwrap();
        let bytes = archive(&from);
        let (head, archived) = load_archive(&mut bytes.as_slice(), &mut to).unwrap();
        prop_assert_eq!((head.name.as_str(), head.version), ("test", 3));
        prop_assert_eq!(head.preamble.as_slice(), b"and this");
        prop_assert_eq!(archived.bytes, bytes.len() as u64);
        prop_assert_eq!(contents(&to), contents(&from));
    }
}
