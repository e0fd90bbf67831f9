//! Files: every one is part of a crate, opens with its documentation and is not too long.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Problem, Source, manifests::Package};
use crate::codegen;

/// Checks all Rust files.
pub(super) fn check(packages: &[Package], sources: &[Source]) -> Vec<Problem> {
    let files: Vec<&Source> = sources.iter().filter(|source| source.is("rs")).collect();
    let mut reached = BTreeSet::new();
    for package in packages {
        let named: BTreeSet<PathBuf> = package.named_roots().collect();
        for file in &files {
            if named.contains(&file.path) || is_root(&package.directory, &file.path) {
                let siblings = file.path.parent().unwrap_or_else(|| Path::new(""));
                reach(file, siblings, &files, &mut reached);
            }
        }
    }
    files.iter().flat_map(|file| check_one(file, reached.contains(&file.path))).collect()
}

fn check_one(file: &Source, reached: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !reached {
        problems.push(Problem::new(&file.path, 1, "a dead file: no `mod` declares it"));
    }
    if !file.text.starts_with("//!") {
        problems.push(Problem::new(&file.path, 1, "a module opens with `//!`: what is it?"));
    }
    let lines = file.text.lines().count();
    let is_excepted = [codegen::TARGET, DISPATCH].map(Path::new).contains(&file.path.as_path());
    if lines > LINES_MAX && !is_excepted {
        let message = format!("{lines} lines; a file stops at {LINES_MAX}");
        problems.push(Problem::new(&file.path, lines, message));
    }
    problems
}

/// Tells whether cargo takes `file` for the root of a target of the package in `directory`.
fn is_root(directory: &Path, file: &Path) -> bool {
    let Ok(inside) = file.strip_prefix(directory) else { return false };
    let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
    matches!(
        parts.as_slice(),
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", _]
            | ["src", "bin", _, "main.rs"]
            | ["tests" | "benches" | "examples", _]
            | ["tests" | "benches" | "examples", _, "main.rs"]
    )
}

/// Notes `file` and all modules that it declares, whose files are in `children`.
fn reach(file: &Source, children: &Path, files: &[&Source], reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.path.clone()) {
        return;
    }
    for name in declared(&file.text) {
        let below = children.join(name);
        let paths = [below.with_extension("rs"), below.join("mod.rs")];
        for child in files.iter().filter(|child| paths.contains(&child.path)) {
            reach(child, &below, files, reached);
        }
    }
}

/// Names of the modules that are declared here and are in files of their own.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
            Some(scoped) => scoped.split_once(')').map_or("", |(_, rest)| rest),
            None => rest,
        });
        let name = line.trim_start().strip_prefix("mod ")?.strip_suffix(';')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
    })
}

const LINES_MAX: usize = 800;
/// The one page on which all flow between the client's modules stands.
const DISPATCH: &str = "crates/client/src/machine.rs";

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    fn problems(sources: Vec<Source>) -> Vec<String> {
        let manifest = source("a/Cargo.toml", "[package]\nname = 'a'\n[[bin]]\npath = 'odd.rs'");
        let sources: Vec<Source> = [manifest].into_iter().chain(sources).collect();
        let packages = crate::tidy::manifests::read(&sources).unwrap();
        check(&packages, &sources).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn declarations_are_found() {
        let text = "mod one;\npub mod two;\n    pub(in crate::x) mod three;\nmod inline {\n\
                    // mod four;\nmodel;\npublic mod five;";
        assert_eq!(declared(text).collect::<Vec<_>>(), ["one", "two", "three"]);
    }

    #[test]
    fn modules_are_followed_to_their_files() {
        let found = problems(vec![
            source("a/src/lib.rs", "//! A.\nmod b;\nmod d;"),
            source("a/src/b.rs", "//! B.\nmod c;"),
            source("a/src/b/c.rs", "//! C."),
            source("a/src/d/mod.rs", "//! D.\nmod e;"),
            source("a/src/d/e.rs", "//! E."),
            source("a/tests/t.rs", "//! T.\nmod shared;"),
            source("a/tests/shared/mod.rs", "//! S."),
            source("a/odd.rs", "//! O."),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn dead_undocumented_and_endless_files_are_found() {
        let found = problems(vec![
            source("a/src/lib.rs", "mod b;"),
            source("a/src/c.rs", "//! Forgotten."),
            source("a/src/main.rs", &"//!\n".repeat(801)),
        ]);
        assert_eq!(
            found,
            [
                "a/src/lib.rs:1: a module opens with `//!`: what is it?",
                "a/src/c.rs:1: a dead file: no `mod` declares it",
                "a/src/main.rs:801: 801 lines; a file stops at 800",
            ]
        );
    }
}
