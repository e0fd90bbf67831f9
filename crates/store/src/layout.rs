//! What the rows of a store mean: a name and a version, and the way from the older versions.

use std::{
    io,
    path::{Path, PathBuf},
};

use proto::{Rows, WriteBatch};

use crate::{Store, StoreError};

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

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }

    /// What a store error means while opening.
    pub(crate) fn store(path: &Path, error: StoreError) -> Self {
        match error {
            StoreError::Damaged(what) => Self::damaged(path, what),
            StoreError::Full(what) => {
                Self::io(path, io::Error::new(io::ErrorKind::StorageFull, what))
            }
            StoreError::Io(what) | StoreError::Oversized(what) => {
                Self::io(path, io::Error::other(what))
            }
        }
    }
}

/// A store that keeps the name and version of its layout beside its rows.
pub(crate) trait Versioned: Store {
    /// Applies the batch and the version as one, durable on return.
    fn apply_version(&mut self, batch: &WriteBatch, version: u32) -> Result<(), StoreError>;
}

/// Brings a store from the layout it has to the one this build knows, or refuses it untouched.
pub(crate) fn migrate(
    store: &mut impl Versioned,
    path: &Path,
    found: (&str, u32),
    layout: &Layout,
) -> Result<(), OpenError> {
    let (name, found) = found;
    let known = layout.version;
    if name != layout.name {
        let found = format!("the store of a {name}");
        return Err(OpenError::Foreign { path: path.into(), found, wanted: layout.name });
    }
    if found > known {
        return Err(OpenError::Newer { path: path.into(), found, known });
    }
    let step = |from| layout.migrations.iter().find(|migration| migration.from == from);
    if (found..known).any(|from| step(from).is_none()) {
        return Err(OpenError::Older { path: path.into(), found, known });
    }
    for migration in (found..known).filter_map(step) {
        let batch = (migration.run)(store.as_rows());
        let outcome = match store.fault() {
            Some(fault) => Err(fault),
            None => store.apply_version(&batch, migration.from.saturating_add(1)),
        };
        outcome.map_err(|error| OpenError::store(path, error))?;
        tracing::info!(path = %path.display(), from = migration.from, "layout migrated");
    }
    Ok(())
}
