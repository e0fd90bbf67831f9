//! The floors of the client: a module calls modules on lower floors and nothing else.
//!
//! Calls go down, events come up. Two rooms of one floor don't know each other, so that each can be
//! read, tested and replaced alone; what concerns both is said by an event and decided in
//! `machine.rs`. See ARCHITECTURE.md.

use std::path::Path;

use super::RustFile;
use crate::tidy::{Problem, imports};

/// Checks the imports of the client against its floors.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for import in imports::of_crate(files, SOURCE) {
        let (Some(from), Some(to)) = (room(&import.from), room(&import.to)) else { continue };
        if from == to {
            continue;
        }
        let message = match (floor(from), floor(to)) {
            (None, _) => format!("`{from}` is on no floor; give it one in `floors.rs`"),
            (Some(own), Some(other)) if own <= other => {
                format!("`{from}` (floor {own}) must not import `{to}` (floor {other})")
            }
            _ => continue,
        };
        problems.push(Problem::new(&import.from, import.line, message));
    }
    problems
}

/// The module at the top of the crate that a file belongs to; the crate's root is none.
fn room(file: &Path) -> Option<&str> {
    let first = file.strip_prefix(SOURCE).ok()?.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then_some(name)
}

fn floor(room: &str) -> Option<usize> {
    let index = FLOORS.iter().position(|rooms| rooms.contains(&room))?;
    Some(index.saturating_add(1))
}

const SOURCE: &str = "crates/client/src";

/// From the ground up.
const FLOORS: [&[&str]; 7] = [
    &["rows", "timers", "invite_link", "home_choice", "identity", "ranking"],
    &["topics", "command"],
    &["step"],
    &["link", "entries"],
    &["log", "contact"],
    &["conversation", "account"],
    &["machine", "view"],
];

#[cfg(test)]
mod tests {
    use super::super::{file, told};
    use super::*;

    fn found(imports: &[(&str, &str)]) -> Vec<String> {
        let rooms = FLOORS.iter().flat_map(|rooms| rooms.iter());
        let files: Vec<RustFile> = rooms
            .map(|room| {
                let uses = imports.iter().filter(|(from, _)| from == room);
                let text: String = uses.map(|(_, to)| format!("use crate::{to}::X;\n")).collect();
                file(&format!("{SOURCE}/{room}.rs"), &text)
            })
            .collect();
        let mut problems = check(&files);
        problems.sort();
        told(&problems)
    }

    #[test]
    fn calls_go_down() {
        assert_eq!(found(&[("machine", "log"), ("log", "link"), ("view", "rows")]), [""; 0]);
    }

    #[test]
    fn nothing_looks_up_or_across() {
        assert_eq!(
            found(&[("log", "conversation"), ("log", "contact")]),
            [
                "crates/client/src/log.rs:1: `log` (floor 5) must not import `conversation` (floor 6)",
                "crates/client/src/log.rs:2: `log` (floor 5) must not import `contact` (floor 5)",
            ]
        );
    }

    #[test]
    fn a_new_room_needs_a_floor() {
        let log = file("crates/client/src/log.rs", "");
        let new = file("crates/client/src/vault.rs", "use crate::log::X;");
        let wrong =
            "crates/client/src/vault.rs:1: `vault` is on no floor; give it one in `floors.rs`";
        assert_eq!(told(&check(&[log, new])), [wrong]);
    }
}
