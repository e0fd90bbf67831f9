//! Comments fit in 100 columns like the code. Rustfmt wraps code only.
//!
//! A row of a table can't be wrapped.

use super::RustFile;
use crate::tidy::Problem;

/// Checks the lines that have a comment.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.prose.lines()) {
            let width = line.trim_end().chars().count();
            let text = line.trim_start().trim_start_matches(['/', '!']);
            let is_comment = line.trim_start().starts_with("//") && !text.starts_with(" |");
            if width > COLUMNS && is_comment {
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
    let row = format!("//! | {} |", "x".repeat(100));
    let text = format!("{comment}\n{comment}x\nlet a = \"{}\";\n{row}\n", "x".repeat(100));
    assert_eq!(check(&[super::file("a.rs", &text)]).len(), 1);
}
