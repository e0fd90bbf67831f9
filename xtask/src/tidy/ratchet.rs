//! Ratchets: rules that are not kept everywhere yet.
//!
//! `xtask/tidy.toml` lists for each rule the files that still break it and how often. The count of
//! a crate never rises; within a crate violations may move, so that code can. A count that fell is
//! recorded with `cargo xtask tidy --update`; continuous integration demands it, because unrecorded
//! progress can be lost again. A rule without a list is absolute.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use super::Problem;

/// What one rule found.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) problems: Vec<Problem>,
}

/// How often each file breaks each rule.
type Counts = BTreeMap<String, BTreeMap<PathBuf, usize>>;

/// What a comparison of the rules with the list says.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Violations that the list does not allow.
    pub(super) problems: Vec<Problem>,
    /// Whether the list allows more than there is, or elsewhere.
    pub(super) is_stale: bool,
    /// The list as it should be; it allows no crate more than the present one.
    list: Counts,
}

impl Verdict {
    /// Writes the list as it should be, and removes it once it is empty.
    pub(super) fn update(&self) -> io::Result<()> {
        match (self.list.is_empty(), Path::new(LIST).exists()) {
            (true, true) => fs::remove_file(LIST),
            (true, false) => Ok(()),
            (false, _) => fs::write(LIST, written(&self.list)),
        }
    }
}

/// Compares what the rules found with the list.
pub(super) fn compare(rules: Vec<Rule>) -> Result<Verdict, Box<dyn Error>> {
    let exists = Path::new(LIST).exists();
    let text = if exists { fs::read_to_string(LIST)? } else { String::new() };
    let list: Counts = toml::from_str(&text).map_err(|error| format!("{LIST}: {error}"))?;
    Ok(judge(rules, &list))
}

fn judge(rules: Vec<Rule>, list: &Counts) -> Verdict {
    let mut verdict = Verdict::default();
    for rule in rules {
        let mut found: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for problem in &rule.problems {
            let count = found.entry(problem.path.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let allowed = list.get(rule.name).cloned().unwrap_or_default();
        let (before, after) = (by_crate(&allowed), by_crate(&found));
        let rose: BTreeSet<PathBuf> = after
            .iter()
            .filter(|(name, count)| before.get(*name).is_none_or(|old| old < *count))
            .map(|(name, _)| name.clone())
            .collect();
        let more = |problem: &Problem| {
            let count = |counts: &BTreeMap<PathBuf, usize>| counts.get(&problem.path).copied();
            rose.contains(&crate_of(&problem.path)) && count(&found) > count(&allowed)
        };
        verdict.problems.extend(rule.problems.into_iter().filter(more).map(|problem| Problem {
            message: format!("{} ({})", problem.message, rule.name),
            ..problem
        }));
        verdict.is_stale |= found != allowed;
        let risen = |path: &Path| rose.contains(&crate_of(path));
        let kept = allowed.into_iter().filter(|(path, _)| risen(path));
        let lowered = found.into_iter().filter(|(path, _)| !risen(path));
        let list: BTreeMap<PathBuf, usize> = kept.chain(lowered).collect();
        if !list.is_empty() {
            verdict.list.insert(rule.name.to_owned(), list);
        }
    }
    verdict
}

fn by_crate(counts: &BTreeMap<PathBuf, usize>) -> BTreeMap<PathBuf, usize> {
    let mut crates: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for (path, count) in counts {
        let sum = crates.entry(crate_of(path)).or_default();
        *sum = sum.saturating_add(*count);
    }
    crates
}

/// The directory of the crate or the documents that a file belongs to.
fn crate_of(path: &Path) -> PathBuf {
    let inside = |part: &&std::ffi::OsStr| !TARGETS.iter().any(|target| *part == *target);
    let parts: Vec<_> = path.parent().into_iter().flatten().take_while(inside).collect();
    parts.into_iter().collect()
}

fn written(list: &Counts) -> String {
    let mut text = String::from(HEADER);
    for (rule, files) in list {
        let _ = writeln!(text, "\n[{rule}]");
        for (path, count) in files {
            let _ = writeln!(text, "\"{}\" = {count}", path.display());
        }
    }
    text
}

const LIST: &str = "xtask/tidy.toml";
const HEADER: &str = "\
# How often each file still breaks a rule of `cargo xtask tidy`; see `xtask/src/tidy/ratchet.rs`.
# `cargo xtask tidy --update` lowers the counts. Nothing raises them.
";
const TARGETS: [&str; 4] = ["src", "tests", "benches", "examples"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(found: &[(&str, usize)]) -> Vec<Rule> {
        let problem = |path: &&str, line| Problem::new(*path, line, "wrong");
        let problems =
            found.iter().flat_map(|(path, count)| (1..=*count).map(move |n| problem(path, n)));
        vec![Rule { name: "rule", problems: problems.collect() }]
    }

    fn list(counts: &[(&str, usize)]) -> Counts {
        let counts = counts.iter().map(|(path, count)| (PathBuf::from(path), *count)).collect();
        Counts::from([("rule".to_owned(), counts)])
    }

    #[test]
    fn what_the_list_allows_passes() {
        let verdict = judge(rule(&[("a/src/b.rs", 2)]), &list(&[("a/src/b.rs", 2)]));
        assert_eq!(verdict.problems, []);
        assert!(!verdict.is_stale);
    }

    #[test]
    fn a_rise_is_told_and_not_written_down() {
        let old = list(&[("a/src/b.rs", 1), ("a/src/c.rs", 1)]);
        let verdict = judge(rule(&[("a/src/b.rs", 2), ("a/src/c.rs", 1)]), &old);
        let told: Vec<String> = verdict.problems.iter().map(Problem::to_string).collect();
        assert_eq!(told, ["a/src/b.rs:1: wrong (rule)", "a/src/b.rs:2: wrong (rule)"]);
        assert_eq!(verdict.list, old);
    }

    #[test]
    fn a_rule_without_a_list_is_absolute() {
        assert_eq!(judge(rule(&[("spec/b.md", 1)]), &Counts::new()).problems.len(), 1);
    }

    #[test]
    fn violations_may_move_within_their_crate() {
        let old = list(&[("a/src/b.rs", 2)]);
        let verdict = judge(rule(&[("a/src/b/c.rs", 1)]), &old);
        assert_eq!(verdict.problems, []);
        assert!(verdict.is_stale);
        assert_eq!(verdict.list, list(&[("a/src/b/c.rs", 1)]));
        assert_eq!(judge(rule(&[("d/src/c.rs", 1)]), &old).problems.len(), 1);
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let old = list(&[("a/src/b.rs", 2)]);
        assert_eq!(toml::from_str::<Counts>(&written(&old)).unwrap(), old);
        assert!(judge(rule(&[]), &old).list.is_empty());
    }
}
