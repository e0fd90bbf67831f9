//! Documents name files: each of them must exist.
//!
//! A name with a folder counts: from the root, from the document, or from a crate or its sources.
//! What a program writes (`target/…`) is no file of the repository.

use std::path::{Path, PathBuf};

use crate::tidy::{Problem, Source};

/// Checks all documents.
pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let manifests = sources.iter().filter(|source| source.path.ends_with("Cargo.toml"));
    let crates = manifests.filter_map(|source| source.path.parent());
    let mut folders: Vec<PathBuf> = crates.flat_map(|c| [c.to_owned(), c.join("src")]).collect();
    folders.push(PathBuf::new());
    let mut problems = Vec::new();
    for document in sources.iter().filter(|source| source.is("md")) {
        let here = document.path.parent().unwrap_or_else(|| Path::new(""));
        for (number, line) in document.lines() {
            let missing = named(line).filter(|name| {
                let known =
                    |folder: &Path| sources.iter().any(|source| source.path == folder.join(name));
                !known(here) && !folders.iter().any(|folder| known(folder))
            });
            problems.extend(missing.map(|name| {
                Problem::new(&document.path, number, format!("`{name}` does not exist"))
            }));
        }
    }
    problems
}

/// Names of sources, in backticks, in pictures and elsewhere; links are checked by `documents.rs`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)).filter(|name| {
        let is_source = [".rs", ".proto", ".toml"].iter().any(|end| name.ends_with(end));
        let is_written = name.starts_with("target") || name.contains("SEED");
        is_source && name.contains('/') && !name.starts_with(['.', '/']) && !is_written
    })
}

#[test]
fn files_that_are_named_must_exist() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.to_owned() };
    let text = "`log/queue.rs`, a/src/log.rs ─▶ `log/gone.rs`, `c.rs`, `x/y`";
    let sources = [
        source("a/Cargo.toml", ""),
        source("a/src/log.rs", ""),
        source("a/src/log/queue.rs", ""),
        source("README.md", text),
    ];
    assert_eq!(super::told(&check(&sources)), ["README.md:1: `log/gone.rs` does not exist"]);
}
