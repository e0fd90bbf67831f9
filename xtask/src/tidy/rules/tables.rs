//! One table of the client, one writing module.
//!
//! A table's constant is private to the file of its owner, so that only that file writes its rows;
//! all others call it. Its number stands for one table only.

use std::collections::BTreeMap;

use super::{RustFile, client_files};
use crate::tidy::Problem;

/// Checks the constants of tables.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let (mut problems, mut owners) = (Vec::new(), BTreeMap::new());
    for file in client_files(files) {
        for (line, text) in file.product() {
            let Some((declared, number)) = text.split_once(": Table = Table(") else { continue };
            let number = number.split(')').next().unwrap_or_default();
            let message = if declared.trim_start().starts_with("pub") {
                format!("table {number} is open to other files; let them call its owner")
            } else if let Some(owner) = owners.insert(number, &file.path) {
                format!("table {number} belongs to {}", owner.display())
            } else {
                continue;
            };
            problems.push(Problem::new(&file.path, line, message));
        }
    }
    problems
}

#[test]
fn tables_have_one_owner() {
    let a = "const A: Table = Table(1);\npub(crate) const B: Table = Table(2);\n";
    let files = [
        super::file("crates/client/src/a.rs", a),
        super::file("crates/client/src/c.rs", "const C: Table = Table(1);\n"),
    ];
    let wrong = [
        "crates/client/src/a.rs:2: table 2 is open to other files; let them call its owner",
        "crates/client/src/c.rs:1: table 1 belongs to crates/client/src/a.rs",
    ];
    assert_eq!(super::told(&check(&files)), wrong);
}
