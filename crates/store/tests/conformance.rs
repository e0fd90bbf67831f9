//! What every store must do, run over all three.
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

use std::{collections::BTreeMap, ops::ControlFlow};

use proptest::prelude::*;
use proto::{Direction, Rows, Table, WriteBatch};
use store::{KEY_MAX, Store, StoreError};
use subject::{Disk, Ephemeral, FjallDisk, SqliteDisk, Subject, scan};

const T: Table = Table(3);

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { super::$name::<Ephemeral>(); })*
            #[test] fn matches_the_model() { super::matches_the_model::<Ephemeral>(256); }
        }
        mod fjall {
            use super::*;
            $(#[test] fn $name() { super::$name::<Disk<FjallDisk>>(); })*
            #[test] fn matches_the_model() { super::matches_the_model::<Disk<FjallDisk>>(16); }
        }
        mod sqlite {
            use super::*;
            $(#[test] fn $name() { super::$name::<Disk<SqliteDisk>>(); })*
            #[test] fn matches_the_model() { super::matches_the_model::<Disk<SqliteDisk>>(48); }
        }
    };
}

conformance!(
    gets_what_was_put,
    a_batch_may_replace_and_remove,
    tables_are_apart,
    scans_both_ways_within_bounds,
    scans_up_to_the_last_keys,
    a_scan_stops_when_told,
    a_visitor_may_read,
    holds_large_values,
    holds_empty_keys_and_values,
    refuses_a_key_that_is_too_long,
    one_sync_makes_all_batches_durable,
    a_crash_keeps_exactly_what_was_synced,
    grows_on_disk,
    can_be_sent_to_another_thread,
);

fn gets_what_was_put<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    assert_eq!(store.get(T, b"a"), None);
    store.apply(&puts(&[(b"a", b"1"), (b"b", b"2")])).unwrap();
    assert_eq!(store.get(T, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(store.as_rows().get(T, b"b").as_deref(), Some(&b"2"[..]));
    assert_eq!(store.get(T, b""), None);
    assert_eq!(store.get(T, b"ab"), None);
    assert_eq!(store.get(T, &vec![7; KEY_MAX + 1]), None);
    store.apply(&WriteBatch::default()).unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    assert_eq!(store.fault(), None);
}

fn a_batch_may_replace_and_remove<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    store.apply(&puts(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])).unwrap();
    let mut batch = puts(&[(b"b", b"22"), (b"d", b"4")]);
    batch.delete(T, *b"a");
    batch.delete(T, *b"never there");
    batch.put(T, *b"e", *b"5");
    batch.delete(T, *b"e");
    batch.delete(T, *b"c");
    batch.put(T, *b"c", *b"33");
    store.apply(&batch).unwrap();
    let expected = [("b", "22"), ("c", "33"), ("d", "4")];
    assert_eq!(texts(store.as_rows(), T, b"", b"z", Direction::Forward), pairs(&expected));
}

fn tables_are_apart<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    let mut batch = WriteBatch::default();
    for table in [0, 1, 254, 255] {
        batch.put(Table(table), *b"k", [table]);
    }
    store.apply(&batch).unwrap();
    let mut batch = WriteBatch::default();
    batch.delete(Table(1), *b"k");
    store.apply(&batch).unwrap();
    for (table, expected) in [(0, Some(vec![0])), (1, None), (2, None), (255, Some(vec![255]))] {
        assert_eq!(store.get(Table(table), b"k"), expected, "table {table}");
        let found = scan(store.as_rows(), Table(table), b"", b"z", Direction::Forward, usize::MAX);
        assert_eq!(found.len(), usize::from(expected.is_some()), "table {table}");
    }
}

