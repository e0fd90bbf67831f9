//! Documents: what they link to and what code cites of them must exist.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Problem, Source};

/// Checks links between documents and citations of the specification.
pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources {
        if source.is("md") {
            problems.extend(broken_links(source));
        }
        if source.is("rs") || source.is("md") || source.is("proto") {
            problems.extend(broken_citations(source, sources));
        }
    }
    problems
}

fn broken_links(source: &Source) -> Vec<Problem> {
    let directory = source.path.parent().unwrap_or_else(|| Path::new(""));
    let mut problems = Vec::new();
    for (number, line) in outside_fences(source) {
        for target in links(line) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            if !normal(&directory.join(path)).exists() {
                let message = format!("the link to `{target}` leads nowhere");
                problems.push(Problem::new(&source.path, number, message));
            }
        }
    }
    problems
}

fn outside_fences(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    source.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    if normal.as_os_str().is_empty() { PathBuf::from(".") } else { normal }
}

fn broken_citations(source: &Source, sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let following = source.text.lines().skip(1).map(Some).chain([None]);
    let prose = |line: &str| !source.is("rs") || line.trim_start().starts_with("//");
    let lines = source.lines().zip(following).filter(|((_, line), _)| prose(line));
    for ((number, line), next) in lines {
        for citation in citations(line, next.unwrap_or_default()) {
            let cited = sources.iter().find(|other| other.path == Path::new(citation.chapter));
            let message = match (cited, citation.section) {
                (None, _) => format!("`{}` does not exist", citation.chapter),
                (Some(cited), Some(section)) if !sections(cited).contains(section) => {
                    format!("`{}` has no section {section}", citation.chapter)
                }
                (Some(_), _) => continue,
            };
            problems.push(Problem::new(&source.path, number, message));
        }
    }
    problems
}

#[derive(Debug, PartialEq, Eq)]
struct Citation<'a> {
    chapter: &'a str,
    section: Option<&'a str>,
}

/// What this line cites of the specification; the number may have slipped into the next line.
fn citations<'a>(line: &'a str, next: &'a str) -> impl Iterator<Item = Citation<'a>> {
    line.match_indices("spec/").filter_map(move |(at, _)| {
        let rest = line.get(at..)?;
        let (name, after) = rest.split_once(".md")?;
        let named = |c: char| c.is_alphanumeric() || "/_-".contains(c);
        let chapter = rest.get(..name.len().saturating_add(".md".len()))?;
        name.chars().all(named).then(|| Citation { chapter, section: section(after, next) })
    })
}

fn section<'a>(after: &'a str, next: &'a str) -> Option<&'a str> {
    let mut words = after
        .split_whitespace()
        .chain(next.split_whitespace().skip_while(|word| ["//!", "///", "//"].contains(word)))
        .skip_while(|word| word.chars().all(|c| "`,()".contains(c)));
    if !["section", "sections"].contains(&words.next()?) {
        return None;
    }
    let number = words.next()?.trim_matches(|c: char| !c.is_ascii_digit());
    (!number.is_empty()).then_some(number)
}

/// Numbers of the headings: `## 2. Name`, `### 2.1 Name`.
fn sections(source: &Source) -> BTreeSet<&str> {
    let headings = outside_fences(source).filter(|(_, line)| line.starts_with('#'));
    headings
        .filter_map(|(_, line)| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.'))
        .filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    fn cited(line: &'static str, next: &'static str) -> Vec<(&'static str, Option<&'static str>)> {
        citations(line, next).map(|citation| (citation.chapter, citation.section)).collect()
    }

    #[test]
    fn citations_are_read() {
        assert_eq!(
            cited("//! Drawn in `spec/logs.md`, section 2.", ""),
            [("spec/logs.md", Some("2"))]
        );
        assert_eq!(
            cited("/// See spec/logs.md, section", "/// 2.1, and"),
            [("spec/logs.md", Some("2.1"))]
        );
        assert_eq!(cited("// `spec/a.md`,", "    // section 7 says"), [("spec/a.md", Some("7"))]);
        assert_eq!(
            cited("// `spec/a.md` and `spec/b.md`.", "section"),
            [("spec/a.md", None), ("spec/b.md", None)]
        );
        assert_eq!(cited("//! The schema is in `spec/proto`; see README.md.", ""), []);
    }

    #[test]
    fn cited_sections_must_exist() {
        let sources = [
            source("spec/a.md", "# A\n\n## 1. One\n```\n## 2. Fenced\n```\n### 1.1 Inner\n"),
            source("x.rs", "// spec/a.md, section 1\n// spec/a.md, section 1.1."),
            source("y.rs", "// spec/a.md, section 2\n// spec/b.md"),
        ];
        let found: Vec<String> = check(&sources).iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            ["y.rs:1: `spec/a.md` has no section 2", "y.rs:2: `spec/b.md` does not exist"]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let text = "[x](src/main.rs#L1) [y](https://example.org/) [z](#here) [w](nowhere.md)\n\
                    ```\n[v](fenced.md)\n```\n[u](./src/../Cargo.toml)";
        let found = broken_links(&source("a.md", text));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), "a.md:1: the link to `nowhere.md` leads nowhere");
    }
}
