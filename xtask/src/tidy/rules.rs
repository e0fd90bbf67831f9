//! The rules of the house that are still broken somewhere, one file each; `ratchet.rs` counts.

use super::{Source, ratchet::Rule, rust::RustFile};

mod banned;
mod circles;
mod client;
mod durability;
mod floors;
mod named_files;
mod retired;
mod signatures;
mod size;
mod tables;
mod variants;
mod width;

/// Checks all of them.
pub(super) fn check(sources: &[Source]) -> Vec<Rule> {
    let files = RustFile::all(sources);
    let mut rules = vec![
        Rule { name: "banned_words", problems: banned::check(&files, sources) },
        Rule { name: "circles", problems: circles::check(&files) },
        Rule { name: "durability", problems: durability::check(&files) },
        Rule { name: "floors", problems: floors::check(&files) },
        Rule { name: "named_files", problems: named_files::check(sources) },
        Rule { name: "retired_names", problems: retired::check(&files) },
        Rule { name: "shared_tables", problems: tables::check(&files) },
        Rule { name: "magic_requests", problems: variants::check(&files) },
        Rule { name: "wide_comments", problems: width::check(&files) },
    ];
    rules.extend(client::check(&files));
    rules.extend(signatures::check(&files));
    rules.extend(size::check(&files, sources));
    rules
}

/// Returns the files of the client that are part of the product.
fn client_files(files: &[RustFile]) -> impl Iterator<Item = &RustFile> {
    files.iter().filter(|file| file.is_in("crates/client/src"))
}

#[cfg(test)]
fn told(problems: &[super::Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
fn file(path: &str, text: &str) -> RustFile {
    RustFile::new(std::path::Path::new(path), text)
}
