//! Rows in a fjall database, the store of a node.
#![allow(clippy::disallowed_methods, reason = "waits for the disk, and only here")]

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fmt, fs, io,
    ops::ControlFlow,
    panic,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ::fjall::{
    CompressionType, Database, Error, Guard, Iter, Keyspace, KeyspaceCreateOptions, KvPair,
    KvSeparationOptions, LsmError, PersistMode, Readable, config::CompressionPolicy,
};
use proto::{Direction, Rows, Table, Visit, WriteBatch};

use crate::{
    Layout, OpenError, Snapshot, Store, StoreError, check, disk,
    layout::{Versioned, migrate},
};

/// Rows in a fjall database. Writes go to a journal, one disk sync makes many of them durable.
pub struct Fjall {
    /// The first error of all. Whatever came after it can't be trusted.
    broken: OnceCell<StoreError>,
    tables: BTreeMap<Table, Keyspace>,
    layout: Keyspace,
    database: Database,
    rows: PathBuf,
    /// Last, so that it outlives the database.
    _lock: disk::Lock,
}

impl Fjall {
    /// Opens the store in a directory, or makes a new one there.
    pub fn open(directory: &Path, layout: &Layout) -> Result<Self, OpenError> {
        Self::open_with_cache(directory, layout, CACHE_BYTES)
    }

    /// Opens the store with a cache of so many bytes for blocks read from disk.
    pub fn open_with_cache(
        directory: &Path,
        layout: &Layout,
        cache_bytes: u64,
    ) -> Result<Self, OpenError> {
        disk::private_directory(directory).map_err(|error| OpenError::io(directory, error))?;
        let lock = disk::Lock::take(&directory.join(LOCK), directory)?;
        let rows = directory.join(ROWS);
        if !fs::exists(&rows).map_err(|error| OpenError::io(directory, error))? {
            create(directory, layout)?;
        }
        // Fjall would make a new database in place of one that has lost this file.
        if !rows.join("version").is_file() {
            return Err(OpenError::damaged(directory, "the file rows/version is missing"));
        }
        // Fjall asserts much of what it finds on disk, before it has verified it.
        let recovered = panic::catch_unwind(|| recover(&rows, cache_bytes));
        let Ok(recovered) = recovered else {
            return Err(OpenError::damaged(directory, "fjall can't read its files"));
        };
        let recovered =
            recovered.map_err(|error| OpenError::store(directory, store_error(&error)))?;
        let Some(Recovered { database, tables, layout: keyspace, name, version }) = recovered
        else {
            return Err(OpenError::damaged(directory, "its layout is missing"));
        };
        let broken = OnceCell::new();
        let mut store = Self { broken, tables, layout: keyspace, database, rows, _lock: lock };
        migrate(&mut store, directory, (&name, version), layout)?;
        Ok(store)
    }

    /// Remembers the first error and returns it ever after.
    fn fail(&self, error: &Error) -> StoreError {
        let error = self.broken.get_or_init(|| store_error(error));
        tracing::error!(%error, "the store stops");
        error.clone()
    }

    fn works(&self) -> Result<(), StoreError> {
        self.broken.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The keyspace of a table, made if there is none.
    fn table(&mut self, table: Table) -> Result<Keyspace, Error> {
        if let Some(keyspace) = self.tables.get(&table) {
            return Ok(keyspace.clone());
        }
        let keyspace = self.database.keyspace(&format!("t{}", table.0), options)?;
        self.tables.insert(table, keyspace.clone());
        Ok(keyspace)
    }

    fn write(&mut self, batch: &WriteBatch, version: Option<u32>) -> Result<(), Error> {
        let mut changes = self.database.batch();
        let mut last: Option<(Table, Keyspace)> = None;
        for (table, key, value) in batch.iter() {
            let keyspace = match last.take() {
                Some((same, keyspace)) if same == table => keyspace,
                _ => {
                    let keyspace = self.table(table)?;
                    wait_for_room(&self.database, &keyspace)?;
                    keyspace
                }
            };
            match value {
                Some(value) => changes.insert(&keyspace, stored_key(key), value),
                None => changes.remove(&keyspace, stored_key(key)),
            }
            last = Some((table, keyspace));
        }
        if let Some(version) = version {
            changes.insert(&self.layout, VERSION, version.to_be_bytes());
        }
        changes.commit()
    }

    /// Reads on behalf of [`Rows`], which can't say that it failed.
    fn read<T>(&self, read: Result<T, Error>) -> Option<T> {
        read.inspect_err(|error| drop(self.fail(error))).ok()
    }
}

impl Rows for Fjall {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        let keyspace = self.tables.get(&table).filter(|_| key.len() <= crate::KEY_MAX)?;
        self.read(keyspace.get(stored_key(key)))?.map(|value| value.to_vec())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        let Some(keyspace) = self.tables.get(&table).filter(|_| from < to) else { return };
        let rows = keyspace.range(stored_key(from)..stored_key(to));
        visit_all(rows, direction, visit, |row| self.read(row));
    }
}

