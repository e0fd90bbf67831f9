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
    if let Some(path) = absolute_paths(line).find(|path| !is_everywhere(path)) {
        return Some(format!("`{path}` is a path of one machine"));
    }
    if let Some(host) = HOSTS.iter().find(|host| line.contains(*host)) {
        return Some(format!("`{host}` is for cargo to choose"));
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

/// Absolute paths of two names or more: one name alone is more often a route or a fraction.
fn absolute_paths(line: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_alphanumeric() || "._-{}".contains(c);
    line.match_indices('/').filter_map(move |(at, _)| {
        let (before, path) = line.split_at_checked(at)?;
        let is_inside = |c: char| part(c) || "/:<*~)]$\\".contains(c);
        if before.ends_with(is_inside) {
            return None;
        }
        let end = path.find(|c: char| !part(c) && c != '/').unwrap_or(path.len());
        let mut names = path.get(1..end)?.split('/');
        let (first, second) = (names.next()?, names.next()?);
        let is_name = first.starts_with(|c: char| c.is_alphabetic()) && !second.is_empty();
        (is_name).then(|| path.get(..end))?
    })
}

/// Returns whether a path is one of every Unix, or of a protocol.
fn is_everywhere(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    SYSTEM.contains(&first) || PROTOCOLS.contains(&first)
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
const HOSTS: [&str; 2] = [concat!("index.", "crates.io"), concat!("static.", "crates.io")];

const SYSTEM: [&str; 9] = ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"];
/// Multiaddresses, names of stream protocols, pointers into JSON.
const PROTOCOLS: [&str; 3] = ["bench", "ip4", "wire"];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check_one(&Source { path: path.into(), text: text.to_owned() }).len()
    }

    #[test]
    fn machine_paths_are_found() {
        let [home, work] = [concat!("/ho", "me/alice/x"), concat!("/wo", "rk/siskin")];
        assert_eq!(found("a.md", &format!("see `{home}`")), 1);
        assert_eq!(found("a.rs", &format!("let path = \"{work}\";")), 1);
        assert_eq!(found("a.md", "docs/work/plan, ../work/x, `/metrics`, either/or/both"), 0);
        assert_eq!(found("a.md", "https://example.org/home/alice and <div></div>"), 0);
        assert_eq!(found("a.rs", "\"/proc/self/stat\" a / b / c // d"), 0);
    }

    #[test]
    fn registries_are_cargos_choice() {
        assert_eq!(found("a.toml", HOSTS[0]), 1);
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
