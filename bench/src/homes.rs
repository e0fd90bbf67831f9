//! The cost of storing each message at several nodes: how much later it arrives and counts as
//! stored, and how many a second all of them take.

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use proto::{NodeAddress, Ranking};
use tokio::time::sleep;

use crate::{
    crowd::{Authors, Crowd, Plan, authors},
    measure::{DiskProbe, Samples, Scratch, micros, millis},
    node_process::NodeProcess,
    people::Pair,
    sender::{Author, Order},
};

pub(crate) async fn run(messages: Option<&str>) -> Result<()> {
    let messages: u64 = messages.map_or(Ok(ALONE), str::parse)?;
    println!("homes: 100-byte messages at so many nodes; each is a process that syncs to one disk");
    println!("  alone: {messages} messages, one after the other");
    let mut first = None;
    for case in CASES {
        let alone = case.alone(messages).await?;
        let first: &Alone = first.get_or_insert_with(|| alone.clone());
        alone.show(case.copies, first);
    }
    println!(
        "  together: {DEVICES} people, {WINDOW} messages of each on their way, until the writer"
    );
    println!("  has the receipts of all copies");
    let mut first = None;
    for case in CASES {
        let together = case.together().await?;
        let ratio = together.per_s / first.get_or_insert(together).per_s;
        println!("  {} copies  {together}   {ratio:.2} of one copy's rate", case.copies);
    }
    Ok(())
}

/// Where two people are at home, by the numbers of nodes, and how many these are.
#[derive(Clone, Copy, Debug)]
struct Case {
    copies: usize,
    homes: [&'static [u8]; 2],
}

/// How long messages took that were sent alone.
#[derive(Clone, Debug)]
struct Alone {
    arrived: Samples,
    stored: Samples,
    /// Disk syncs of all nodes for each message.
    syncs: f64,
    raw: Samples,
}

/// What many people have sent at once.
#[derive(Clone, Copy, Debug)]
struct Together {
    per_s: f64,
    /// Processor time of all nodes for each message.
    nodes: Duration,
    syncs: f64,
}

impl Case {
    /// Starts a node for each home. Returns them with the homes' addresses.
    fn start(&self, directory: &Path) -> Result<(Vec<NodeProcess>, [Vec<NodeAddress>; 2])> {
        let numbers: BTreeSet<u8> = self.homes.iter().copied().flatten().copied().collect();
        ensure!(numbers.len() == self.copies, "a case is wrong");
        let start = |number| NodeProcess::start_as(number, &directory.join(number.to_string()));
        let nodes = numbers.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        let address = |number: &u8| nodes[usize::from(*number)].address();
        let homes = self.homes.map(|homes| homes.iter().map(address).collect());
        Ok((nodes, homes))
    }

    async fn alone(&self, messages: u64) -> Result<Alone> {
        let directory = Scratch::on_disk()?;
        // Devices have disks of their own in life; on one disk their syncs are in the nodes' way.
        let memory = Scratch::within(Path::new(MEMORY)).ok();
        let devices = memory.as_ref().unwrap_or(&directory).path();
        let (mut nodes, homes) = self.start(directory.path())?;
        let mut pair = Pair::meet_from(devices, homes).await?;
        // The nodes have to find each other, and the devices how long each takes.
        sleep(FIND_EACH_OTHER).await;
        pair.say_each(messages.min(WARM_UP), || Ok(())).await?;
        pair.settle().await;
        for node in &mut nodes {
            node.disk_figures()?;
        }
        let (mut probe, mut raw) = (DiskProbe::new(directory.path())?, Samples::default());
        let [arrived, stored] = pair
            .say_each(messages, || {
                raw.push(probe.sample()?);
                Ok(())
            })
            .await?;
        let mut syncs = 0;
        for node in &mut nodes {
            let figures = node.disk_figures()?;
            ensure!(figures.syncs >= messages, "a node has no copy of all");
            syncs += figures.syncs;
        }
        Ok(Alone { arrived, stored, syncs: syncs as f64 / messages.max(1) as f64, raw })
    }

