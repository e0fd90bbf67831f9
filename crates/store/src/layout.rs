//! What the rows of a store mean: a name and a version, and the way from the older versions.

use std::{io, path::PathBuf};

use proto::{Rows, WriteBatch};

/// What the rows of a store mean.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Whose rows they are, such as `node`.
    pub name: &'static str,
    /// The version this build writes.
    pub version: u32,
    /// The steps from older versions.
    pub migrations: &'static [Migration],
}

/// One step from a version to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version it starts from; it ends at the next.
    pub from: u32,
    /// The changes it makes to the rows.
    pub run: fn(&dyn Rows) -> WriteBatch,
}

/// The store can't be opened. What was stored is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("{} is in use by another process; stop that one first, or use another place", path.display())]
    InUse {
        /// Where the store is.
        path: PathBuf,
    },
    /// A newer build wrote it.
    #[error(
        "{} was written by a newer version (layout {found}, this one knows {known}); \
         install the newer version, or use another place",
        path.display()
    )]
    Newer {
        /// Where the store is.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version this build knows.
        known: u32,
    },
    /// A build so old wrote it that this one has no way from there.
    #[error(
        "{} was written by a version too old for this one (layout {found}, this one is {known}); \
         open it with a version in between first",
        path.display()
    )]
    Older {
        /// Where the store is.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The version this build needs.
        known: u32,
    },
    /// The key doesn't fit. A damaged first page looks the same.
    #[error(
        "{} can't be decrypted: the key is wrong or the file is damaged; \
         restore the key that belongs to it, or the file from a backup",
        path.display()
    )]
    WrongKey {
        /// Where the store is.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} holds {found}, not the store of a {wanted}; use another place", path.display())]
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// What is there.
        found: String,
        /// The name of the layout that was asked for.
        wanted: &'static str,
    },
    /// The disk refused.
    #[error("{} can't be opened: {source}", path.display())]
    Io {
        /// Where the store is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the disk holds is not what was written.
    #[error("{} is damaged: {what}; restore it from a backup, or move it away", path.display())]
    Damaged {
        /// Where the store is.
        path: PathBuf,
        /// What doesn't fit.
        what: String,
    },
}
