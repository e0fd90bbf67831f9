//! What commands read from standard input.

use std::io::{self, IsTerminal, Read};

use crate::{failure::Failure, rpc::Secret};

/// Returns a text from the command line, or from standard input if it is `-` or omitted.
pub(super) fn text(given: Option<String>) -> Result<Secret, Failure> {
    match given {
        Some(text) if text != "-" => Ok(Secret::new(text)),
        None if io::stdin().is_terminal() => Err(Failure::usage("there is no text")
            .hint("give it after the name, or pipe it to standard input")),
        Some(_) | None => Ok(Secret::new(standard_input()?)),
    }
}

/// Reads all of standard input, without the line break at its end.
pub(super) fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = u64::try_from(INPUT_MAX).unwrap_or(u64::MAX);
    let read = io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| Failure::io("standard input", &error))?;
    if text.len() >= INPUT_MAX {
        return Err(Failure::user("standard input is too long for a message"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// More than the longest message.
const INPUT_MAX: usize = 1024 * 1024;
