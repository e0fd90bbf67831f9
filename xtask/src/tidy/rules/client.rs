//! The client is one machine of many concerns, and each keeps to itself.
//!
//! A method of `Client` can reach every concern, so nothing stops it from tying two together. Only
//! `machine.rs` may do that: it is the page on which all flow between concerns stands. For the same
//! reason no function takes a `Client`, and no module opens its fields to others.
//!
//! Plain data is excepted: a struct without methods whose fields are all open, such as one that
//! names several arguments or results. It keeps no promise that a field could break.

use std::collections::BTreeSet;

use super::{RustFile, client_files};
use crate::tidy::{Problem, ratchet::Rule, rust::closing};

/// Checks who implements and receives `Client`, and whose fields are open.
pub(super) fn check(files: &[RustFile]) -> Vec<Rule> {
    let all = |check: fn(&RustFile) -> Vec<Problem>| client_files(files).flat_map(check).collect();
    vec![
        Rule { name: "impl_client", problems: all(methods) },
        Rule { name: "client_parameters", problems: all(parameters) },
        Rule { name: "open_fields", problems: fields(files) },
        Rule { name: "crate_items", problems: crate_items(files) },
    ]
}

fn is_machine(file: &RustFile) -> bool {
    file.path.ends_with("machine.rs")
}

fn methods(file: &RustFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, _) in file.code.match_indices("impl Client {").filter(|_| !is_machine(file)) {
        let (before, rest) = file.code.split_at_checked(at).unwrap_or_default();
        let first = before.matches('\n').count().saturating_add(1);
        let block = closing_brace(rest);
        let last = first.saturating_add(block.matches('\n').count());
        let inside =
            file.functions.iter().filter(|function| (first..=last).contains(&function.line));
        problems.extend(inside.map(|function| {
            let message = format!("`Client::{}` belongs to a module of its own", function.name);
            Problem::new(&file.path, function.line, message)
        }));
    }
    problems
}

fn closing_brace(text: &str) -> &str {
    let Some(brace) = text.find('{') else { return text };
    let length = text.get(brace..).and_then(closing).unwrap_or_default();
    text.get(..brace.saturating_add(length)).unwrap_or(text)
}

fn parameters(file: &RustFile) -> Vec<Problem> {
    let functions = file.product_functions().filter(|_| !is_machine(file));
    functions
        .filter(|function| function.types().any(|kind| kind == "Client"))
        .map(|function| {
            let message =
                format!("`{}` takes the whole client; hand in what it needs", function.name);
            Problem::new(&file.path, function.line, message)
        })
        .collect()
}

fn fields(files: &[RustFile]) -> Vec<Problem> {
    let lines = client_files(files).flat_map(|file| file.product());
    let with_methods: BTreeSet<&str> = lines.filter_map(|(_, line)| with_methods(line)).collect();
    client_files(files).flat_map(|file| open_fields(file, &with_methods)).collect()
}

fn open_fields(file: &RustFile, with_methods: &BTreeSet<&str>) -> Vec<Problem> {
    let (mut problems, mut open, mut is_plain) = (Vec::new(), Vec::new(), false);
    for (number, line) in file.product() {
        if let Some((_, rest)) = line.split_once("struct ") {
            is_plain = !with_methods.contains(first_name(rest)) && rest.ends_with('{');
        }
        if is_open_field(line) {
            open.push(Problem::new(&file.path, number, "a field is private"));
        } else if line.starts_with("    ") && line.ends_with(',') && line.contains(": ") {
            is_plain = false;
        }
        if line == "}" || line.ends_with(");") {
            problems.extend(open.drain(..).filter(|_| !is_plain));
            is_plain = false;
        }
    }
    problems
}

/// The type of a line that begins an `impl` without a trait.
fn with_methods(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let generics = if rest.starts_with('<') { rest.find('>')?.saturating_add(1) } else { 0 };
    let rest = rest.get(generics..)?.trim_start();
    (!rest.contains(" for ")).then(|| first_name(rest))
}