/// Hands rows out until it is told to stop, or one can't be read.
fn visit_all(
    mut rows: Iter,
    direction: Direction,
    visit: Visit<'_>,
    read: impl Fn(Result<KvPair, Error>) -> Option<KvPair>,
) {
    let mut visit = |row: Guard| match read(row.into_inner()) {
        Some((key, value)) => visit(key.get(1..).unwrap_or_default(), &value),
        None => ControlFlow::Break(()),
    };
    let _: ControlFlow<()> = match direction {
        Direction::Forward => rows.try_for_each(&mut visit),
        Direction::Backward => rows.rev().try_for_each(&mut visit),
    };
}

impl Store for Fjall {
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        self.works()?;
        check(batch)?;
        self.write(batch, None).map_err(|error| self.fail(&error))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.works()?;
        self.database.persist(PersistMode::SyncData).map_err(|error| self.fail(&error))
    }

    fn fault(&self) -> Option<StoreError> {
        self.broken.get().cloned()
    }

    /// Takes a few system calls. Fjall's own figure counts journals at their length, which is
    /// 64 MiB from the first row on.
    fn disk_bytes(&self) -> u64 {
        let journals = disk::names(&self.rows).unwrap_or_default();
        let journals = journals.iter().filter(|path| path.extension().is_some_and(|e| e == "jnl"));
        let tables = self.tables.values().map(Keyspace::disk_space);
        journals.map(|path| disk::file_bytes(path)).chain(tables).sum()
    }

    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Option<Box<dyn Snapshot>> {
        let (tables, rows) = (self.tables.clone(), self.database.snapshot());
        Some(Box::new(Frozen { broken: OnceCell::new(), tables, rows }))
    }
}

/// Rows as they were at one moment.
struct Frozen {
    broken: OnceCell<StoreError>,
    tables: BTreeMap<Table, Keyspace>,
    rows: ::fjall::Snapshot,
}

impl Frozen {
    fn read<T>(&self, read: Result<T, Error>) -> Option<T> {
        read.inspect_err(|error| drop(self.broken.set(store_error(error)))).ok()
    }
}

impl Rows for Frozen {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        let keyspace = self.tables.get(&table).filter(|_| key.len() <= crate::KEY_MAX)?;
        self.read(self.rows.get(keyspace, stored_key(key)))?.map(|value| value.to_vec())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        let Some(keyspace) = self.tables.get(&table).filter(|_| from < to) else { return };
        let rows = self.rows.range(keyspace, stored_key(from)..stored_key(to));
        visit_all(rows, direction, visit, |row| self.read(row));
    }
}

impl Snapshot for Frozen {
    fn fault(&self) -> Option<StoreError> {
        self.broken.get().cloned()
    }
}

impl Versioned for Fjall {
    fn apply_version(&mut self, batch: &WriteBatch, version: u32) -> Result<(), StoreError> {
        self.works()?;
        check(batch)?;
        self.write(batch, Some(version)).map_err(|error| self.fail(&error))?;
        self.sync()
    }
}

impl fmt::Debug for Fjall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fjall({})", self.rows.display())
    }
}

