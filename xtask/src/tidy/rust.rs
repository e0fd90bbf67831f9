//! Rust files as the rules see them: code, prose and functions told apart.
//!
//! No parser: every file is laid out by rustfmt, so blanking comments and strings is enough to find
//! signatures, blocks and paths by their text. It keeps `tidy` within a second.

use std::path::{Path, PathBuf};

use super::Source;
use crate::codegen;

mod functions;
mod mask;

pub(super) use functions::{Function, closing, split_top_level};

/// A hand-written Rust file.
#[derive(Debug)]
pub(super) struct RustFile {
    pub(super) path: PathBuf,
    /// The text without comments and the contents of strings: spaces stand in their place.
    pub(super) code: String,
    /// Comments and the contents of strings: spaces stand in the place of code.
    pub(super) prose: String,
    pub(super) functions: Vec<Function>,
    /// Number of the line with which the tests begin, past the end if there are none.
    tests_from: usize,
}

impl RustFile {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let (code, prose) = mask::split(text);
        let functions = functions::read(&code);
        let in_tests = path.ends_with("tests.rs")
            || path.iter().any(|part| part == "tests" || part == "benches");
        let tests_from = if in_tests { 0 } else { inline_tests(&code) };
        Self { path: path.to_owned(), code, prose, functions, tests_from }
    }

    /// Reads the hand-written Rust files among `sources`.
    pub(super) fn all(sources: &[Source]) -> Vec<Self> {
        let ours = |source: &&Source| source.is("rs") && source.path != Path::new(codegen::TARGET);
        sources.iter().filter(ours).map(|source| Self::new(&source.path, &source.text)).collect()
    }

    /// Returns whether the file belongs to the product or the tests of `crate_directory`.
    pub(super) fn is_in(&self, crate_directory: &str) -> bool {
        self.path.starts_with(crate_directory)
    }

    /// Returns whether a line belongs to tests.
    pub(super) fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// Returns the lines of code before the tests, with their numbers.
    pub(super) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines()).take_while(|(line, _)| !self.is_test(*line))
    }

    /// Returns the functions before the tests.
    pub(super) fn product_functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| !self.is_test(function.line))
    }
}

/// Tests stand last in a file (CONTRIBUTING.md): a module of them, or a single one.
fn inline_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let starts = lines.iter().zip(lines.iter().skip(1)).position(|(line, next)| {
        *line == "#[test]"
            || (*line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{'))
    });
    starts.map_or(usize::MAX, |index| index.saturating_add(1))
}

#[test]
fn tests_are_told_from_the_product() {
    let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let file = RustFile::new(Path::new("a/src/a.rs"), text);
    assert_eq!(file.functions.len(), 2);
    assert_eq!(file.product_functions().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(RustFile::new(Path::new("a/tests/t.rs"), text).product_functions().count(), 0);
    let declared = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
    assert_eq!(RustFile::new(Path::new("a/src/a.rs"), declared).product_functions().count(), 1);
}
