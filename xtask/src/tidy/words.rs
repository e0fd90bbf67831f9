//! Words that must not stand in the repository.

use super::{Problem, Source};

/// Checks sources and documents line by line.
pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    sources.iter().flat_map(check_one).collect()
}

fn check_one(source: &Source) -> Vec<Problem> {
    let lock = source.path.ends_with("Cargo.lock");
    let mut problems = Vec::new();
    for (number, line) in source.lines() {
        let complaint = if lock { registry(line) } else { complaint(source, line) };
        problems.extend(complaint.map(|message| Problem::new(&source.path, number, message)));
    }
    problems
}

fn complaint(source: &Source, line: &str) -> Option<String> {
    if let Some(word) = BANNED.iter().find(|word| stands_alone(line, word)) {
        return Some(format!("`{word}` belongs to somebody's machine"));
    }
    if source.is("md") {
        return None;
    }
    if let Some(note) = NOTES.iter().find(|note| has_note(line, note)) {
        return Some(format!("{note} needs an issue: `{note}(#12)`"));
    }
    (source.is("rs") && line.contains(IGNORE))
        .then(|| "a test that does not run proves nothing".to_owned())
}

/// Tells whether `path` begins a path in this line, rather than being the middle of one.
fn stands_alone(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || ".-_}".contains(c))
    })
}

fn has_note(line: &str, note: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && !"(#)".contains(c))
        .any(|word| word == note || word.strip_prefix(note).is_some_and(|rest| rest == "()"))
}

/// A mirror's address in the lock file would make others' builds depend on it.
fn registry(line: &str) -> Option<String> {
    let registry = line.strip_prefix("source = ")?.trim_matches('"');
    (registry != PUBLIC_REGISTRY).then(|| format!("`{registry}` is not the public registry"))
}

const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

// In halves, so that this file passes its own check.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const IGNORE: &str = concat!("#[ig", "nore");
const BANNED: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check_one(&Source { path: path.into(), text: text.to_owned() }).len()
    }

    #[test]
    fn machine_paths_are_found() {
        assert_eq!(found("a.md", &format!("see `{}x`", BANNED[0])), 1);
        assert_eq!(found("a.rs", &format!("\"{}x\"", BANNED[2])), 1);
        assert_eq!(found("a.md", "docs/work/plan and /workspace"), 0);
    }

    #[test]
    fn notes_need_an_issue() {
        let note = NOTES[0];
        assert_eq!(found("a.rs", &format!("// {note}: later")), 1);
        assert_eq!(found("a.toml", &format!("# {note}")), 1);
        assert_eq!(found("a.rs", &format!("// {note}(#7): later")), 0);
        assert_eq!(found("a.rs", &format!("let {note}S = 1;")), 0);
    }

    #[test]
    fn ignored_tests_are_found() {
        assert_eq!(found("a.rs", &format!("    {IGNORE} = \"slow\"]")), 1);
        assert_eq!(found("a.md", &format!("`{IGNORE}]` is not allowed")), 0);
    }

    #[test]
    fn only_the_public_registry_is_locked() {
        assert_eq!(found("Cargo.lock", &format!("source = \"{PUBLIC_REGISTRY}\"")), 0);
        assert_eq!(found("Cargo.lock", "source = \"registry+https://mirror.example/\""), 1);
    }
}
