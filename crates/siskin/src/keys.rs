//! Keys in files: 32 random bytes that only their owner may read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use crypto::derive_key;
use zeroize::Zeroizing;

use crate::failure::{Failure, Kind};

/// The secrets of a device, all derived from one file.
pub(crate) struct DeviceKeys {
    /// The key of the encrypted rows.
    pub(crate) store: Zeroizing<[u8; 32]>,
    /// The secret from which transport keys are derived.
    pub(crate) transport: Zeroizing<[u8; 32]>,
}

impl DeviceKeys {
    /// Reads the master key, or creates it.
    pub(crate) fn load(file: &Path) -> Result<Self, Failure> {
        let master = load_or_make(file)?;
        Ok(Self {
            store: derive_key(&master, "client-store", b""),
            transport: derive_key(&master, "client-transport", b""),
        })
    }
}

/// Reads a key file, or creates it durably.
pub(crate) fn load_or_make(file: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    match read(file) {
        Ok(key) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make(file).and_then(|()| read(file));
            made.map_err(|error| Failure::io(file.display(), &error))
        }
        Err(error) => Err(refused(file, &error)),
    }
}

/// Reads a key file.
pub(crate) fn load(file: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    read(file).map_err(|error| refused(file, &error))
}

/// Writes a key to a new key file.
pub(crate) fn keep(file: &Path, key: &[u8; 32]) -> Result<(), Failure> {
    write(file, key).map_err(|error| Failure::io(file.display(), &error))
}

fn refused(file: &Path, error: &io::Error) -> Failure {
    let failure = Failure::io(file.display(), error);
    if error.kind() != io::ErrorKind::InvalidData {
        return failure;
    }
    Failure { kind: Kind::Locked, ..failure }
        .hint("restore the file from a backup; the data can't be decrypted without it")
}

/// Returns random bytes from the system.
pub(crate) fn random() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| Failure::user(format!("can't read random bytes: {error}")))?;
    Ok(bytes)
}

fn read(file: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(fs::read(file)?);
    if fs::metadata(file)?.mode() & 0o077 != 0 {
        let message = "other users may read this key; make it private with chmod 600";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let key = bytes.as_slice().try_into().map(Zeroizing::new);
    key.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a key has 32 bytes"))
}

fn make(file: &Path) -> io::Result<()> {
    write(file, &*random().map_err(|failure| io::Error::other(failure.message))?)
}

/// Writes under another name first, so that a crash leaves a whole key or none. Links instead of
/// renaming, so that the first of two concurrent processes wins.
fn write(file: &Path, key: &[u8; 32]) -> io::Result<()> {
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut writer = options.open(&new)?;
    writer.write_all(key.as_slice())?;
    writer.sync_all()?;
    let linked = fs::hard_link(&new, file);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(file.parent().unwrap_or(file))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.key");
        let key = load_or_make(&file).unwrap();
        assert_eq!(load_or_make(&file).unwrap(), key);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_cut_short_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.key");
        load_or_make(&file).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(load_or_make(&file).unwrap_err().message.contains("chmod 600"));
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&file, [7; 31]).unwrap();
        assert_eq!(load_or_make(&file).unwrap_err().kind, Kind::Locked);
    }
}
