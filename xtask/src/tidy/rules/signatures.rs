//! What a signature promises.
//!
//! - A predicate asks and changes nothing, or a reader who skips it misses an effect.
//! - What takes an input, a frame or an event begins with `on_` or `handle`, so that the way in is
//!   found by search.
//! - A pair of parameters is no parameter: two values that always travel together are a type.

use super::RustFile;
use crate::tidy::{Problem, ratchet::Rule, rust::Function};

/// Checks predicates, the names of handlers, and parameters.
pub(super) fn check(files: &[RustFile]) -> Vec<Rule> {
    let mut predicates = Vec::new();
    let mut handlers = Vec::new();
    let mut tuples = Vec::new();
    for file in files {
        for function in &file.functions {
            let problem = |message| Problem::new(&file.path, function.line, message);
            let name = &function.name;
            if is_mutating_predicate(function) {
                predicates.push(problem(format!("`{name}` asks, so it takes no `&mut self`")));
            }
            if is_tuple_pattern(function) {
                let message = format!("`{name}` takes a tuple apart; give the pair a type");
                tuples.push(problem(message));
            }
            let handles = HANDLERS_IN.iter().any(|source| file.is_in(source));
            if handles && !file.is_test(function.line) && is_unnamed_handler(function) {
                handlers
                    .push(problem(format!("`{name}` takes an input: name it `on_…` or `handle`")));
            }
        }
    }
    vec![
        Rule { name: "mutating_predicates", problems: predicates },
        Rule { name: "handler_names", problems: handlers },
        Rule { name: "tuple_parameters", problems: tuples },
    ]
}

fn is_mutating_predicate(function: &Function) -> bool {
    let asks = PREDICATES.iter().any(|prefix| function.name.starts_with(prefix));
    let receiver = function.parameters.first();
    asks && receiver.is_some_and(|first| first.starts_with("&mut ") || first == "mut self")
}

fn is_tuple_pattern(function: &Function) -> bool {
    function.parameters.iter().any(|parameter| parameter.starts_with('('))
}

/// Only methods that change the machine: what encodes or checks a frame is no handler, and what
/// sends one says so.
fn is_unnamed_handler(function: &Function) -> bool {
    let changes = function.parameters.first().is_some_and(|first| first == "&mut self");
    let takes =
        function.parameters.iter().filter_map(|parameter| Some(parameter.split_once(": ")?.1));
    let takes_input = takes
        .map(|kind| kind.rsplit("::").next().unwrap_or(kind))
        .any(|kind| ["Input", "Frame", "Body"].contains(&kind) || kind.ends_with("Event"));
    let is_named = NAMED.iter().any(|prefix| function.name.starts_with(prefix));
    changes && takes_input && !is_named
}

const PREDICATES: [&str; 4] = ["is_", "has_", "can_", "needs_"];
const HANDLERS_IN: [&str; 4] =
    ["crates/client/src", "crates/node/src", "crates/routing/src", "crates/siskin/src"];
const NAMED: [&str; 11] = [
    "on_", "handle", "dispatch", "send", "push", "emit", "queue", "request", "reply", "ask",
    "transmit",
];

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn found(signature: &str) -> Vec<&'static str> {
        let rules = check(&[file("crates/client/src/a.rs", &format!("{signature} {{}}"))]);
        rules.iter().filter(|rule| !rule.problems.is_empty()).map(|rule| rule.name).collect()
    }

    #[test]
    fn predicates_do_not_mutate() {
        assert_eq!(found("fn is_up(&mut self)"), ["mutating_predicates"]);
        assert_eq!(found("fn is_up(&self)"), [""; 0]);
        assert_eq!(found("fn issue(&mut self)"), [""; 0]);
    }

    #[test]
    fn handlers_are_called_so() {
        assert_eq!(found("fn home_is_up(&mut self, frame: Frame)"), ["handler_names"]);
        assert_eq!(found("fn look(&mut self, event: log::LogEvent)"), ["handler_names"]);
        assert_eq!(found("fn on_frame(&mut self, frame: Frame)"), [""; 0]);
        assert_eq!(found("fn send(&mut self, frame: Frame)"), [""; 0]);
        assert_eq!(found("fn check(frame: Frame)"), [""; 0]);
    }

    #[test]
    fn pairs_have_a_type() {
        assert_eq!(found("fn a((b, c): (B, C))"), ["tuple_parameters"]);
        assert_eq!(found("fn a(b: (B, C))"), [""; 0]);
    }
}
