//! Comments fit in 100 columns like the code, which rustfmt sees to; nobody sees to comments.

use super::RustFile;
use crate::tidy::Problem;

/// Checks the lines that have a comment.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.prose.lines()) {
            let width = line.trim_end().chars().count();
            if width > COLUMNS && line.trim_start().starts_with("//") {
                let message = format!("a comment of {width} columns, at most {COLUMNS}");
                problems.push(Problem::new(&file.path, number, message));
            }
        }
    }
    problems
}

const COLUMNS: usize = 100;

#[test]
fn wide_comments_are_found() {
    let comment = format!("    // {}", "x".repeat(93));
    let text = format!("{comment}\n{comment}x\nlet a = \"{}\";\n", "x".repeat(100));
    assert_eq!(check(&[super::file("a.rs", &text)]).len(), 1);
}
