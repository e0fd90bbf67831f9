//! The text files of the repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One text file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// The lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Returns whether the file's name ends in this extension.
    pub(super) fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

/// Reads all text files below the current directory, in the order of their paths.
pub(super) fn read_all() -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    collect(Path::new("."), &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(directory: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let path = path.strip_prefix(".").unwrap_or(&path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED.contains(&name) && !name.starts_with("target-") {
                collect(path, sources)?;
            }
        } else if EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
            sources.push(Source { path: path.to_owned(), text: fs::read_to_string(path)? });
        }
    }
    Ok(())
}

const SKIPPED: [&str; 5] = [".git", "target", "corpus", "artifacts", "node_modules"];
const EXTENSIONS: [&str; 8] =
    [".rs", ".md", ".toml", ".proto", ".yml", ".html", ".js", "Cargo.lock"];
