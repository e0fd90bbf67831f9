//! Compares routing with other distributed hash tables: the same load on each, in the same run.
//! Each subject and size runs in a process of its own, so that its memory can be told.

#![forbid(unsafe_code)]

mod child;
mod libp2p_kad;
mod mainline_dht;
mod measure;
mod siskin;
mod subject;
mod table;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    libp2p_kad::Libp2p, mainline_dht::Mainline, siskin::Siskin, subject::Subject, table::Figures,
};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (name, sizes) = match words.split_first() {
        Some((first, [name, nodes])) if first == CHILD => return serve(name, nodes.parse()?),
        Some((name, sizes)) => (name.as_str(), sizes),
        None => (ALL, [].as_slice()),
    };
    let sizes = sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let subjects: Vec<&str> = SUBJECTS.into_iter().filter(|s| name == ALL || name == *s).collect();
    ensure!(!subjects.is_empty(), "usage: [{ALL}|{}] [NODES …]", SUBJECTS.join("|"));
    for nodes in sizes {
        // Fewer would have too few nodes left for a record's copies.
        ensure!(nodes >= 40, "at least 40 nodes");
        let mut columns = Vec::new();
        for subject in &subjects {
            match measured(subject, nodes) {
                Ok(figures) => columns.push((*subject, figures)),
                Err(error) => eprintln!("{subject}, {nodes} nodes: {error:#}"),
            }
        }
        table::print(nodes, &columns);
    }
    Ok(())
}

/// What the child process does.
fn serve(name: &str, nodes: usize) -> Result<()> {
    match name {
        Siskin::NAME => child::run::<Siskin>(nodes),
        Libp2p::NAME => child::run::<Libp2p>(nodes),
        Mainline::NAME => child::run::<Mainline>(nodes),
        _ => bail!("no such subject"),
    }
}

/// Has a child process measure one subject. The child ends when its standard input does, which is
/// also when this process is killed.
fn measured(subject: &str, nodes: usize) -> Result<Figures> {
    eprintln!("{subject}, {nodes} nodes");
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, subject, &nodes.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let input = child.stdin.take();
    let output = child.stdout.take().context("no output")?;
    let (figures, read) = std::sync::mpsc::channel();
    std::thread::spawn(move || figures.send(Figures::read(output)));
    let figures = read.recv_timeout(CHILD_MAX).context("it took too long");
    drop(input);
    let figures = figures.and_then(|figures| figures);
    if figures.is_err() {
        // It may not even read its input any more.
        let _ = child.kill();
    }
    let status = child.wait()?;
    ensure!(figures.is_err() || status.success(), "it ended with {status}");
    figures
}

const ALL: &str = "all";
/// The word that makes this a child process.
const CHILD: &str = "child";
const SUBJECTS: [&str; 3] = [Siskin::NAME, Libp2p::NAME, Mainline::NAME];
const SIZES: [usize; 2] = [50, 200];
/// To start 200 nodes takes some minutes where only a tenth of a core is left.
const CHILD_MAX: Duration = Duration::from_secs(900);
