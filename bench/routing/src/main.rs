//! Benchmark: distributed hash tables side by side. Ours, libp2p's Kademlia and BitTorrent's
//! Mainline each carry the same signed records over loopback, lose nodes, and are compared. What
//! was seen is in `bench/README.md`.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks, files and arguments")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, time::timeout};

use figures::Figures;

mod course;
mod figures;
mod record;
mod subjects;
mod table;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("routing: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Some(plan) = Plan::parse(arguments)? else {
        println!("{USAGE}");
        return Ok(());
    };
    if plan.measure {
        return runtime.block_on(measure(&plan));
    }
    figures::print_machine();
    runtime.block_on(compare(&plan))
}

/// What the arguments ask for.
#[derive(Debug)]
struct Plan {
    subjects: BTreeSet<String>,
    sizes: Vec<usize>,
    at_once: usize,
    /// This is the process of one subject and size, so no table is printed.
    measure: bool,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut plan =
            Self { subjects: BTreeSet::new(), sizes: Vec::new(), at_once: 1, measure: false };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "all" => plan.subjects.extend(subjects::NAMES.map(str::to_owned)),
                "--at-once" => {
                    let number = arguments.next().context("how many at once?")?;
                    plan.at_once = number.parse::<usize>()?.max(1);
                }
                MEASURE => plan.measure = true,
                name if subjects::NAMES.contains(&name) => {
                    plan.subjects.insert(name.to_owned());
                }
                number => match number.parse() {
                    Ok(nodes) if (NODES_MIN..=NODES_MAX).contains(&nodes) => plan.sizes.push(nodes),
                    Ok(_) => bail!("from {NODES_MIN} to {NODES_MAX} nodes"),
                    Err(_) => return Ok(None),
                },
            }
        }
        if plan.subjects.is_empty() {
            plan.subjects.extend(subjects::NAMES.map(str::to_owned));
        }
        if plan.sizes.is_empty() {
            plan.sizes.extend(SIZES);
        }
        Ok(Some(plan))
    }
}

/// Measures each subject in a process of its own, whose memory is then nobody else's, and prints
/// the tables.
async fn compare(plan: &Plan) -> Result<()> {
    let here: Vec<&str> =
        subjects::NAMES.into_iter().filter(|name| plan.subjects.contains(*name)).collect();
    let mut seen: BTreeMap<usize, BTreeMap<String, Figures>> = BTreeMap::new();
    for &nodes in &plan.sizes {
        for subject in &here {
            match measure_apart(subject, nodes, plan.at_once).await {
                Ok(figures) => {
                    seen.entry(nodes).or_default().insert((*subject).to_owned(), figures);
                }
                // One that fails takes nothing from the others.
                Err(error) => println!("# {subject}, {nodes} nodes: {error:#}"),
            }
        }
    }
    for (nodes, figures) in &seen {
        table::print(*nodes, figures);
    }
    Ok(())
}

async fn measure_apart(subject: &str, nodes: usize, at_once: usize) -> Result<Figures> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(MEASURE).arg(subject).arg(nodes.to_string());
    command.arg("--at-once").arg(at_once.to_string());
    let child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output =
        timeout(SUBJECT_MAX, child.wait_with_output()).await.context("took too long")??;
    if !output.status.success() {
        bail!("{}", output.status);
    }
    Ok(Figures::read(&String::from_utf8_lossy(&output.stdout)))
}

async fn measure(plan: &Plan) -> Result<()> {
    let subject = plan.subjects.first().context("which subject?")?;
    let nodes = *plan.sizes.first().context("how many nodes?")?;
    print!("{}", subjects::measure(subject, nodes, plan.at_once).await?);
    Ok(())
}

const MEASURE: &str = "measure";
const SIZES: [usize; 2] = [50, 200];
/// What 30 % leaves of fewer can't be the majority of 20 replicas.
const NODES_MIN: usize = 20;
/// Each has a socket, and Mainline's each a thread.
const NODES_MAX: usize = 1000;
/// Joining and four rounds, each of which is bounded too.
const SUBJECT_MAX: Duration = Duration::from_secs(1200);
const USAGE: &str = "usage: cargo run --release --manifest-path bench/routing/Cargo.toml -- \
[all|siskin|libp2p|mainline] [N …] [--at-once K]

  N          nodes in the network; 50 and 200 if none is given
  --at-once  operations on their way together; one, so that latencies are clean

`bench/README.md` says more.";
