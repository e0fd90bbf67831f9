//! `siskin node verify`: checks everything that a node has stored.

use std::path::Path;

use ::node::{Verified, verify};
use proto::Seed;
use serde::Serialize;
use store::Store;

use super::rows;
use crate::{failure::Failure, keys, output::Output};

/// The result of a check.
#[derive(Serialize)]
struct Report {
    logs: u64,
    envelopes: u64,
    bytes: u64,
    bundles: u64,
    faults: u64,
    /// The first hundred faults.
    shown: Vec<String>,
}

pub(super) fn run(directory: &Path, out: Output) -> Result<(), Failure> {
    if !directory.join("rows").is_dir() {
        return Err(Failure::user(format!("no node has run in {}", directory.display()))
            .hint("name its directory with --data-dir DIR"));
    }
    let store = rows::open(directory)?;
    let seen = verify(store.as_rows(), Seed(*keys::random()?));
    if let Some(error) = store.fault() {
        return Err(Failure::user(error.to_string()));
    }
    let Verified { logs, envelopes, bytes, bundles, faults, shown } = seen;
    let shown = shown.iter().map(ToString::to_string).collect();
    let report = Report { logs, envelopes, bytes, bundles, faults, shown };
    out.result(&report, describe);
    if faults == 0 {
        return Ok(());
    }
    Err(Failure::user(format!("{faults} faults")).hint(
        "keep a copy of the directory; other home nodes of a conversation also hold its entries",
    ))
}

fn describe(report: &Report) -> String {
    let Report { logs, envelopes, bytes, bundles, faults: _, shown } = report;
    let mut lines = shown.clone();
    lines.push(format!(
        "{envelopes} envelopes of {logs} logs ({bytes} bytes) and {bundles} records were verified"
    ));
    lines.join("\n")
}
