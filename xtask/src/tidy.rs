//! `cargo xtask tidy`: the house rules that the compiler does not know, each told like a compiler
//! error: `path:line: message`.

use std::{error::Error, fmt, path::PathBuf};

use crate::codegen;
use source::Source;

mod budget;
mod documents;
mod manifests;
mod modules;
mod source;
mod words;

/// Checks everything and prints what is wrong.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let sources = source::read_all()?;
    let packages = manifests::read(&sources)?;
    let mut problems = manifests::check(&packages);
    problems.extend(modules::check(&packages, &sources));
    problems.extend(words::check(&sources));
    problems.extend(documents::check(&sources));
    problems.extend(budget::check(&packages, &sources));
    if !codegen::is_current()? {
        let message = "does not match spec/proto; run `cargo xtask codegen`";
        problems.push(Problem::new(codegen::TARGET, 1, message));
    }
    problems.sort();
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        found => Err(format!("untidy: {found} problems").into()),
    }
}

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