fn first_name(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Rustfmt puts every field of a struct on a line of its own, unless all fit on one.
fn is_open_field(line: &str) -> bool {
    ["pub(crate) ", "pub(super) "].iter().any(|scope| {
        line.match_indices(scope).any(|(at, _)| {
            let rest = line.get(at.saturating_add(scope.len())..).unwrap_or_default();
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).unwrap_or_default();
            let is_tuple = line.trim_start().contains("struct ") && !ITEMS.contains(&name);
            after.starts_with(": ") || is_tuple
        })
    })
}

/// What is open to the whole crate is the crate's inner interface; a deep module's is small.
fn crate_items(files: &[RustFile]) -> Vec<Problem> {
    let (mut lines, mut items) = (0_usize, Vec::new());
    for file in client_files(files) {
        for (number, line) in file.product() {
            lines = lines.saturating_add(1);
            if line.trim_start().starts_with("pub(crate)") {
                items.push((file, number));
            }
        }
    }
    let allowed = lines.saturating_mul(CRATE_ITEMS_MAX) / 1000;
    let message = format!(
        "{} items of the client are `pub(crate)`, {allowed} may be ({CRATE_ITEMS_MAX} per 1,000 lines)",
        items.len()
    );
    // All of them beyond the limit are counted at one place, wherever they stand.
    let beyond = items.len().saturating_sub(allowed);
    (0..beyond).map(|_| Problem::new("crates/client/src/lib.rs", 1, &message)).collect()
}

const ITEMS: [&str; 9] = ["struct", "fn", "enum", "const", "static", "type", "trait", "mod", "use"];
const CRATE_ITEMS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::{file, told};
    use super::*;

    #[test]
    fn only_the_machine_implements_the_client() {
        let text = "impl Client {\n    fn a(&self) {}\n\n    fn b(&self) {}\n}\nfn c() {}\n";
        let found = methods(&file("crates/client/src/a.rs", text));
        assert_eq!(found.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 4]);
        assert!(methods(&file("crates/client/src/machine.rs", text)).is_empty());
    }

    #[test]
    fn no_function_takes_the_client() {
        let text = "fn a(b: &mut Client) {}\nfn c(d: &ClientId) {}\n";
        let found = told(&parameters(&file("crates/client/src/a.rs", text)));
        let wrong = "crates/client/src/a.rs:1: `a` takes the whole client; hand in what it needs";
        assert_eq!(found, [wrong]);
    }

    #[test]
    fn open_fields_are_found() {
        let open =
            ["    pub(crate) a: u8,", "    pub(super) b: C,", "pub(super) struct D(pub(super) E);"];
        let shut = [
            "    a: u8,",
            "    pub b: C,",
            "pub(crate) fn d(e: F) {",
            "pub(crate) const G: u8 = 1;",
        ];
        assert!(open.into_iter().all(is_open_field));
        assert!(!shut.into_iter().any(is_open_field));
    }

    #[test]
    fn plain_data_is_open() {
        let text = "pub(crate) struct A {\n    pub(crate) a: u8,\n    pub(crate) b: u8,\n}\n\
                    pub(crate) struct B {\n    pub(crate) a: u8,\n    b: u8,\n}\n\
                    pub(crate) struct C<'a> {\n    pub(crate) a: &'a u8,\n}\n\
                    impl<'a> C<'a> {\n    fn d(&self) {}\n}\n\
                    impl Clone for A {\n}\n";
        let found = fields(&[file("crates/client/src/a.rs", text)]);
        assert_eq!(found.iter().map(|problem| problem.line).collect::<Vec<_>>(), [6, 10]);
    }

    #[test]
    fn items_beyond_the_limit_are_counted() {
        let text = "pub(crate) fn a() {}\n".repeat(3) + &"//\n".repeat(47);
        let files = [file("crates/client/src/a.rs", &text)];
        assert_eq!(crate_items(&files).len(), 2);
    }
}