    async fn together(&self) -> Result<Together> {
        let directory = Scratch::on_disk()?;
        let (mut nodes, homes) = self.start(directory.path())?;
        let ranking = ranking(&homes);
        let (mut writers, mut others) = (None, Vec::new());
        for node in &ranking.nodes {
            let authors = self.authors(&homes, node, writers.is_none())?;
            let crowd = Crowd::connect(authors, node, false, Some(ranking.clone())).await?;
            match &writers {
                None => writers = Some(crowd),
                Some(_) => others.push(crowd),
            }
        }
        let writers = writers.context("a ranking without nodes")?;
        // Nothing tells from outside when nodes have opened all logs at each other.
        sleep(FIND_EACH_OTHER).await;
        let time = |nodes: &[NodeProcess]| -> Result<Duration> {
            nodes.iter().map(NodeProcess::processor_time).sum()
        };
        let before = time(&nodes)?;
        for node in &mut nodes {
            node.disk_figures()?;
        }
        let begun = Instant::now();
        writers.order(Order::ReadyMade(WINDOW)).await?;
        let wanted = (TOGETHER * self.copies) as u64;
        while writers.receipts() < wanted {
            if begun.elapsed() > PATIENCE {
                bail!("{} of {wanted} receipts came", writers.receipts());
            }
            // The receipts are counted by other threads, which are not to be held up by telling.
            sleep(Duration::from_millis(2)).await;
        }
        let took = begun.elapsed();
        let mut syncs = 0;
        for node in &mut nodes {
            syncs += node.disk_figures()?.syncs;
        }
        let used = time(&nodes)?.saturating_sub(before);
        for crowd in others.into_iter().chain([writers]) {
            crowd.leave().await?;
        }
        Ok(Together {
            per_s: TOGETHER as f64 / took.as_secs_f64(),
            nodes: used / TOGETHER as u32,
            syncs: syncs as f64 / TOGETHER as f64,
        })
    }

    /// The users of a node, one of each conversation, with all the messages to be sent there, or
    /// with nothing.
    fn authors(
        &self,
        homes: &[Vec<NodeAddress>; 2],
        node: &NodeAddress,
        speak: bool,
    ) -> Result<Authors> {
        let side = usize::from(!homes[0].contains(node));
        let ready_made = if speak { TOGETHER } else { 0 };
        let plan = Plan { devices: DEVICES, first: 0, ready_made, follow: false };
        authors(plan, |conversation| {
            let account = conversation + side as u32 * DEVICES;
            Author::member(conversation, account, homes[side].clone())
        })
    }
}

/// Homes in turns, each once, as devices rank them.
fn ranking([writers, readers]: &[Vec<NodeAddress>; 2]) -> Ranking {
    let mut nodes: Vec<NodeAddress> = Vec::new();
    for (writers, readers) in writers.iter().zip(readers) {
        for home in [writers, readers] {
            if !nodes.contains(home) {
                nodes.push(home.clone());
            }
        }
    }
    Ranking { version: 1, nodes, reserve: Vec::new() }
}

impl Alone {
    fn show(&self, copies: usize, first: &Self) {
        let lines =
            [("arrived", &self.arrived, &first.arrived), ("stored", &self.stored, &first.stored)];
        for (what, samples, first) in lines {
            let ratio = millis(samples.percentile(50)) / millis(first.percentile(50));
            println!(
                "  {copies} copies  {what:8} {}   {ratio:.2} of one copy's p50",
                samples.show()
            );
        }
        let raw = self.raw.show();
        println!("            {:.1} syncs a message; raw fdatasync {raw}", self.syncs);
    }
}

impl fmt::Display for Together {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_s, nodes, syncs } = self;
        write!(out, "{per_s:8.0}/s   nodes' processor time {:5.1} µs", micros(*nodes))?;
        write!(out, " and {syncs:.3} syncs a message")
    }
}

/// Three are two homes each, of which the two share one.
const CASES: [Case; 4] = [
    Case { copies: 1, homes: [&[0], &[0]] },
    Case { copies: 2, homes: [&[0], &[1]] },
    Case { copies: 3, homes: [&[0, 1], &[2, 1]] },
    Case { copies: 4, homes: [&[0, 1], &[2, 3]] },
];
const MEMORY: &str = "/dev/shm";
const ALONE: u64 = 1000;
const WARM_UP: u64 = 200;
/// Of all people together.
const TOGETHER: usize = 64_000;
const DEVICES: u32 = 64;
/// Fewer than a node remembers for a connection.
const WINDOW: u64 = 32;
const FIND_EACH_OTHER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
