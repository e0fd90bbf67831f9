//! Rows on disk: one trait, three stores.
//!
//! | store | for | files |
//! |---|---|---|
//! | [`Memory`] | tests and the simulator | none; [`Memory::crash`] drops what was not synced |
//! | [`Fjall`] | nodes | a directory: `lock`, and in `rows/` a keyspace `t{n}` per table |
//! | [`Sqlite`] | clients | `<path>` encrypted with SQLCipher, `<path>-wal`, and `<path>-lock` |
//!
//! A batch is visible and atomic when [`Store::apply`] returns and durable when the next
//! [`Store::sync`] does, so a driver makes many batches durable with one disk sync. **Any error is
//! final**: after a failed sync the content of the disk is unknown, so the store refuses all
//! further work until it is opened again, and what it shows then is on the disk.
//!
//! Both disk stores carry the name and version of their [`Layout`]: fjall in the keyspace
//! `layout`, SQLite in the table `layout`; the rows themselves are in its table
//! `rows(t, k, v, PRIMARY KEY(t, k))`. Opening an older version migrates it one version at a time,
//! each step in one durable batch; a newer version or another name is refused untouched. A new
//! store is created under another name (`rows.new`, `<path>-new`) and renamed, so a store under its
//! own name is complete or damaged, never half created.

mod archive;
mod disk;
mod fjall;
mod layout;
mod memory;
#[cfg(any(feature = "vendored", feature = "system-sqlcipher"))]
mod sqlite;

use proto::{Rows, WriteBatch};
#[cfg(feature = "vendored")]
use sqlcipher as _;

pub use archive::{
    ArchiveError, ArchiveHead, Archived, check_archive, load_archive, write_archive,
};
pub use fjall::Fjall;
pub use layout::{Layout, Migration, OpenError};
pub use memory::Memory;
#[cfg(any(feature = "vendored", feature = "system-sqlcipher"))]
pub use sqlite::Sqlite;

/// Rows with one writer.
pub trait Store: Rows + Send {
    /// Applies the changes, all or none. Rows show them at once; they are durable after the next
    /// [`sync`](Self::sync).
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError>;

    /// Makes everything applied so far durable, with one disk sync.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Returns the error of a failed read, which [`Rows`] cannot return. A driver that finds one
    /// stops and carries out nothing that was derived from those reads.
    fn fault(&self) -> Option<StoreError>;

    /// Returns the bytes that the store takes on disk.
    fn disk_bytes(&self) -> u64;

    /// Returns the current rows.
    fn as_rows(&self) -> &dyn Rows;

    /// Returns a snapshot of the rows that can be read later and elsewhere. Keep it no longer than
    /// needed: rows deleted in the meantime stay on disk. Stores of clients return `None`.
    fn snapshot(&self) -> Option<Box<dyn Snapshot>>;
}

/// The rows at one point in time, unaffected by later changes.
pub trait Snapshot: Rows + Send {
    /// Returns the error of a failed read, which [`Rows`] cannot return.
    fn fault(&self) -> Option<StoreError>;
}

/// A store has failed. Except for [`Oversized`](Self::Oversized), which changes nothing, an error
/// is final: every later call fails with it too, until the store is opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no space left.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The disk refused to read, write or sync.
    #[error("the disk failed: {0}")]
    Io(String),
    /// What the disk holds is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A row is larger than any store holds; see [`KEY_MAX`] and [`VALUE_MAX`].
    #[error("the row is too large to store: {0}")]
    Oversized(String),
}

/// Bytes of a key.
pub const KEY_MAX: usize = 32 * 1024;
/// Bytes of a value.
pub const VALUE_MAX: usize = 256 * 1024 * 1024;

/// Refuses what one of the stores could not hold, so that all behave alike.
fn check(batch: &WriteBatch) -> Result<(), StoreError> {
    for (table, key, value) in batch.iter() {
        let value = value.map_or(0, <[u8]>::len);
        if key.len() > KEY_MAX || value > VALUE_MAX {
            let sizes = format!("table {}, key {}, value {value} bytes", table.0, key.len());
            return Err(StoreError::Oversized(sizes));
        }
    }
    Ok(())
}
