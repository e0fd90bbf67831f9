//! All rows in one file: a backup, which any store of the same layout can be filled from.
//!
//! ```text
//! "siskin rows 1\n" ‖ name ‖ layout version 4 ‖ preamble ‖ row … ‖ end ‖ SHA-256 of all before 32
//! name, preamble: length 4 ‖ bytes       row: 1 ‖ table 1 ‖ key ‖ value       end: 0 ‖ rows 8
//! key, value: length 4 ‖ bytes           numbers: big-endian
//! ```

use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
};

use proto::{Direction, Rows, Table, WriteBatch};
use sha2::{Digest, Sha256};

use crate::{KEY_MAX, Layout, Store, StoreError, VALUE_MAX};

/// The head of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveHead {
    /// The layout of its rows.
    pub name: String,
    /// The version of that layout.
    pub version: u32,
    /// Application data that belongs to the rows; up to 64 KiB.
    pub preamble: Vec<u8>,
}

/// What was put into an archive or taken from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(io::Error),
    /// It is no archive, was cut short, or was changed.
    #[error("it is no backup, or a damaged one: {0}")]
    Damaged(&'static str),
    /// The rows could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes all rows. They must not change meanwhile.
pub fn write_archive(
    rows: &dyn Rows,
    layout: &Layout,
    preamble: &[u8],
    to: &mut dyn Write,
) -> io::Result<Archived> {
    let mut to = Writer { to, hash: Sha256::new(), bytes: 0 };
    to.put(MAGIC)?;
    to.put_sized(layout.name.as_bytes())?;
    to.put(&layout.version.to_be_bytes())?;
    to.put_sized(preamble)?;
    let (mut count, mut result) = (0_u64, Ok(()));
    for table in 0..=u8::MAX {
        let end = vec![u8::MAX; KEY_MAX.saturating_add(1)];
        rows.scan(Table(table), &[], &end, Direction::Forward, &mut |key, value| {
            count = count.saturating_add(1);
            result = to.put_row(table, key, value);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        std::mem::replace(&mut result, Ok(()))?;
    }
    to.put(&[END])?;
    to.put(&count.to_be_bytes())?;
    let hash: [u8; 32] = to.hash.clone().finalize().into();
    to.put(&hash)?;
    to.to.flush()?;
    Ok(Archived { rows: count, bytes: to.bytes })
}

/// Reads an archive to its end and checks it, without storing anything.
pub fn check_archive(from: &mut dyn Read) -> Result<(ArchiveHead, Archived), ArchiveError> {
    read(from, &mut |_, _, _| Ok(()))
}

/// Stores all rows of an archive, which [`check_archive`] has found to be whole.
pub fn load_archive(
    from: &mut dyn Read,
    store: &mut dyn Store,
) -> Result<(ArchiveHead, Archived), ArchiveError> {
    let (mut batch, mut bytes) = (WriteBatch::default(), 0_usize);
    let read = read(from, &mut |table, key, value| {
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        batch.put(table, key, value);
        if bytes < BATCH_BYTES {
            return Ok(());
        }
        bytes = 0;
        store.apply(&std::mem::take(&mut batch))
    })?;
    store.apply(&batch)?;
    store.sync()?;
    Ok(read)
}

type Visit<'a> = &'a mut dyn FnMut(Table, Vec<u8>, Vec<u8>) -> Result<(), StoreError>;

fn read(from: &mut dyn Read, visit: Visit<'_>) -> Result<(ArchiveHead, Archived), ArchiveError> {
    let mut from = Reader { from, hash: Sha256::new(), bytes: 0 };
    if from.take(MAGIC.len())? != MAGIC {
        return Err(ArchiveError::Damaged("it begins with something else"));
    }
    let name = String::from_utf8_lossy(&from.take_sized(HEAD_MAX)?).into_owned();
    let version = from.take_u32()?;
    let preamble = from.take_sized(HEAD_MAX)?;
    let mut rows = 0_u64;
    loop {
        match from.take(1)?.as_slice() {
            [ROW] => {
                let table = Table(from.take(1)?.first().copied().unwrap_or_default());
                let key = from.take_sized(KEY_MAX)?;
                let value = from.take_sized(VALUE_MAX)?;
                rows = rows.saturating_add(1);
                visit(table, key, value)?;
            }
            [END] => break,
            _ => return Err(ArchiveError::Damaged("something that is no row")),
        }
    }
    if from.take(8)? != rows.to_be_bytes() {
        return Err(ArchiveError::Damaged("rows are missing"));
    }
    let hash: [u8; 32] = from.hash.clone().finalize().into();
    if from.take(hash.len())? != hash {
        return Err(ArchiveError::Damaged("its hash is another"));
    }
    if from.from.read(&mut [0]).map_err(ArchiveError::Io)? > 0 {
        return Err(ArchiveError::Damaged("something follows its end"));
    }
    Ok((ArchiveHead { name, version, preamble }, Archived { rows, bytes: from.bytes }))
}

struct Writer<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.to.write_all(bytes)
    }

    fn put_sized(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    fn put_row(&mut self, table: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put(&[ROW, table])?;
        self.put_sized(key)?;
        self.put_sized(value)
    }
}

struct Reader<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
    bytes: u64,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        // A length that was made up takes no memory.
        let mut bytes = Vec::with_capacity(length.min(AHEAD_MAX));
        let read = (&mut *self.from).take(length as u64).read_to_end(&mut bytes);
        if read.map_err(ArchiveError::Io)? < length {
            return Err(ArchiveError::Damaged("it ends too early"));
        }
        self.hash.update(&bytes);
        self.bytes = self.bytes.saturating_add(length as u64);
        Ok(bytes)
    }

    fn take_u32(&mut self) -> Result<u32, ArchiveError> {
        let bytes = self.take(4)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
    }

    fn take_sized(&mut self, most: usize) -> Result<Vec<u8>, ArchiveError> {
        let length = usize::try_from(self.take_u32()?).unwrap_or(usize::MAX);
        if length > most {
            return Err(ArchiveError::Damaged("something is too long"));
        }
        self.take(length)
    }
}

const MAGIC: &[u8] = b"siskin rows 1\n";
const ROW: u8 = 1;
const END: u8 = 0;
const HEAD_MAX: usize = 64 * 1024;
const AHEAD_MAX: usize = 64 * 1024;
/// What is stored at a time.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
