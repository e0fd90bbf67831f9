//! Durability is a join: a step collects demands, and its result doesn't depend on their order.
//!
//! An assignment forgets what was demanded before it, which made the outcome depend on the order of
//! calls. `step.rs` alone computes it.

use super::{RustFile, client_files};
use crate::tidy::Problem;

/// Checks that only `step.rs` sets the durability of a step.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let files = client_files(files).filter(|file| !file.path.ends_with("step.rs"));
    let assigned = |line: &str| line.contains("durability = ") && !line.contains("let ");
    files
        .flat_map(|file| {
            let lines = file.product().filter(move |(_, line)| assigned(line));
            lines.map(|(number, _)| Problem::new(&file.path, number, "demand it of the step"))
        })
        .collect()
}

#[test]
fn assignments_are_found() {
    let text = "step.durability = Durability::Later;\nlet durability = a;\nif durability == b {}\n";
    let found = |path| check(&[super::file(path, text)]).len();
    assert_eq!(found("crates/client/src/a.rs"), 1);
    assert_eq!(found("crates/client/src/step.rs"), 0);
    assert_eq!(found("crates/node/src/a.rs"), 0);
}
