//! Where scenarios come from.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use sim::Scenario;

use super::simulator::Simulator;

/// Where scenarios come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Each seed draws its own.
    Random,
    /// A file has the one for all seeds.
    File { path: PathBuf, scenario: Box<Scenario> },
}

impl Source {
    /// Reads one file. What is wrong with it is told with its path.
    pub(super) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = read(path)?;
        let parsed = Scenario::parse(&text);
        let scenario = parsed.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::File { path: path.to_owned(), scenario: Box::new(scenario) })
    }

    /// Reads all named scenarios, in the order of their names.
    pub(super) fn all() -> Result<Vec<Self>, Box<dyn Error>> {
        list(Path::new(SCENARIOS), "toml")?.iter().map(|path| Self::read(path)).collect()
    }

    /// The name of the file without its extension.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Random => "random".to_owned(),
            Self::File { path, .. } => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }

    pub(super) fn scenario(&self, simulator: &impl Simulator, seed: u64) -> Scenario {
        match self {
            Self::Random => simulator.random(seed),
            Self::File { scenario, .. } => Scenario::clone(scenario),
        }
    }
}

/// Reads a file, and names it if that fails.
pub(super) fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Writes a file and the directories above it, and names it if that fails.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = made.and_then(|()| fs::write(path, text));
    Ok(written.map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Files in a directory with this extension, sorted. None at all is an error: what compares
/// nothing proves nothing.
pub(super) fn list(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let named = |error| format!("{}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(named)? {
        let path = entry.map_err(named)?.path();
        if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no file ends in .{extension}", directory.display()).into());
    }
    found.sort();
    Ok(found)
}

const SCENARIOS: &str = "sim/scenarios";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_not_be_read_are_named() {
        let error = Source::read(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(error.starts_with("no/such.toml: "), "{error}");
        let error = list(Path::new("no/such"), "toml").unwrap_err().to_string();
        assert!(error.starts_with("no/such: "), "{error}");
    }

    #[test]
    fn bad_files_are_named_with_the_reason() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Source::read(&manifest).unwrap_err().to_string();
        let path = format!("{}: ", manifest.display());
        assert!(error.strip_prefix(&path).is_some_and(|reason| !reason.is_empty()), "{error}");
    }
}