fn scans_both_ways_within_bounds<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    let rows: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b"2"), (b"ba", b"3"), (b"c", b"4")];
    store.apply(&puts(&rows)).unwrap();
    let rows = store.as_rows();
    let all = pairs(&[("a", "1"), ("b", "2"), ("ba", "3"), ("c", "4")]);
    let backward = |from, to| {
        let mut rows = texts(rows, T, from, to, Direction::Backward);
        rows.reverse();
        rows
    };
    for (from, to, expected) in [
        (&b""[..], &b"z"[..], &all[..]),
        (b"a", b"c", &all[..3]),
        (b"b", b"ba", &all[1..2]),
        (b"b", b"bb", &all[1..3]),
        (b"aa", b"b", &[]),
        (b"b", b"b", &[]),
        (b"c", b"a", &[]),
        (b"", b"", &[]),
        (b"d", b"z", &[]),
    ] {
        assert_eq!(texts(rows, T, from, to, Direction::Forward), expected, "{from:?}..{to:?}");
        assert_eq!(backward(from, to), expected, "{from:?}..{to:?}");
    }
}

fn scans_up_to_the_last_keys<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    let keys: [&[u8]; 6] = [b"", &[0], &[0xfe, 0xff], &[0xff], &[0xff, 0], &[0xff, 0xff]];
    let mut batch = WriteBatch::default();
    for key in keys {
        batch.put(T, key, key);
    }
    store.apply(&batch).unwrap();
    let scan = |from: &[u8], to: &[u8], direction| -> Vec<Vec<u8>> {
        let rows = scan(store.as_rows(), T, from, to, direction, usize::MAX);
        rows.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(scan(&[], &[0xff, 0xff, 0xff], Direction::Forward), keys);
    assert_eq!(scan(&[], &[0xff, 0xff], Direction::Forward), keys[..5]);
    assert_eq!(scan(&[0xff], &[0xff, 0xff, 0], Direction::Forward), keys[3..]);
    assert_eq!(scan(&[], &[0], Direction::Forward), keys[..1]);
    assert_eq!(scan(&[0xff], &[0xff, 0], Direction::Backward), keys[3..4]);
    assert_eq!(scan(&[0xff, 0xff], &[0xff; 9], Direction::Backward), keys[5..]);
}

fn a_scan_stops_when_told<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    let mut batch = WriteBatch::default();
    for key in 0..=99u8 {
        batch.put(T, [key], [key]);
    }
    store.apply(&batch).unwrap();
    for stop in [1, 2, 50, 100] {
        let forward = scan(store.as_rows(), T, &[0], &[100], Direction::Forward, stop);
        let backward = scan(store.as_rows(), T, &[0], &[100], Direction::Backward, stop);
        assert_eq!((forward.len(), backward.len()), (stop, stop));
        assert_eq!((forward[0].0[0], backward[0].0[0]), (0, 99));
    }
    store.apply(&puts(&[(b"after", b"a broken scan")])).unwrap();
    store.sync().unwrap();
}

fn a_visitor_may_read<S: Subject>() {
    let mut subject = S::new();
    let store = subject.store();
    store.apply(&puts(&[(b"a", b"1"), (b"b", b"2")])).unwrap();
    let mut seen = 0;
    store.scan(T, b"a", b"z", Direction::Forward, &mut |key, value| {
        assert_eq!(store.get(T, key).as_deref(), Some(value));
        let inner = scan(store.as_rows(), T, b"a", b"z", Direction::Forward, usize::MAX);
        seen += inner.len();
        ControlFlow::Continue(())
    });
    assert_eq!(seen, 4);
}

fn holds_large_values<S: Subject>() {
    let mut subject = S::new();
    let sizes = [4095usize, 4096, 65_536, 65_537, 1_000_000, 5_000_000];
    let value = |size: usize| -> Vec<u8> { (0..size).map(|i| (i * 7 + size) as u8).collect() };
    let mut batch = WriteBatch::default();
    for size in sizes {
        batch.put(T, size.to_be_bytes(), value(size));
    }
    batch.put(T, vec![0xab; KEY_MAX], *b"a long key");
    subject.store().apply(&batch).unwrap();
    subject.store().sync().unwrap();
    subject.crash();
    for size in sizes {
        assert!(subject.store().get(T, &size.to_be_bytes()) == Some(value(size)), "{size}");
    }
    assert_eq!(subject.store().get(T, &[0xab; KEY_MAX]).as_deref(), Some(&b"a long key"[..]));
}

