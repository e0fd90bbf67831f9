//! Files that import each other, directly or through others, can only be read together.
//!
//! A file imports another if a path in it (in a `use`, or written out in code) leads to something
//! in that other file. Four things are no imports:
//! - a `mod` declaration;
//! - a type of a module above that the file adds methods to: an `impl` spread over a module and its
//!   children is one thing in several files;
//! - a re-export that the file itself makes no use of: it is a signpost, and a path that passes it
//!   counts as an import of the file where it ends;
//! - anything in tests.
//!
//! So a parent may declare and re-export its children while they use what it defines; once its own
//! code names theirs as well, the two are a circle. What both need belongs in a third file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::RustFile;
use crate::tidy::{
    Problem,
    imports::{self, Import},
};

/// Checks each crate that has files enough to get lost in.
pub(super) fn check(files: &[RustFile]) -> Vec<Problem> {
    CRATES.iter().flat_map(|source| circles(&imports::of_crate(files, source))).collect()
}

/// Tells of each file in a circle which of the others it imports.
fn circles(imports: &[Import]) -> Vec<Problem> {
    let mut edges: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for import in imports {
        edges.entry(&import.from).or_default().insert(&import.to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        edges.keys().map(|from| (*from, reach(from, &edges))).collect();
    let reaches = |from: &Path, to: &Path| reached.get(from).is_some_and(|all| all.contains(to));
    let mut problems = Vec::new();
    for (from, targets) in &edges {
        let circle = edges.keys().filter(|to| reaches(from, to) && reaches(to, from)).count();
        let guilty = targets.iter().filter(|to| reaches(to, from));
        let names: Vec<String> = guilty.map(|to| told(to, imports, from)).collect();
        if !names.is_empty() {
            let message = format!("in a circle of {circle} files by {}", names.join(", "));
            let line =
                imports.iter().find(|import| import.from == *from && reaches(&import.to, from));
            problems.push(Problem::new(*from, line.map_or(1, |import| import.line), message));
        }
    }
    problems
}

fn told(to: &Path, imports: &[Import], from: &Path) -> String {
    let import = imports.iter().find(|import| import.from == from && import.to == to);
    let name = to.file_stem().unwrap_or_default().to_string_lossy();
    format!("`{name}` (line {})", import.map_or(1, |import| import.line))
}

fn reach<'a>(from: &'a Path, edges: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> BTreeSet<&'a Path> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for to in edges.get(file).into_iter().flatten() {
            if reached.insert(*to) {
                open.push(to);
            }
        }
    }
    reached
}

const CRATES: [&str; 9] = [
    "crates/client/src",
    "crates/crypto/src",
    "crates/net/src",
    "crates/node/src",
    "crates/proto/src",
    "crates/routing/src",
    "crates/siskin/src",
    "crates/store/src",
    "sim/src",
];

#[cfg(test)]
mod tests {
    use super::super::{file, told};
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let path = |name: &str| format!("crates/net/src/{name}.rs");
        let files: Vec<RustFile> =
            files.iter().map(|(name, text)| file(&path(name), text)).collect();
        let mut problems = check(&files);
        problems.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        told(&problems).iter().map(|told| told.replace("crates/net/src/", "")).collect()
    }

    #[test]
    fn a_circle_is_found_through_others() {
        let files = [
            ("lib", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::b::B;"),
            ("b", "fn b() { super::c::c(); }"),
            ("c", "use crate::{a::A, d::D};"),
            ("d", ""),
        ];
        assert_eq!(
            found(&files),
            [
                "a.rs:1: in a circle of 3 files by `b` (line 1)",
                "b.rs:1: in a circle of 3 files by `c` (line 1)",
                "c.rs:1: in a circle of 3 files by `a` (line 1)",
            ]
        );
    }

    #[test]
    fn a_parent_may_show_its_children_but_not_use_them() {
        let child = ("a/b", "use super::A;\npub(crate) struct B(A);");
        let shows = ("a", "mod b;\npub(crate) use b::B;\npub(crate) struct A;");
        assert_eq!(found(&[("lib", "mod a;"), shows, child]), [""; 0]);
        let uses = ("a", "mod b;\npub(crate) use b::B;\nstruct A;\nfn a(b: B) {}");
        assert_eq!(
            found(&[("lib", "mod a;"), uses, child]),
            [
                "a.rs:2: in a circle of 2 files by `b` (line 2)",
                "a/b.rs:1: in a circle of 2 files by `a` (line 1)",
            ]
        );
    }

    #[test]
    fn a_path_past_a_signpost_leads_to_its_end() {
        let files = [
            ("lib", "mod a; mod b;\npub use a::A;\nfn c(b: b::B) {}"),
            ("a", "pub struct A;"),
            ("b", "use crate::A;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn tests_may_use_what_they_like() {
        let files = [
            ("lib", "mod a; mod b;"),
            ("a", "use crate::b::B;"),
            ("b", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
