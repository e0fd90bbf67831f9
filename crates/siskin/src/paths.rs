//! Where files are: in the XDG directories, or all in one directory (`--dir`).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The directories of one account on this machine.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    data: PathBuf,
    runtime: PathBuf,
}

impl DataDir {
    /// Uses `chosen` for everything, or else the XDG directories.
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

    /// Creates the directories, accessible to their owner only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        for directory in [&self.data, &self.runtime] {
            private_directory(directory)
                .map_err(|error| Failure::io(directory.display(), &error))?;
        }
        Ok(())
    }

    /// Returns the file of the master key, from which the other keys are derived.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.data.join("master.key")
    }

    /// Returns the file of the client's encrypted rows.
    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("client.db")
    }

    /// Returns the path of the daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime.join("siskin.sock")
    }

    /// Returns the default data directory of a node.
    pub(crate) fn node(&self) -> PathBuf {
        self.data.join("node")
    }
}

/// Returns the path of a node's socket in its data directory.
pub(crate) fn node_socket(directory: &Path) -> PathBuf {
    directory.join("node.sock")
}

/// Creates a directory and its parents; new ones are accessible to their owner only.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn xdg_data() -> Result<PathBuf, Failure> {
    absolute_in("XDG_DATA_HOME")
        .or_else(|| absolute_in("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            Failure::user("neither HOME nor XDG_DATA_HOME is set")
                .hint("choose a directory with --dir DIR")
        })
}

/// Reads a path from the environment. The XDG specification has relative paths ignored.
fn absolute_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