fn holds_empty_keys_and_values<S: Subject>() {
    let mut subject = S::new();
    subject.store().apply(&puts(&[(b"", b""), (b"\0", b"")])).unwrap();
    subject.store().sync().unwrap();
    subject.crash();
    assert_eq!(subject.store().get(T, b""), Some(Vec::new()));
    assert_eq!(subject.store().get(T, b"\0"), Some(Vec::new()));
    let mut batch = WriteBatch::default();
    batch.delete(T, *b"");
    subject.store().apply(&batch).unwrap();
    assert_eq!(subject.store().get(T, b""), None);
}

fn refuses_a_key_that_is_too_long<S: Subject>() {
    let mut subject = S::new();
    let mut batch = puts(&[(b"a", b"1")]);
    batch.put(T, vec![0; KEY_MAX + 1], *b"");
    let refusal = subject.store().apply(&batch);
    assert!(matches!(refusal, Err(StoreError::Oversized(_))), "{refusal:?}");
    assert_eq!(subject.store().get(T, b"a"), None, "all or nothing");
    assert_eq!(subject.store().fault(), None);
    subject.store().apply(&puts(&[(b"a", b"1")])).unwrap();
    subject.store().sync().unwrap();
}

fn one_sync_makes_all_batches_durable<S: Subject>() {
    let mut subject = S::new();
    for i in 0..100u8 {
        let mut batch = WriteBatch::default();
        batch.put(Table(i % 3), [i], vec![i; 500]);
        subject.store().apply(&batch).unwrap();
    }
    subject.store().sync().unwrap();
    subject.crash();
    for i in 0..100u8 {
        assert_eq!(subject.store().get(Table(i % 3), &[i]), Some(vec![i; 500]));
    }
}

/// What was written and not synced may reach a disk by itself, but only whole and in order.
fn a_crash_keeps_exactly_what_was_synced<S: Subject>() {
    let mut subject = S::new();
    subject.store().apply(&puts(&[(b"a", b"1"), (b"b", b"2")])).unwrap();
    subject.store().sync().unwrap();
    let mut batch = puts(&[(b"a", b"unsynced"), (b"c", b"unsynced")]);
    batch.delete(T, *b"b");
    subject.store().apply(&batch).unwrap();
    subject.crash();
    let rows = texts(subject.store().as_rows(), T, b"", b"z", Direction::Forward);
    assert_eq!(rows, pairs(&[("a", "1"), ("b", "2")]));
}

fn grows_on_disk<S: Subject>() {
    let mut subject = S::new();
    let before = subject.store().disk_bytes();
    let mut batch = WriteBatch::default();
    for i in 0..=255u8 {
        batch.put(T, [i], vec![i; 4000]);
    }
    subject.store().apply(&batch).unwrap();
    subject.store().sync().unwrap();
    let grown = subject.store().disk_bytes() - before;
    assert!((1_000_000..4_000_000).contains(&grown), "{before} + {grown}");
}

fn can_be_sent_to_another_thread<S: Subject>() {
    fn send<T: Send>() {}
    send::<S::Store>();
}

fn matches_the_model<S: Subject>(cases: u32) {
    let steps = proptest::collection::vec(step(), 1..40);
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in steps)| {
        let mut run = Run::<S>::new();
        for step in steps {
            run.step(step)?;
        }
    });
}

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A row set to so many times a byte, or removed.
type Change = (Table, Vec<u8>, Option<(u8, usize)>);

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Change>),
    Sync,
    Crash,
    Reopen,
    Scan(Table, Vec<u8>, Vec<u8>, usize),
}

struct Run<S> {
    subject: S,
    /// The state at the last sync, and after each batch since.
    states: Vec<Model>,
}

