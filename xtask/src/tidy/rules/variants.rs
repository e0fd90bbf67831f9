//! A request says what it is by its variant, never by a magic value such as `u64::MAX` inside.
//!
//! A sentinel is a second meaning that every `match` has to know of, and the compiler reminds of
//! none.

use super::RustFile;
use crate::tidy::{Problem, rust::closing};

/// Checks constructions and patterns of requests.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_in("crates") && !file.is_test(1)) {
        for name in REQUESTS {
            for (at, _) in file.code.match_indices(name) {
                let rest = file.code.get(at.saturating_add(name.len())..).unwrap_or_default();
                let after = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                let has_fields = after.starts_with('(') || after.starts_with(" {");
                let fields = after.trim_start();
                let fields = fields.get(..closing(fields).unwrap_or_default()).unwrap_or_default();
                if has_fields && fields.contains("::MAX") {
                    let line = file.code.get(..at).unwrap_or_default().matches('\n').count();
                    let message = "a magic value in a request: give it a variant";
                    problems.push(Problem::new(&file.path, line.saturating_add(1), message));
                }
            }
        }
    }
    problems
}

const REQUESTS: [&str; 2] = ["Request::", "Ask::"];

#[test]
fn magic_values_are_found() {
    let text = "ask(Request::Append(inbox, u64::MAX));\nask(Request::Append(log, 1), u64::MAX);\n\
                ask(Request::Fetch { from: 0, to: u32::MAX });\n";
    let found = check(&[super::file("crates/client/src/a.rs", text)]);
    assert_eq!(found.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 3]);
}
