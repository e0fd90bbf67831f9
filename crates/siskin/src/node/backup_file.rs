//! The backup file of a node. The crate `store` defines its format; its preamble is the seed of the
//! node's key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use net::Reader;
use serde::{Deserialize, Serialize};
use store::{Archived, Snapshot, Store, write_archive};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::rows::{self, LAYOUT};
use crate::{failure::Failure, keys};

/// What was backed up or restored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BackupInfo {
    pub(super) file: PathBuf,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Backs up the running node of this process.
pub(super) async fn back_up_running(
    reader: &Reader,
    directory: &Path,
    file: PathBuf,
) -> Result<BackupInfo, Failure> {
    if !file.is_absolute() {
        return Err(Failure::usage("the path of the file must be absolute"));
    }
    let rows = reader.snapshot().await.map_err(Failure::from)?.ok_or_else(no_snapshot)?;
    let seed = seed_of(directory)?;
    let written = spawn_blocking(move || write(rows.as_ref(), &seed, file)).await;
    written.unwrap_or_else(|_| Err(Failure::user("the backup failed")))
}

/// Writes the file under another name and renames it once it is complete and durable.
fn write(rows: &dyn Snapshot, seed: &[u8; 32], file: PathBuf) -> Result<BackupInfo, Failure> {
    let failed = |error: io::Error| Failure::io(file.display(), &error);
    if fs::exists(&file).map_err(failed)? {
        return Err(Failure::user(format!("{} already exists", file.display())));
    }
    let part = beside(&file, ".part");
    let written = write_part(rows, seed, &part).and_then(|written| {
        if let Some(error) = rows.fault() {
            return Err(io::Error::other(error));
        }
        fs::rename(&part, &file)?;
        File::open(file.parent().unwrap_or(&file))?.sync_all()?;
        Ok(written)
    });
    let Archived { rows, bytes } = written.map_err(|error| {
        // An incomplete file is useless, and the disk may be full.
        let _ = fs::remove_file(&part);
        failed(error)
    })?;
    Ok(BackupInfo { file, rows, bytes })
}

fn write_part(rows: &dyn Snapshot, seed: &[u8; 32], part: &Path) -> io::Result<Archived> {
    if fs::exists(part)? {
        fs::remove_file(part)?;
    }
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    let mut to = BufWriter::new(open);
    let written = write_archive(rows, &LAYOUT, seed, &mut to)?;
    to.flush()?;
    to.get_ref().sync_all()?;
    Ok(written)
}

/// Backs up a stopped node.
pub(super) fn back_up_resting(directory: &Path, file: PathBuf) -> Result<BackupInfo, Failure> {
    if !directory.join("rows").is_dir() {
        return Err(Failure::user(format!("no node has run in {}", directory.display()))
            .hint("name its directory with --data-dir DIR"));
    }
    let store = rows::open(directory)?;
    let rows = store.snapshot().ok_or_else(no_snapshot)?;
    write(&*rows, &*seed_of(directory)?, file)
}

/// Returns a path beside another one, on the same file system.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    // Drops a trailing slash, after which the name would be inside.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(ending);
    name.into()
}

fn seed_of(directory: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    keys::load(&directory.join("node.key"))
}

fn no_snapshot() -> Failure {
    Failure::user("this store can't be backed up while it is in use")
}
