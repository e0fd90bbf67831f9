//! Files and directories that only their owner may read, and the lock that keeps others out.
#![allow(clippy::disallowed_methods, reason = "this is where files are opened")]

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::OpenError;

/// Locks out every other opener until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file at `file` for the store at `path`.
    ///
    /// The file stays when the lock goes: removing it would let two later openers hold a lock each,
    /// one on the old file and one on a new one.
    pub(crate) fn take(file: &Path, path: &Path) -> Result<Self, OpenError> {
        let file = private_file(file).map_err(|error| OpenError::io(path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(error)) => Err(OpenError::io(path, error)),
        }
    }
}

/// Opens a file for writing, made readable by its owner alone if it is new.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a directory and those above it, for their owner alone where they are new.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// The names in a directory, sorted.
pub(crate) fn names(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    entries.map(|mut paths| {
        paths.sort();
        paths
    })
}

/// Bytes that a file takes on its disk, which for a file with holes is less than its length;
/// nothing if it is gone.
pub(crate) fn file_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    #[cfg(unix)]
    let bytes = std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512);
    #[cfg(not(unix))]
    let bytes = metadata.len();
    bytes
}
