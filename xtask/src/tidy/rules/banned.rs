//! Words that engineers of the field don't search for, and what they would write.
//!
//! In comments, documents, strings, and names of functions (a test's name is a sentence). What
//! stands in backticks is quoted, and so is a block of `text` in a document: it shows a program's
//! output.

use std::path::Path;

use super::RustFile;
use crate::tidy::{Problem, Source};

/// Checks prose line by line; a phrase may be broken over two.
pub(super) fn check(files: &[RustFile], sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| !LISTS.iter().any(|list| file.path == Path::new(list))) {
        problems.extend(in_prose(&file.path, &file.prose));
        for function in &file.functions {
            let sentence = function.name.replace('_', " ");
            let found = banned(&sentence, "").into_iter();
            problems.extend(found.map(|message| Problem::new(&file.path, function.line, message)));
        }
    }
    for source in sources.iter().filter(|source| !source.is("rs") && !source.is("lock")) {
        problems.extend(in_prose(&source.path, &source.text));
    }
    problems
}

fn in_prose(path: &Path, text: &str) -> Vec<Problem> {
    let mut quoted = false;
    let is_schema = path.extension().is_some_and(|extension| extension == "proto");
    let prose = |line: &str| {
        if is_schema && !line.trim_start().starts_with("//") {
            return String::new();
        }
        let fence = line.trim_start().strip_prefix("```");
        quoted = fence.map_or(quoted, |language| language == "text");
        if quoted { String::new() } else { plain(line) }
    };
    let lines: Vec<String> = text.lines().map(prose).collect();
    let following = lines.iter().skip(1).map(String::as_str).chain([""]);
    let lines = (1..).zip(&lines).zip(following).filter(|((_, line), _)| !line.is_empty());
    lines
        .flat_map(|((number, line), next)| {
            banned(line, next).into_iter().map(move |message| Problem::new(path, number, message))
        })
        .collect()
}

/// In small letters, without comment marks and what stands in backticks.
fn plain(line: &str) -> String {
    let line = line.trim().trim_start_matches(['/', '!', '#', '>']).trim_start();
    let outside = line.split('`').step_by(2);
    outside.collect::<Vec<_>>().join("`").to_lowercase()
}

/// Complaints about the phrases that begin in `line`; they may end in the `next`.
fn banned(line: &str, next: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().chain(next.split_whitespace()).collect();
    let starts = 0..line.split_whitespace().count();
    let mut complaints = Vec::new();
    for rest in starts.filter_map(|start| words.get(start..)) {
        let first = rest.first().map_or("", |word| stripped(word));
        let banned = BANNED.iter().filter(|(phrase, _)| {
            !first.is_empty() && phrase.starts_with(first) && begins_with(rest, phrase)
        });
        complaints.extend(banned.map(|(phrase, better)| format!("not \"{phrase}\" but {better}")));
    }
    complaints
}

/// Returns whether `words` begin with those of `phrase`, with nothing but space between them.
fn begins_with(words: &[&str], phrase: &str) -> bool {
    let last = phrase.split(' ').count().saturating_sub(1);
    let mut count = 0..;
    phrase.split(' ').all(|sought| {
        let index = count.next().unwrap_or_default();
        let word = words.get(index).copied().unwrap_or_default();
        let from = if index == 0 { word.trim_start_matches(is_mark) } else { word };
        let whole = if index == last { stripped(from) } else { from };
        whole == sought
    })
}

/// A word without the marks around it and the `'s` behind it.
fn stripped(word: &str) -> &str {
    let word = word.trim_matches(is_mark);
    word.strip_suffix("'s").unwrap_or(word)
}

fn is_mark(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

/// They list words that are not to be used.
const LISTS: [&str; 2] = ["xtask/src/tidy/rules/banned.rs", "xtask/src/tidy/rules/retired.rs"];

const BANNED: [(&str, &str); 49] = [
    ("a moment", "the number of milliseconds"),
    ("all the same", "still"),
    ("anew", "again"),
    ("as quick as it may", "however fast"),
    ("be it", "whether … or"),
    ("by lot", "at random"),
    ("ever less", "with back-off"),
    ("ever longer", "with back-off"),
    ("ever more", "with back-off"),
    ("fare", "status"),
    ("fares", "status"),
    ("for all one knows", "apparently"),
    ("for ever", "indefinitely"),
    ("for good", "permanently"),
    ("gave up", "dropped"),
    ("give up", "drop"),
    ("given up", "dropped"),
    ("gives up", "drops"),
    ("giving up", "dropping"),
    ("goes on with", "switches to"),
    ("go on with", "switch to"),
    ("going on with", "switching to"),
    ("heed", "apply"),
    ("heeded", "applied"),
    ("heeds", "applies"),
    ("hereafter", "later"),
    ("in need", "when needed"),
    ("in vain", "without success"),
    ("in whatever way", "arbitrarily"),
    ("is late with", "is slow to"),
    ("likewise", "also"),
    ("mend", "repair or heal"),
    ("mended", "repaired or healed"),
    ("mending", "repair"),
    ("mends", "repairs or heals"),
    ("nobody", "the peer: no node, no client"),
    ("of late", "recently"),
    ("save that", "except that"),
    ("shun", "penalise"),
    ("shunned", "penalised"),
    ("shunning", "penalising"),
    ("shuns", "penalises"),
    ("somebody", "the peer: a node, a client"),
    ("thereby", "so"),
    ("to be had", "available"),
    ("untold", "unannounced"),
    ("whichever of", "either, any of"),
    ("whoever", "any peer that"),
    ("whomever", "any peer that"),
];

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn found(text: &str) -> usize {
        in_prose(Path::new("a.md"), text).len()
    }

    #[test]
    fn banned_words_are_found() {
        assert_eq!(found("It has failed Of Late."), 1);
        assert_eq!(found("/// It waits for\n/// ever."), 1);
        assert_eq!(found("(nobody) waits in vain: nobody's"), 3);
        assert_eq!(
            found("Amended `mend` recommends welfare. It knows all. The same | for | ever."),
            0
        );
    }

    #[test]
    fn code_is_not_prose_but_names_are() {
        let text = "fn is_told_for_good() { shun(\"of late\"); }";
        assert_eq!(check(&[file("a.rs", text)], &[]).len(), 2);
    }
}
