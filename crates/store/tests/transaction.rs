//! A transaction shows what the rows will be: reading over it equals applying its batch first.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "these are tests"
)]

mod subject;

use proptest::{collection::vec, prelude::*, sample::select};
use proto::{Direction, Rows, Table, Transaction, WriteBatch};
use store::{Memory, Store};
use subject::scan;

type Change = (Table, Vec<u8>, Option<Vec<u8>>);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_transaction_shows_what_its_batch_will_do(
        before in vec(change(), 0..24),
        changes in vec(change(), 0..24),
        scanned in (key(), key(), 1..8usize),
    ) {
        let (from, to, stop) = scanned;
        let mut memory = Memory::new();
        memory.apply(&batch(before)).unwrap();
        let mut tx = Transaction::new(&memory);
        for (table, key, value) in changes.clone() {
            match value {
                Some(value) => tx.put(table, key, value),
                None => tx.delete(table, key),
            }
        }
        let mut applied = memory.clone();
        applied.apply(&batch(changes.clone())).unwrap();
        for table in TABLES {
            prop_assert_eq!(tx.get(table, &from), applied.get(table, &from));
            for direction in [Direction::Forward, Direction::Backward] {
                for (from, to) in [(&from[..], &to[..]), (b"", &[0xff; 5])] {
                    prop_assert_eq!(
                        scan(&tx, table, from, to, direction, stop),
                        scan(&applied, table, from, to, direction, stop)
                    );
                }
            }
        }
        prop_assert_eq!(tx.into_batch(), batch(changes));
    }
}

const TABLES: [Table; 3] = [Table(0), Table(1), Table(255)];

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(select(vec![0, 1, 0xfe, 0xff]), 0..3)
}

fn change() -> impl Strategy<Value = Change> {
    (select(TABLES.to_vec()), key(), proptest::option::of(vec(any::<u8>(), 0..3)))
}

fn batch(changes: Vec<Change>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (table, key, value) in changes {
        match value {
            Some(value) => batch.put(table, key, value),
            None => batch.delete(table, key),
        }
    }
    batch
}
