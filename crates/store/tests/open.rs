//! Opening: new and old layouts, other things in the place, wrong keys, damage, secrecy.
#![cfg(unix)]
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

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use proto::{Direction, Rows, Table, WriteBatch};
use store::{Fjall, Layout, Migration, OpenError, Sqlite, Store};
use subject::{Engine, FjallDisk, KEY, LAYOUT, SqliteDisk, copy_files};
use tempfile::TempDir;

macro_rules! for_both {
    ($($name:ident),* $(,)?) => {
        mod fjall {
            $(#[test] fn $name() { super::$name::<super::FjallDisk>(); })*
        }
        mod sqlite {
            $(#[test] fn $name() { super::$name::<super::SqliteDisk>(); })*
        }
    };
}

for_both!(
    refuses_a_newer_layout_untouched,
    migrates_an_older_layout_step_by_step,
    refuses_a_layout_too_old,
    refuses_another_layout,
    damage_is_told_and_never_a_panic,
    only_the_owner_can_read,
    an_error_is_final,
);

fn refuses_a_newer_layout_untouched<E: Engine>() {
    let directory = filled::<E>(&Layout { version: 7, ..LAYOUT });
    let refusal = E::open(directory.path(), &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Newer { found: 7, known: 1, .. }), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains("layout 7, this one knows 1"), "{text}");
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    let store = E::open(directory.path(), &Layout { version: 7, ..LAYOUT }).unwrap();
    assert_eq!(contents(&store), expected());
}

fn migrates_an_older_layout_step_by_step<E: Engine>() {
    fn step(rows: &dyn Rows, number: u8) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let mut steps = rows.get(Table(9), b"steps").unwrap_or_default();
        steps.push(number);
        batch.put(Table(9), *b"steps", steps);
        batch.delete(Table(1), [number]);
        batch
    }
    const STEPS: &[Migration] = &[
        Migration { from: 2, run: |rows| step(rows, 2) },
        Migration { from: 1, run: |rows| step(rows, 1) },
        Migration { from: 0, run: |_| unreachable!("not asked for") },
    ];
    let directory = filled::<E>(&LAYOUT);
    let layout = Layout { version: 3, migrations: STEPS, ..LAYOUT };
    for _ in 0..2 {
        let store = E::open(directory.path(), &layout).unwrap();
        assert_eq!(store.get(Table(9), b"steps"), Some(vec![1, 2]));
        assert_eq!(store.get(Table(1), &[1]), None);
        assert_eq!(store.get(Table(1), &[3]), Some(vec![3; 3000]));
    }
    let refusal = E::open(directory.path(), &Layout { version: 2, ..layout }).err().unwrap();
    assert!(matches!(refusal, OpenError::Newer { found: 3, known: 2, .. }), "{refusal}");
}

fn refuses_a_layout_too_old<E: Engine>() {
    const STEPS: &[Migration] = &[
        Migration { from: 1, run: |_| unreachable!("the way must be whole before a step is made") },
        Migration { from: 3, run: |_| unreachable!() },
    ];
    let directory = filled::<E>(&LAYOUT);
    let layout = Layout { version: 4, migrations: STEPS, ..LAYOUT };
    let refusal = E::open(directory.path(), &layout).err().unwrap();
    assert!(matches!(refusal, OpenError::Older { found: 1, known: 4, .. }), "{refusal}");
    assert_eq!(contents(&E::open(directory.path(), &LAYOUT).unwrap()), expected());
}

fn refuses_another_layout<E: Engine>() {
    let directory = filled::<E>(&LAYOUT);
    let refusal = E::open(directory.path(), &Layout { name: "other", ..LAYOUT }).err().unwrap();
    assert!(matches!(refusal, OpenError::Foreign { wanted: "other", .. }), "{refusal}");
    assert!(refusal.to_string().contains("holds the store of a test"), "{refusal}");
}

#[test]
fn fjall_refuses_a_directory_of_other_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("holiday.jpg"), b"...").unwrap();
    let refusal = Fjall::open(directory.path(), &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal}");
    assert!(refusal.to_string().contains("holiday.jpg"), "{refusal}");
}

#[test]
fn fjall_refuses_a_place_that_is_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), b"...").unwrap();
    let refusal = Fjall::open(&directory.path().join("file"), &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Io { .. }), "{refusal}");
}

#[test]
fn sqlite_refuses_other_databases() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let plain = rusqlite::Connection::open(&path).unwrap();
    plain.execute_batch("CREATE TABLE other (a)").unwrap();
    drop(plain);
    let refusal = Sqlite::open(&path, &KEY, &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal}");

    let path = directory.path().join("encrypted");
    let encrypted = rusqlite::Connection::open(&path).unwrap();
    encrypted.execute_batch(&format!("PRAGMA key = \"x'{}'\"", hex(&KEY))).unwrap();
    encrypted.execute_batch("CREATE TABLE other (a)").unwrap();
    drop(encrypted);
    let refusal = Sqlite::open(&path, &KEY, &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal}");
    let refusal = Sqlite::open(directory.path(), &KEY, &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::Io { .. }), "{refusal}");
}

