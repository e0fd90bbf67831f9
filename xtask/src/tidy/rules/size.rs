//! Sizes up to which a reader keeps the whole in mind: 500 lines of a file, 70 of a function.
//!
//! The client's machine is excepted: it is one page of dispatch, and cutting it would hide the
//! flow.

use std::path::Path;

use super::RustFile;
use crate::tidy::{Problem, Source, ratchet::Rule};

/// Checks files and functions.
pub(super) fn check(files: &[RustFile], sources: &[Source]) -> Vec<Rule> {
    let mut long_files = Vec::new();
    for file in files.iter().filter(|file| file.path != Path::new(MACHINE)) {
        // The masked code lacks nothing but the last line's end.
        let lines = sources.iter().find(|source| source.path == file.path);
        let lines = lines.map_or(0, |source| source.text.lines().count());
        if lines > FILE_MAX {
            let message = format!("{lines} lines; a file has at most {FILE_MAX}");
            long_files.push(Problem::new(&file.path, lines, message));
        }
    }
    let mut long_functions = Vec::new();
    for file in files {
        for function in file.functions.iter().filter(|function| function.lines > FUNCTION_MAX) {
            let (name, lines) = (&function.name, function.lines);
            let message = format!("`{name}` has {lines} lines, at most {FUNCTION_MAX}");
            long_functions.push(Problem::new(&file.path, function.line, message));
        }
    }
    vec![
        Rule { name: "long_files", problems: long_files },
        Rule { name: "long_functions", problems: long_functions },
    ]
}

const MACHINE: &str = "crates/client/src/machine.rs";
const FILE_MAX: usize = 500;
const FUNCTION_MAX: usize = 70;

#[test]
fn long_files_and_functions_are_found() {
    let found = |path: &str, text: String| {
        let file = super::file(path, &text);
        let rules = check(&[file], &[Source { path: path.into(), text }]);
        rules.iter().map(|rule| rule.problems.len()).collect::<Vec<_>>()
    };
    assert_eq!(found("a/src/b.rs", "//\n".repeat(500)), [0, 0]);
    assert_eq!(found("a/src/b.rs", "//\n".repeat(501)), [1, 0]);
    assert_eq!(found(MACHINE, "//\n".repeat(501)), [0, 0]);
    assert_eq!(found("a/src/b.rs", format!("fn a() {{\n{}}}\n", "b();\n".repeat(69))), [0, 1]);
}