/// Makes a new store beside its place and moves it there, so that `rows` is whole whenever it
/// exists.
fn create(directory: &Path, layout: &Layout) -> Result<(), OpenError> {
    let making = directory.join(MAKING);
    let disk = |error| OpenError::io(directory, error);
    for path in disk::names(directory).map_err(disk)? {
        if path != directory.join(LOCK) && path != making {
            let name = path.file_name().unwrap_or_default().display();
            let found = format!("other files (such as {name})");
            return Err(OpenError::Foreign { path: directory.into(), found, wanted: layout.name });
        }
    }
    if fs::exists(&making).map_err(disk)? {
        fs::remove_dir_all(&making).map_err(disk)?;
    }
    disk::private_directory(&making).map_err(disk)?;
    let write = || -> Result<(), Error> {
        let database = open_database(&making, CACHE_BYTES)?;
        let keyspace = database.keyspace(LAYOUT, options)?;
        let mut batch = database.batch();
        batch.insert(&keyspace, NAME, layout.name);
        batch.insert(&keyspace, VERSION, layout.version.to_be_bytes());
        batch.commit()?;
        database.persist(PersistMode::SyncAll)
    };
    write().map_err(|error| OpenError::store(directory, store_error(&error)))?;
    fs::rename(&making, directory.join(ROWS)).map_err(disk)?;
    disk::sync_directory(directory).map_err(disk)
}

fn open_database(rows: &Path, cache_bytes: u64) -> Result<Database, Error> {
    Database::builder(rows)
        .cache_size(cache_bytes)
        .max_journaling_size(JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        .open()
}

fn options() -> KeyspaceCreateOptions {
    let large = KvSeparationOptions::default()
        .separation_threshold(SEPARATE_BYTES)
        .compression(CompressionType::None);
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_compression_policy(CompressionPolicy::disabled())
        .with_kv_separation(Some(large))
}

struct Recovered {
    database: Database,
    tables: BTreeMap<Table, Keyspace>,
    layout: Keyspace,
    name: String,
    version: u32,
}

/// Opens the database and every table there is, so that reading never has to; nothing if there is
/// no layout.
fn recover(rows: &Path, cache_bytes: u64) -> Result<Option<Recovered>, Error> {
    let database = open_database(rows, cache_bytes)?;
    if !database.keyspace_exists(LAYOUT) {
        return Ok(None);
    }
    let mut tables = BTreeMap::new();
    for name in database.list_keyspace_names() {
        if let Some(Ok(table)) = name.strip_prefix('t').map(str::parse) {
            tables.insert(Table(table), database.keyspace(&name, options)?);
        }
    }
    let layout = database.keyspace(LAYOUT, options)?;
    let (Some(name), Some(version)) = (layout.get(NAME)?, layout.get(VERSION)?) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(&name).into_owned();
    let Ok(version) = version.as_ref().try_into().map(u32::from_be_bytes) else { return Ok(None) };
    Ok(Some(Recovered { database, tables, layout, name, version }))
}

/// Waits until the background threads have caught up with the writer.
///
/// Fjall does this itself at the end of a commit, but waits indefinitely if a background thread has
/// ended after a disk error. So its limits (4 sealed memtables, 30 runs in
/// level 0) must never be reached in a commit, during which up to two memtables may be sealed.
fn wait_for_room(database: &Database, keyspace: &Keyspace) -> Result<(), Error> {
    for _ in 0..WAITS_MAX {
        if keyspace.sealed_memtable_count() <= 1 && keyspace.l0_table_count() < 24 {
            return Ok(());
        }
        // Fails if a background thread has failed.
        database.persist(PersistMode::Buffer)?;
        thread::sleep(WAIT);
    }
    Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, "background writes make no progress")))
}

/// Returns the key with a byte in front, which keeps the order: fjall knows no empty keys.
fn stored_key(key: &[u8]) -> Vec<u8> {
    [&[0], key].concat()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest says that bytes don't fit")]
fn store_error(error: &Error) -> StoreError {
    let text = format!("{error:?}");
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => StoreError::Damaged(text),
            _ => StoreError::Io(text),
        },
        Error::Poisoned => {
            StoreError::Io("an earlier write failed in the background; is the disk full?".into())
        }
        _ => StoreError::Damaged(text),
    }
}

const LOCK: &str = "lock";
const ROWS: &str = "rows";
const MAKING: &str = "rows.new";
const LAYOUT: &str = "layout";
const NAME: &str = "name";
const VERSION: &str = "version";

/// For a small node; one with memory to spare uses a quarter of it.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// As few as fjall allows: one full journal and the one being written. Replaying these takes up to
/// 1.5 s of CPU; with twice as much, up to 219 MiB were seen and 140 MiB took 3.3 s.
const JOURNALS_BYTES: u64 = 64 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Below this, the second look-up costs more than rewriting the value in compactions.
const SEPARATE_BYTES: u32 = 4 * 1024;
const WAIT: Duration = Duration::from_millis(5);
/// A minute: longer than any compaction that was seen.
const WAITS_MAX: usize = 12_000;
