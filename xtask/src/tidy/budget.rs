//! Deep modules: how many public items a crate has for its size.

use super::{Problem, Source, manifests::Package};
use crate::codegen;

/// Prints the figures of each library and tells where the interface starts to be the
/// implementation.
pub(super) fn check(packages: &[Package], sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    println!("{:10} {:>6} {:>6} {:>16}", "crate", "lines", "public", "per 1,000 lines");
    for package in packages.iter().filter(|package| package.directory.starts_with("crates")) {
        let root = package.directory.join("src");
        let files = sources.iter().filter(|source| {
            let generated = source.path.ends_with(codegen::TARGET);
            source.is("rs") && source.path.starts_with(&root) && !generated
        });
        let (mut lines, mut items) = (0_usize, 0_usize);
        for file in files {
            lines = lines.saturating_add(file.text.lines().count());
            items = items.saturating_add(file.text.lines().filter(|line| is_public(line)).count());
        }
        let density = items.saturating_mul(1000).checked_div(lines).unwrap_or_default();
        println!("{:10} {lines:6} {items:6} {density:9} (aim {AIM})", package.name);
        let most = if REACHED.contains(&&*package.name) { AIM } else { DENSITY_MAX };
        if density > most && lines >= LINES_MIN && !MOSTLY_INTERFACE.contains(&&*package.name) {
            let message = format!(
                "{items} public items in {lines} lines: {density} per 1,000, at most {most}"
            );
            problems.push(Problem::new(package.directory.join("Cargo.toml"), 1, message));
        }
    }
    problems
}

fn is_public(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix("pub ") else { return false };
    let mut words = rest.split(|c: char| c.is_whitespace() || "<(;".contains(c));
    words.find(|word| !QUALIFIERS.contains(word)).is_some_and(|word| ITEMS.contains(&word))
        || rest.starts_with("const ")
}

const QUALIFIERS: [&str; 3] = ["const", "async", "unsafe"];
const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "static", "mod"];
const AIM: usize = 15;
const DENSITY_MAX: usize = 25;
/// Crates that have come down to the aim and stay there.
const REACHED: [&str; 1] = ["crypto"];
/// The words of the protocol, and what tests hold a network by.
const MOSTLY_INTERFACE: [&str; 2] = ["proto", "testnet"];
/// In less than this a figure per 1,000 lines says nothing.
const LINES_MIN: usize = 500;

#[test]
fn public_items_are_counted() {
    let public = ["pub fn a()", "    pub const fn b()", "pub struct C;", "pub const D: u8 = 1;"];
    let private =
        ["fn a()", "pub(crate) fn b()", "pub use c::C;", "    pub field: u8,", "// pub fn"];
    assert!(public.into_iter().all(is_public));
    assert!(!private.into_iter().any(is_public));
}
