//! `siskin node backup` and `siskin node restore`.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::Path,
};

use ::node::{LAYOUT_NAME, LAYOUT_VERSION, Restore};
use proto::{NodeId, Seed};
use store::{ArchiveError, Archived, Store, StoreError, check_archive, load_archive};
use zeroize::Zeroizing;

use super::{
    backup_file::{BackupInfo, back_up_resting, beside},
    methods::Backup,
    rows, show,
};
use crate::{failure::Failure, keys, output::Output, paths};

/// Backs up a node, whether it runs or not.
pub(super) async fn back_up(directory: &Path, file: &Path, out: Output) -> Result<(), Failure> {
    let file = std::path::absolute(file).map_err(|error| Failure::io(file.display(), &error))?;
    let done = match show::connect(directory).await {
        // The node writes the file itself: only it can read its rows.
        Ok(mut node) => node.call(Backup { file }).await?,
        Err(_) => back_up_resting(directory, file)?,
    };
    out.result(&done, |done: &BackupInfo| {
        format!("{} rows, {} bytes, in {}", done.rows, done.bytes, done.file.display())
    });
    out.say("This file contains the key of the node. Anyone who has it can impersonate the node.");
    Ok(())
}

/// Restores a node from a backup into an empty directory.
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
    let seed = Zeroizing::new(seed.map_err(|_| {
        Failure::user(format!("{} doesn't contain the key of a node", file.display()))
    })?);
    if fs::read_dir(directory).is_ok_and(|mut names| names.next().is_some()) {
        return Err(Failure::user(format!("{} is not empty", directory.display()))
            .hint("choose another directory; nothing was changed"));
    }
    // Restores beside the directory first, so that an incomplete node never runs.
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
    let done = BackupInfo { file: file.to_owned(), rows, bytes };
    out.result(&done, |done| format!("{node} with {} rows, in {}", done.rows, directory.display()));
    Ok(())
}

/// Stores the rows of a backup and prepares them for service.
fn fill(
    directory: &Path,
    from: &mut dyn Read,
    unreadable: impl Fn(ArchiveError) -> Failure,
) -> Result<Archived, Failure> {
    let failed = |error: StoreError| Failure::user(error.to_string());
    let mut store = rows::open(directory)?;
    let (_, archived) = load_archive(from, &mut store).map_err(unreadable)?;
    let mut renewal = Restore::new(Seed(*keys::random()?));
    while let Some(batch) = renewal.next(store.as_rows()) {
        store.apply(&batch).map_err(failed)?;
    }
    store.sync().map_err(failed)?;
    Ok(archived)
}
