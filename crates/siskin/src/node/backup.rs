//! `siskin node backup` and `siskin node restore`: everything a node holds, in one file.
//! The file's format is in the crate `store`; its preamble is the seed of the node's key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ::node::{LAYOUT_NAME, LAYOUT_VERSION, Renewal};
use net::Reader;
use proto::{NodeId, Seed};
use serde::{Deserialize, Serialize};
use store::{
    ArchiveError, Archived, Snapshot, Store, StoreError, check_archive, load_archive, write_archive,
};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{LAYOUT, api};
use crate::{failure::Failure, keys, output::Output, paths};

/// What was backed up or restored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BackupShape {
    file: PathBuf,
    rows: u64,
    bytes: u64,
}

/// Backs a node up, whether it runs or not.
pub(super) async fn back_up(directory: &Path, file: &Path, out: Output) -> Result<(), Failure> {
    let file = std::path::absolute(file).map_err(|error| Failure::io(file.display(), &error))?;
    let done = match api::connect(directory).await {
        // It makes the file itself: only it can read its rows.
        Ok(node) => api::ask_backup(node, &Place { file }).await?,
        Err(_) => back_up_resting(directory, file)?,
    };
    out.result(&done, |done: &BackupShape| {
        format!("{} rows, {} bytes, in {}", done.rows, done.bytes, done.file.display())
    });
    out.say("Whoever has this file can pretend to be the node; keep it as you keep its key.");
    Ok(())
}

/// Where the file is to be.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    file: PathBuf,
}

/// Has the node that runs here back itself up.
pub(super) async fn back_up_running(
    reader: &Reader,
    directory: &Path,
    place: Place,
) -> Result<BackupShape, Failure> {
    if !place.file.is_absolute() {
        return Err(Failure::usage("the file's path must begin at the root"));
    }
    let rows = reader.snapshot().await.map_err(Failure::from)?.ok_or_else(no_snapshot)?;
    let seed = seed_of(directory)?;
    let written = spawn_blocking(move || write(rows.as_ref(), &seed, place.file)).await;
    written.unwrap_or_else(|_| Err(Failure::user("the backup has failed")))
}

/// Writes a file that is there when it is whole and durable, and not before.
fn write(rows: &dyn Snapshot, seed: &[u8; 32], file: PathBuf) -> Result<BackupShape, Failure> {
    let failed = |error: io::Error| Failure::io(file.display(), &error);
    if fs::exists(&file).map_err(failed)? {
        return Err(Failure::user(format!("{} is there already", file.display())));
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
        // What was written is worth nothing, and the disk may be full of it.
        let _ = fs::remove_file(&part);
        failed(error)
    })?;
    Ok(BackupShape { file, rows, bytes })
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

/// Makes a node of a backup, in a directory where there is none.
pub(super) fn restore(directory: &Path, file: &Path, out: Output) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(file.display(), &error);
    let unreadable = |error: ArchiveError| Failure::user(format!("{}: {error}", file.display()));
    let open = || File::open(file).map(BufReader::new).map_err(failed);
    let (head, _) = check_archive(&mut open()?).map_err(unreadable)?;
    if head.name != LAYOUT_NAME || head.version != LAYOUT_VERSION {
        return Err(Failure::user(format!(
            "{} holds rows of {} {}, not of {LAYOUT_NAME} {LAYOUT_VERSION}",
            file.display(),
            head.name,
            head.version
        )));
    }
    let seed = <[u8; 32]>::try_from(Zeroizing::new(head.preamble).as_slice());
    let seed = Zeroizing::new(
        seed.map_err(|_| Failure::user(format!("{} holds no node's key", file.display())))?,
    );
    if fs::read_dir(directory).is_ok_and(|mut names| names.next().is_some()) {
        return Err(Failure::user(format!("{} is not empty", directory.display()))
            .hint("name another directory; nothing was changed"));
    }
    // Beside its place first, so that half a node never runs.
    let making = beside(directory, ".restoring");
    let in_place = |error: io::Error| Failure::io(making.display(), &error);
    if fs::exists(&making).map_err(in_place)? {
        fs::remove_dir_all(&making).map_err(in_place)?;
    }
    paths::private_directory(&making).map_err(in_place)?;
    let Archived { rows, bytes } = fill(&making, &mut open()?, unreadable)?;
    keys::keep(&making.join("node.key"), &seed)?;
    fs::rename(&making, directory).map_err(in_place)?;
    let node = NodeId(net::Identity::from_seed(*seed).public().0);
    let done = BackupShape { file: file.to_owned(), rows, bytes };
    out.result(&done, |done| format!("{node} with {} rows, in {}", done.rows, directory.display()));
    Ok(())
}

/// Stores what a backup holds and makes it fit to be served.
fn fill(
    directory: &Path,
    from: &mut dyn Read,
    unreadable: impl Fn(ArchiveError) -> Failure,
) -> Result<Archived, Failure> {
    let failed = |error: StoreError| Failure::user(error.to_string());
    let mut store = super::open(directory)?;
    let (_, archived) = load_archive(from, &mut store).map_err(unreadable)?;
    let mut renewal = Renewal::new(Seed(*keys::random()?));
    while let Some(batch) = renewal.next(store.as_rows()) {
        store.apply(&batch).map_err(failed)?;
    }
    store.sync().map_err(failed)?;
    Ok(archived)
}

/// Backs up a node that does not run.
fn back_up_resting(directory: &Path, file: PathBuf) -> Result<BackupShape, Failure> {
    if !directory.join("rows").is_dir() {
        return Err(Failure::user(format!("no node has run in {}", directory.display()))
            .hint("say where it is with --data-dir DIR"));
    }
    let store = super::open(directory)?;
    let rows = store.snapshot().ok_or_else(no_snapshot)?;
    write(&*rows, &*seed_of(directory)?, file)
}

/// A name beside another one, on the same disk.
fn beside(path: &Path, ending: &str) -> PathBuf {
    // Without a slash at its end, which would lead inside.
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
