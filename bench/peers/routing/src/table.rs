//! The figures of several subjects side by side.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
};

use anyhow::{Context, Result, ensure};

use crate::{siskin::Siskin, subject::Subject};

/// What a child process has measured, by name.
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Reads what a child process writes until it ends.
    pub(crate) fn read(output: impl Read) -> Result<Self> {
        let mut figures = BTreeMap::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            let (name, value) = line.split_once(' ').context("no figure")?;
            figures.insert(name.to_owned(), value.parse()?);
        }
        ensure!(figures.contains_key("after.memory_kib"), "it has not come to its end");
        Ok(Self(figures))
    }
}

/// Prints a column for each subject, and ours as parts of each of theirs.
pub(crate) fn print(nodes: usize, columns: &[(&str, Figures)]) {
    if columns.is_empty() {
        return;
    }
    let (ours, theirs) =
        columns.split_at(columns.iter().take_while(|c| c.0 == Siskin::NAME).count());
    let ours = ours.first();
    let mut head = vec![format!("{nodes} nodes")];
    head.extend(columns.iter().map(|(name, _)| (*name).to_owned()));
    if ours.is_some() {
        head.extend(theirs.iter().map(|(name, _)| format!("ours/{name}")));
    }
    line(&head);
    line(&vec!["---".to_owned(); head.len()]);
    for (name, title) in ROWS {
        let value = |figures: &Figures| figures.0.get(*name).copied();
        let mut cells = vec![(*title).to_owned()];
        cells.extend(columns.iter().map(|(_, figures)| shown(value(figures))));
        if let Some((_, ours)) = ours {
            for (_, theirs) in theirs {
                let ratio = match (value(ours), value(theirs)) {
                    (Some(ours), Some(theirs)) if theirs > 0.0 => Some(ours / theirs),
                    _ => None,
                };
                cells.push(ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            }
        }
        line(&cells);
    }
    println!();
}

fn line(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

const ROWS: &[(&str, &str)] = &[
    ("join_cpu_ms", "processor time to join, ms per node"),
    ("before.put_ok", "put: success, %"),
    ("before.put_p50", "put: p50, ms"),
    ("before.put_p99", "put: p99, ms"),
    ("before.put_copies", "put: copies"),
    ("before.put_requests", "put: requests"),
    ("before.put_cpu_ms", "put: processor time, ms"),
    ("before.get_ok", "get: success, %"),
    ("before.get_p50", "get: first valid, p50, ms"),
    ("before.get_p99", "get: first valid, p99, ms"),
    ("before.end_p50", "get: confirmed, p50, ms"),
    ("before.end_p99", "get: confirmed, p99, ms"),
    ("before.get_requests", "get: requests"),
    ("before.get_cpu_ms", "get: processor time, ms"),
    ("before.connections_mean", "connections of a node, mean"),
    ("before.connections_max", "connections of a node, most"),
    ("before.memory_kib", "memory, KiB per node"),
    ("after.get_ok", "30 % killed, get: success, %"),
    ("after.get_p50", "30 % killed, get: first valid, p50, ms"),
    ("after.get_p99", "30 % killed, get: first valid, p99, ms"),
    ("after.end_p50", "30 % killed, get: confirmed, p50, ms"),
    ("after.end_p99", "30 % killed, get: confirmed, p99, ms"),
    ("after.get_requests", "30 % killed, get: requests"),
    ("after.put_ok", "30 % killed, put: success, %"),
    ("after.put_p50", "30 % killed, put: p50, ms"),
    ("after.put_p99", "30 % killed, put: p99, ms"),
    ("after.put_copies", "30 % killed, put: copies"),
    ("after.put_requests", "30 % killed, put: requests"),
    ("after.connections_mean", "30 % killed, connections of a node, mean"),
    ("after.connections_max", "30 % killed, connections of a node, most"),
    ("after.memory_kib", "30 % killed, memory, KiB per living node"),
];
