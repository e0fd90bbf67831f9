//! Rows in an encrypted SQLite file, the store of a client.

use std::{
    cell::{Cell, OnceCell},
    ffi::OsString,
    fmt, fs, io,
    io::Read,
    ops::ControlFlow,
    path::{Path, PathBuf, absolute},
};

use proto::{Direction, Rows, Table, Visit, WriteBatch};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, ffi, params};
use zeroize::Zeroizing;

use crate::{
    Layout, OpenError, Snapshot, Store, StoreError, check, disk,
    layout::{Versioned, migrate},
};

/// Rows in one SQLite file, encrypted with SQLCipher under a raw key.
///
/// Everything applied since the last sync is one transaction; the sync commits it.
pub struct Sqlite {
    /// The first error of all. Whatever came after it can't be trusted.
    broken: OnceCell<StoreError>,
    connection: Connection,
    /// Whether a transaction is open.
    writing: Cell<bool>,
    path: PathBuf,
    /// Last, so that it outlives the connection.
    _lock: disk::Lock,
}

impl Sqlite {
    /// Opens the store in a file, or makes a new one there.
    pub fn open(path: &Path, key: &[u8; 32], layout: &Layout) -> Result<Self, OpenError> {
        let io = |error| OpenError::io(path, error);
        // SQLite would take a relative path that begins with `file:` for an address.
        let file = absolute(path).map_err(io)?;
        let directory = file.parent().unwrap_or(&file);
        disk::private_directory(directory).map_err(io)?;
        let lock = disk::Lock::take(&beside(&file, "-lock"), path)?;
        if !fs::exists(&file).map_err(io)? {
            create(&file, path, key, layout)?;
        }
        refuse_plain(&file, path, layout)?;
        let connection = connect(&file, key).map_err(|error| open_error(path, &error))?;
        let found = found_layout(&connection).map_err(|error| open_error(path, &error))?;
        let Some((name, version)) = found else {
            let found = "a database of something else".into();
            return Err(OpenError::Foreign { path: path.into(), found, wanted: layout.name });
        };
        let (broken, writing) = (OnceCell::new(), Cell::new(false));
        let mut store = Self { broken, connection, writing, path: file, _lock: lock };
        migrate(&mut store, path, (&name, version), layout)?;
        Ok(store)
    }

    /// Remembers the first error and returns it ever after. What was not synced is lost.
    fn fail(&self, error: &Error) -> StoreError {
        let error = self.broken.get_or_init(|| store_error(error));
        tracing::error!(%error, "the store stops");
        if self.writing.replace(false) && !self.connection.is_autocommit() {
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        error.clone()
    }

    fn works(&self) -> Result<(), StoreError> {
        self.broken.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn write(&self, batch: &WriteBatch) -> rusqlite::Result<()> {
        if !self.writing.get() {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.writing.set(true);
        }
        let mut put = self.connection.prepare_cached(PUT)?;
        let mut delete = self.connection.prepare_cached(DELETE)?;
        for (table, key, value) in batch.iter() {
            match value {
                Some(value) => put.execute(params![table.0, key, value])?,
                None => delete.execute(params![table.0, key])?,
            };
        }
        Ok(())
    }

    fn commit(&self) -> rusqlite::Result<()> {
        if self.writing.get() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            self.writing.set(false);
        }
        Ok(())
    }

    /// Refuses a row that was read from a damaged page.
    ///
    /// SQLCipher hands out zeros for a page whose authentication fails, and an error only for the
    /// page after it. SQLite notices that by itself unless the page is the end of a large row.
    fn verify(&self, key: &[u8], value: &[u8]) -> rusqlite::Result<()> {
        if key.len().saturating_add(value.len()) < OVERFLOW_BYTES {
            return Ok(());
        }
        // Answered while it is prepared, so this must not be a cached statement.
        let status = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        match self.connection.query_row("PRAGMA cipher_status", [], status) {
            Ok(status) if status == "0" => {
                Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None))
            }
            Ok(_) | Err(Error::QueryReturnedNoRows) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Visits rows and returns whether all could be read.
    fn visit(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: Visit<'_>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(match direction {
            Direction::Forward => FORWARD,
            Direction::Backward => BACKWARD,
        })?;
        let mut rows = select.query(params![table.0, range.0, range.1])?;
        while let Some(row) = rows.next()? {
            let (key, value) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            self.verify(key, value)?;
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl Rows for Sqlite {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        let get = || -> rusqlite::Result<Option<Vec<u8>>> {
            let mut select = self.connection.prepare_cached(GET)?;
            let value = select.query_row(params![table.0, key], |row| row.get(0)).optional()?;
            self.verify(key, value.as_deref().unwrap_or_default())?;
            Ok(value)
        };
        get().inspect_err(|error| drop(self.fail(error))).ok().flatten()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        if let Err(error) = self.visit(table, (from, to), direction, visit) {
            self.fail(&error);
        }
    }
}

impl Store for Sqlite {
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        self.works()?;
        check(batch)?;
        self.write(batch).map_err(|error| self.fail(&error))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.works()?;
        self.commit().map_err(|error| self.fail(&error))
    }

    fn fault(&self) -> Option<StoreError> {
        self.broken.get().cloned()
    }

    fn disk_bytes(&self) -> u64 {
        let files = [self.path.clone(), beside(&self.path, "-wal")];
        files.iter().map(|path| disk::file_bytes(path)).sum()
    }

    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Option<Box<dyn Snapshot>> {
        None
    }
}

