//! The tables: one for each size, a column for each subject, and ours in relation to the others.

use std::collections::BTreeMap;

use crate::{
    course::{LOST_PERCENT, RECORDS},
    figures::Figures,
    subjects::{NAMES, OURS},
};

/// Prints the table of one size.
pub(crate) fn print(nodes: usize, figures: &BTreeMap<String, Figures>) {
    let theirs: Vec<&str> = NAMES.into_iter().filter(|name| *name != OURS).collect();
    println!("\n{nodes} nodes; {RECORDS} records of 500 bytes; {LOST_PERCENT} % lost at once");
    let ratios = theirs.iter().map(|name| format!("{OURS}/{name}"));
    let head: Vec<String> = NAMES.into_iter().map(str::to_owned).chain(ratios).collect();
    println!("{}", line("", &head));
    for row in ROWS {
        let value = |name: &str| figures.get(name).and_then(|figures| figures.get(row.figure));
        let mut cells: Vec<String> = NAMES.iter().map(|name| show(value(name))).collect();
        for name in &theirs {
            let ratio = value(OURS).zip(value(name)).filter(|(_, theirs)| *theirs != 0.0);
            let ratio = ratio.filter(|_| row.compared).map(|(ours, theirs)| ours / theirs);
            cells.push(ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}")));
        }
        println!("{}", line(row.title, &cells));
    }
}

fn line(title: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>15}")).collect();
    format!("{title:38}{cells}")
}

fn show(value: Option<f64>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(value) if value >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

struct Row {
    title: &'static str,
    figure: &'static str,
    /// A ratio of this says something.
    compared: bool,
}

const fn row(title: &'static str, figure: &'static str, compared: bool) -> Row {
    Row { title, figure, compared }
}

/// What a subject does not tell or does not have.
const NOTHING: &str = "–";

const ROWS: [Row; 30] = [
    row("join: all nodes, s", "join s", true),
    row("join: processor time per node, ms", "join processor ms", true),
    row("put: p50, ms", "put p50", true),
    row("put: p99, ms", "put p99", true),
    row("put: succeeded, %", "put success", false),
    row("put: requests", "put requests", true),
    row("put: nodes that acknowledged", "put stored", false),
    row("get: p50, ms", "get p50", true),
    row("get: p99, ms", "get p99", true),
    row("get: succeeded, %", "get success", false),
    row("get: had it itself (not timed), %", "get own", false),
    row("get: requests", "get requests", true),
    row("memory per node, joined, KiB", "memory joined", true),
    row("memory per node, used, KiB", "memory used", true),
    row("connections per node, joined: mean", "connections joined mean", true),
    row("connections per node, joined: max", "connections joined max", true),
    row("connections per node, used: mean", "connections used mean", true),
    row("connections per node, used: max", "connections used max", true),
    row("after the loss, get: p50, ms", "get, loss p50", true),
    row("after the loss, get: p99, ms", "get, loss p99", true),
    row("after the loss, get: succeeded, %", "get, loss success", false),
    row("after the loss, get: operations done", "get, loss count", false),
    row("after the loss, get: had it itself, %", "get, loss own", false),
    row("after the loss, get: requests", "get, loss requests", true),
    row("after the loss, put: p50, ms", "put, loss p50", true),
    row("after the loss, put: p99, ms", "put, loss p99", true),
    row("after the loss, put: succeeded, %", "put, loss success", false),
    row("after the loss, put: operations done", "put, loss count", false),
    row("after the loss, put: requests", "put, loss requests", true),
    row("after the loss, put: nodes that ack.", "put, loss stored", false),
];