#[test]
fn sqlite_refuses_a_wrong_key_and_shows_none() {
    let directory = filled::<SqliteDisk>(&LAYOUT);
    let path = directory.path().join("store").join("db");
    let wrong = [0xa7; 32];
    let refusal = Sqlite::open(&path, &wrong, &LAYOUT).err().unwrap();
    assert!(matches!(refusal, OpenError::WrongKey { .. }), "{refusal}");
    let text = format!("{refusal} {refusal:?}").to_lowercase();
    assert!(!text.contains(&hex(&wrong)[..8]) && !text.contains("pragma"), "{text}");

    let store = Sqlite::open(&path, &KEY, &LAYOUT).unwrap();
    assert_eq!(contents(&store), expected());
    let text = format!("{store:?}").to_lowercase();
    assert!(!text.contains(&hex(&KEY)[..8]), "{text}");
}

#[test]
fn sqlite_shows_nothing_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteDisk::open(directory.path(), &LAYOUT).unwrap();
    for i in 0..2_000u32 {
        let mut batch = WriteBatch::default();
        batch.put(Table(1), format!("the key {i}"), "attack at dawn ".repeat(20));
        store.apply(&batch).unwrap();
    }
    store.sync().unwrap();
    let search = || {
        for file in files(directory.path()) {
            let bytes = fs::read(&file).unwrap();
            for secret in [&b"attack at dawn"[..], b"the key 1", b"SQLite format", &KEY[..8]] {
                let found = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!found, "{} in {}", String::from_utf8_lossy(secret), file.display());
            }
        }
    };
    search();
    drop(store);
    search();
}

/// Cuts, empties and overwrites each file. The store may refuse to open, fail while reading, or,
/// where a journal's end looks torn, hold less; it never panics and never shows a false row.
fn damage_is_told_and_never_a_panic<E: Engine>() {
    let original = filled::<E>(&LAYOUT);
    let expected = expected();
    let mut told = 0;
    for file in files(original.path()) {
        let file = file.strip_prefix(original.path()).unwrap().to_owned();
        if file.to_str().unwrap().ends_with("lock") {
            continue;
        }
        for (kind, damage) in DAMAGES.iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            copy_files(original.path(), directory.path());
            damage(&directory.path().join(&file));
            let store = match E::open(directory.path(), &LAYOUT) {
                Ok(store) => store,
                Err(error) => {
                    assert!(error.to_string().contains("store"), "{error}");
                    told += 1;
                    continue;
                }
            };
            let found = contents(&store);
            if store.fault().is_some() {
                told += 1;
            } else {
                let shown = found.iter().find(|row| !expected.contains(row));
                let key = shown.map(|(key, _)| key);
                assert!(
                    key.is_none(),
                    "{key:?} is false after damage {kind} to {}",
                    file.display()
                );
            }
        }
    }
    assert!(told >= DAMAGES.len(), "only {told} kinds of damage were told");
}

fn only_the_owner_can_read<E: Engine>() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = E::open(directory.path(), &LAYOUT).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(Table(1), *b"a", *b"secret");
    store.apply(&batch).unwrap();
    store.sync().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.path().join("store")), 0o700);
    for file in files(directory.path()) {
        let inside = file.components().any(|part| part.as_os_str() == "rows");
        assert!(inside || mode(&file) == 0o600, "{} {:o}", file.display(), mode(&file));
    }
    if E::NAME == "fjall" {
        assert_eq!(mode(&directory.path().join("store/rows")), 0o700);
    }
}

/// After the first error nothing works, even if the disk would.
fn an_error_is_final<E: Engine>() {
    let directory = filled::<E>(&LAYOUT);
    for file in files(directory.path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name != "lock" && name != "db-lock" && !name.ends_with("jnl") && name != "version" {
            corrupt_tail(&file);
        }
    }
    let Ok(mut store) = E::open(directory.path(), &LAYOUT) else { return };
    contents(&store);
    let fault = store.fault().expect("a fault");
    let mut batch = WriteBatch::default();
    batch.put(Table(1), *b"a", *b"b");
    assert_eq!(store.apply(&batch), Err(fault.clone()));
    assert_eq!(store.sync(), Err(fault.clone()));
    assert_eq!(store.fault(), Some(fault));
}

type Contents = Vec<(Vec<u8>, Vec<u8>)>;

const DAMAGES: [fn(&Path); 6] = [
    |path| fs::write(path, b"").unwrap(),
    |path| fs::write(path, b"garbage").unwrap(),
    |path| fs::write(path, vec![0xa5; fs::metadata(path).unwrap().len() as usize]).unwrap(),
    |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    },
    |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - bytes.len().min(1)]).unwrap();
    },
    corrupt_tail,
];

/// Flips bits all over the last three quarters.
fn corrupt_tail(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let start = bytes.len() / 4;
    for byte in bytes[start..].iter_mut().step_by(61) {
        *byte ^= 0x55;
    }
    fs::write(path, bytes).unwrap();
}

/// A closed store with rows, enough to fill more than a journal.
fn filled<E: Engine>(layout: &Layout) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut store = E::open(directory.path(), layout).unwrap();
    let mut batch = WriteBatch::default();
    for (key, value) in expected() {
        batch.put(Table(1), key, value);
    }
    store.apply(&batch).unwrap();
    store.sync().unwrap();
    directory
}

fn expected() -> Contents {
    (0..200u8).map(|i| (vec![i], vec![i; 3000])).collect()
}

fn contents(rows: &impl Rows) -> Contents {
    let mut found = Contents::new();
    rows.scan(Table(1), &[], &[0xff; 2], Direction::Forward, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
