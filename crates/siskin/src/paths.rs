//! Where files live: the XDG directories, or all in one directory that `--home` names.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The places of one account on this machine.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    data: PathBuf,
    runtime: PathBuf,
}

impl DataDir {
    /// `chosen` is the directory that overrides all others.
    pub(crate) fn new(chosen: Option<&Path>) -> Result<Self, Failure> {
        if let Some(chosen) = chosen {
            let data = std::path::absolute(chosen)
                .map_err(|error| Failure::io(chosen.display(), &error))?;
            return Ok(Self { runtime: data.clone(), data });
        }
        let data = xdg_data()?.join("siskin");
        let runtime = absolute_in("XDG_RUNTIME_DIR").map(|runtime| runtime.join("siskin"));
        Ok(Self { runtime: runtime.unwrap_or_else(|| data.clone()), data })
    }

    /// Makes the directories, for their owner alone.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        for directory in [&self.data, &self.runtime] {
            private_directory(directory)
                .map_err(|error| Failure::io(directory.display(), &error))?;
        }
        Ok(())
    }

    /// The secret from which the others are derived.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.data.join("master.key")
    }

    /// The encrypted rows of the client.
    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("client.db")
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime.join("siskin.sock")
    }

    /// Where a node keeps everything unless told otherwise.
    pub(crate) fn node(&self) -> PathBuf {
        self.data.join("node")
    }
}

/// Where a node listens that keeps everything in this directory.
pub(crate) fn node_socket(directory: &Path) -> PathBuf {
    directory.join("node.sock")
}

/// Makes a directory and those above it, for their owner alone where they are new.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn xdg_data() -> Result<PathBuf, Failure> {
    absolute_in("XDG_DATA_HOME")
        .or_else(|| absolute_in("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            Failure::user("neither HOME nor XDG_DATA_HOME is set")
                .hint("say where files go with --dir DIR")
        })
}

/// The XDG specification wants relative paths ignored.
fn absolute_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
