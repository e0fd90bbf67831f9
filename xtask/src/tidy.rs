//! `cargo xtask tidy`: the house rules that the compiler does not know, each told like a compiler
//! error: `path:line: message`.

use std::{error::Error, fmt, path::PathBuf};

use crate::codegen;
use source::Source;

mod budget;
mod documents;
mod imports;
mod manifests;
mod modules;
mod ratchet;
mod rules;
mod rust;
mod source;
mod words;

/// Checks everything and prints what is wrong.
///
/// `--list [RULE]` prints what the ratchets still allow, `--update` lowers them.
pub(crate) fn run(mut options: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let (option, value) = (options.next(), options.next());
    let sources = source::read_all()?;
    let rules = rules::check(&sources);
    let update = match option.as_deref() {
        None => false,
        Some("--update") => true,
        Some("--list") => return list(&rules, value.as_deref()),
        Some(other) => return Err(format!("`{other}` is neither `--list` nor `--update`").into()),
    };
    let ratchets = ratchet::compare(rules)?;
    if update {
        ratchets.update()?;
    }
    let is_lowered = update || !ratchets.is_stale;
    let mut problems = absolute(&sources)?;
    problems.extend(ratchets.problems);
    problems.sort();
    let mut shown: Vec<_> = problems.iter().collect();
    shown.dedup();
    for problem in shown {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 if is_lowered => Ok(()),
        0 if std::env::var_os("CI").is_none() => {
            eprintln!("{STALE}");
            Ok(())
        }
        0 => Err(STALE.into()),
        found => Err(format!("untidy: {found} problems").into()),
    }
}

/// Rules that are kept everywhere.
fn absolute(sources: &[Source]) -> Result<Vec<Problem>, Box<dyn Error>> {
    let packages = manifests::read(sources)?;
    let mut problems = manifests::check(&packages);
    problems.extend(modules::check(&packages, sources));
    problems.extend(words::check(sources));
    problems.extend(documents::check(sources));
    problems.extend(budget::check(&packages, sources));
    if !codegen::is_current()? {
        let message = "does not match spec/proto; run `cargo xtask codegen`";
        problems.push(Problem::new(codegen::TARGET, 1, message));
    }
    Ok(problems)
}

/// Prints all violations of one rule, or how many each has.
fn list(rules: &[ratchet::Rule], sought: Option<&str>) -> Result<(), Box<dyn Error>> {
    let Some(sought) = sought else {
        rules.iter().for_each(|rule| println!("{:5} {}", rule.problems.len(), rule.name));
        return Ok(());
    };
    let rule = rules.iter().find(|rule| rule.name == sought).ok_or("no rule has this name")?;
    let mut problems: Vec<&Problem> = rule.problems.iter().collect();
    problems.sort();
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(())
}

const STALE: &str = "less is wrong than the ratchets allow; run `cargo xtask tidy --update`";

/// One rule broken at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: PathBuf,
    line: usize,
    message: String,
}

impl Problem {
    fn new(path: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}