impl<S: Subject> Run<S> {
    fn new() -> Self {
        Self { subject: S::new(), states: vec![Model::default()] }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let mut now = self.states.last().cloned().unwrap();
        match step {
            Step::Apply(changes) => {
                let mut batch = WriteBatch::default();
                for (table, key, value) in changes {
                    if let Some((byte, size)) = value {
                        batch.put(table, key.clone(), vec![byte; size]);
                        now.insert((table, key), vec![byte; size]);
                    } else {
                        batch.delete(table, key.clone());
                        now.remove(&(table, key));
                    }
                }
                self.subject.store().apply(&batch).unwrap();
                self.states.push(now.clone());
            }
            Step::Sync => {
                self.subject.store().sync().unwrap();
                self.states = vec![now.clone()];
            }
            Step::Crash => {
                self.subject.crash();
                now = self.adopt()?;
            }
            Step::Reopen => {
                self.subject.reopen();
                now = self.adopt()?;
            }
            Step::Scan(table, from, to, stop) => {
                let low = (table, from.clone());
                let high = (table, to.clone());
                let range = || (low < high).then(|| now.range(low.clone()..high.clone()));
                let pair =
                    |((_, key), value): (&(Table, Vec<u8>), &Vec<u8>)| (key.clone(), value.clone());
                let forward: Vec<_> = range().into_iter().flatten().map(pair).take(stop).collect();
                let backward = range().into_iter().flatten().rev().map(pair).take(stop);
                let backward: Vec<_> = backward.collect();
                let rows = self.subject.store().as_rows();
                prop_assert_eq!(scan(rows, table, &from, &to, Direction::Forward, stop), forward);
                prop_assert_eq!(scan(rows, table, &from, &to, Direction::Backward, stop), backward);
            }
        }
        prop_assert!(self.contents() == now, "the rows differ from the model");
        prop_assert_eq!(self.subject.store().fault(), None);
        Ok(())
    }

    /// After a restart the store holds one of the states since the last sync.
    fn adopt(&mut self) -> Result<Model, TestCaseError> {
        let now = self.contents();
        let states = if S::EXACT { &self.states[..1] } else { &self.states[..] };
        prop_assert!(states.contains(&now), "no state since the last sync");
        self.states = vec![now.clone()];
        Ok(now)
    }

    fn contents(&mut self) -> Model {
        let rows = self.subject.store().as_rows();
        let mut all = Model::new();
        for table in TABLES {
            for (key, value) in scan(rows, table, b"", &[0xff; 8], Direction::Forward, usize::MAX) {
                assert!(rows.get(table, &key).as_ref() == Some(&value));
                all.insert((table, key), value);
            }
        }
        all
    }
}

const TABLES: [Table; 3] = [Table(0), Table(3), Table(255)];

fn step() -> impl Strategy<Value = Step> {
    let table = || proptest::sample::select(TABLES.to_vec());
    let byte = || proptest::sample::select(vec![0, 1, 0x7f, 0xfe, 0xff]);
    let key = move || proptest::collection::vec(byte(), 0..4);
    let size = prop_oneof![8 => 0..300usize, 1 => 4000..5000usize, 1 => 65_000..70_000usize];
    let value = proptest::option::weighted(0.7, (any::<u8>(), size));
    let changes = proptest::collection::vec((table(), key(), value), 0..8);
    prop_oneof![
        8 => changes.prop_map(Step::Apply),
        3 => Just(Step::Sync),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
        4 => (table(), key(), key(), 1..6usize)
            .prop_map(|(table, from, to, stop)| Step::Scan(table, from, to, stop)),
    ]
}

fn puts(rows: &[(&[u8], &[u8])]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (key, value) in rows {
        batch.put(T, *key, *value);
    }
    batch
}

fn texts(
    rows: &dyn Rows,
    table: Table,
    from: &[u8],
    to: &[u8],
    direction: Direction,
) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let rows = scan(rows, table, from, to, direction, usize::MAX);
    rows.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