impl Versioned for Sqlite {
    fn apply_version(&mut self, batch: &WriteBatch, version: u32) -> Result<(), StoreError> {
        self.works()?;
        check(batch)?;
        let write = || {
            self.write(batch)?;
            self.connection.execute("UPDATE layout SET version = ?1", params![version])?;
            self.commit()
        };
        write().map_err(|error| self.fail(&error))
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlite({})", self.path.display())
    }
}

/// Makes a new store beside its place and moves it there, so that the file is whole whenever it
/// exists.
fn create(file: &Path, path: &Path, key: &[u8; 32], layout: &Layout) -> Result<(), OpenError> {
    let io = |error| OpenError::io(path, error);
    if fs::exists(beside(file, "-wal")).map_err(io)? {
        return Err(OpenError::damaged(path, "the file is gone, but its -wal is there"));
    }
    let (making, log) = (beside(file, "-new"), beside(file, "-new-wal"));
    for left in [&log, &making] {
        if fs::exists(left).map_err(io)? {
            fs::remove_file(left).map_err(io)?;
        }
    }
    // Made here for its mode, which SQLite gives to the files beside it too.
    disk::private_file(&making).map_err(io)?;
    let write = || -> rusqlite::Result<()> {
        let connection = connect(&making, key)?;
        connection.execute_batch(CREATE)?;
        let insert = "INSERT INTO layout (name, version) VALUES (?1, ?2)";
        connection.execute(insert, params![layout.name, layout.version])?;
        connection.execute_batch("COMMIT")?;
        connection.close().map_err(|(_, error)| error)
    };
    write().map_err(|error| open_error(path, &error))?;
    // Closing moves everything into the file and removes the log, but keeps quiet if it can't.
    if fs::exists(&log).map_err(io)? {
        return Err(OpenError::io(path, io::Error::other("the new file can't be written")));
    }
    fs::rename(&making, file).map_err(io)?;
    disk::sync_directory(file.parent().unwrap_or(file)).map_err(io)
}

/// The layout of an open database; nothing if it isn't a store.
fn found_layout(connection: &Connection) -> rusqlite::Result<Option<(String, u32)>> {
    let select = "SELECT count(*) FROM sqlite_schema WHERE name IN ('layout', 'rows')";
    let tables: u32 = connection.query_row(select, [], |row| row.get(0))?;
    if tables != 2 {
        return Ok(None);
    }
    let select = "SELECT name, version FROM layout";
    connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Refuses what a wrong key would otherwise be blamed for.
fn refuse_plain(file: &Path, path: &Path, layout: &Layout) -> Result<(), OpenError> {
    let io = |error| OpenError::io(path, error);
    if file.is_dir() {
        return Err(io(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mut start = Vec::new();
    let mut reader = disk::private_file(file).map_err(io)?;
    reader.by_ref().take(16).read_to_end(&mut start).map_err(io)?;
    if start == b"SQLite format 3\0" {
        let found = "a database that isn't encrypted".into();
        return Err(OpenError::Foreign { path: path.into(), found, wanted: layout.name });
    }
    let length = reader.metadata().map_err(io)?.len();
    if length < PAGE_BYTES {
        return Err(OpenError::damaged(path, format!("it ends after {length} bytes")));
    }
    Ok(())
}

fn connect(file: &Path, key: &[u8; 32]) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    let mut pragma = Zeroizing::new(String::with_capacity(128));
    pragma.push_str("PRAGMA cipher_log_level = NONE; PRAGMA key = \"x'");
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            pragma.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    pragma.push_str("'\"");
    connection.execute_batch(&pragma)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// What an error while opening means. The SQL is never shown: the first of it holds the key.
fn open_error(path: &Path, error: &Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::WrongKey { path: path.into() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            OpenError::InUse { path: path.into() }
        }
        _ => OpenError::store(path, store_error(error)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the system's refusal")]
fn store_error(error: &Error) -> StoreError {
    let Some(sqlite) = error.sqlite_error() else {
        return StoreError::Damaged("a row has another form than was written".into());
    };
    let text = sqlite.to_string();
    match sqlite.code {
        ErrorCode::DiskFull => StoreError::Full(text),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged(text),
        _ => StoreError::Io(text),
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

const PAGE_BYTES: u64 = 4096;
/// A row shorter than this is in one page, of which a row may take a quarter.
const OVERFLOW_BYTES: usize = 900;

/// One connection has the file for itself, so the index of the write-ahead log needs no file.
/// Reading fails here first if the key is wrong.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cache_size = -8192;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA secure_delete = ON;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA trusted_schema = OFF;
";
const CREATE: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE layout (name TEXT NOT NULL, version INTEGER NOT NULL);
    CREATE TABLE rows (
        t INTEGER NOT NULL, k BLOB NOT NULL, v BLOB NOT NULL, PRIMARY KEY (t, k)
    ) WITHOUT ROWID;
";
const GET: &str = "SELECT v FROM rows WHERE t = ?1 AND k = ?2";
const FORWARD: &str = "SELECT k, v FROM rows WHERE t = ?1 AND k >= ?2 AND k < ?3 ORDER BY k";
const BACKWARD: &str = "SELECT k, v FROM rows WHERE t = ?1 AND k >= ?2 AND k < ?3 ORDER BY k DESC";
const PUT: &str = "INSERT OR REPLACE INTO rows (t, k, v) VALUES (?1, ?2, ?3)";
const DELETE: &str = "DELETE FROM rows WHERE t = ?1 AND k = ?2";
