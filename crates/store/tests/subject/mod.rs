//! The stores under test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "these are tests"
)]

use std::{fs, ops::ControlFlow, path::Path};

use proto::{Direction, Rows, Table};
use store::{Fjall, Layout, Memory, OpenError, Sqlite, Store};
use tempfile::TempDir;

pub const LAYOUT: Layout = Layout { name: "test", version: 1, migrations: &[] };
pub const KEY: [u8; 32] = [0x5a; 32];

/// A store that can be closed and opened, or lose its power.
pub trait Subject {
    type Store: Store;
    /// Whether a restart leaves what was synced and nothing more.
    const EXACT: bool;
    fn new() -> Self;
    fn store(&mut self) -> &mut Self::Store;
    fn crash(&mut self);
    fn reopen(&mut self);
}

pub struct Ephemeral(Memory);

impl Subject for Ephemeral {
    type Store = Memory;
    const EXACT: bool = true;

    fn new() -> Self {
        Self(Memory::new())
    }

    fn store(&mut self) -> &mut Memory {
        &mut self.0
    }

    fn crash(&mut self) {
        self.0 = std::mem::take(&mut self.0).crash();
    }

    fn reopen(&mut self) {
        self.crash();
    }
}

/// How to open a store in a directory.
pub trait Engine {
    type Store: Store;
    const NAME: &str;
    fn open(directory: &Path, layout: &Layout) -> Result<Self::Store, OpenError>;
}

pub struct FjallDisk;

impl Engine for FjallDisk {
    type Store = Fjall;
    const NAME: &str = "fjall";

    fn open(directory: &Path, layout: &Layout) -> Result<Fjall, OpenError> {
        Fjall::open(&directory.join("store"), layout)
    }
}

pub struct SqliteDisk;

impl Engine for SqliteDisk {
    type Store = Sqlite;
    const NAME: &str = "sqlite";

    fn open(directory: &Path, layout: &Layout) -> Result<Sqlite, OpenError> {
        Sqlite::open(&directory.join("store").join("db"), &KEY, layout)
    }
}

pub struct Disk<E: Engine> {
    store: Option<E::Store>,
    directory: TempDir,
}

impl<E: Engine> Subject for Disk<E> {
    type Store = E::Store;
    const EXACT: bool = false;

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { store: Some(E::open(directory.path(), &LAYOUT).unwrap()), directory }
    }

    fn store(&mut self) -> &mut E::Store {
        self.store.as_mut().unwrap()
    }

    /// Switches to a copy of the files as they are while the store is open.
    fn crash(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        copy_files(self.directory.path(), copy.path());
        self.store = Some(E::open(copy.path(), &LAYOUT).unwrap());
        self.directory = copy;
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(E::open(self.directory.path(), &LAYOUT).unwrap());
    }
}

pub fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_files(&entry.path(), &to);
        } else {
            copy_file(&entry.path(), &to);
        }
    }
}

/// Leaves the zeros at the end as a hole: fjall's journals are 64 MiB of them.
fn copy_file(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let zeros = vec![0; 64 * 1024];
    let end = bytes.rchunks(zeros.len()).take_while(|chunk| **chunk == zeros[..chunk.len()]);
    let end = bytes.len() - end.map(<[u8]>::len).sum::<usize>();
    fs::write(to, &bytes[..end]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(to).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

/// Returns what a visitor sees that breaks off after so many rows.
pub fn scan(
    rows: &dyn Rows,
    table: Table,
    from: &[u8],
    to: &[u8],
    direction: Direction,
    stop: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    rows.scan(table, from, to, direction, &mut |key, value| {
        assert!(found.len() < stop, "visited after a break");
        found.push((key.to_vec(), value.to_vec()));
        if found.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}
