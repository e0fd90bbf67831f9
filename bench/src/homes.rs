//! The cost of storing each message at several nodes: how much later it arrives and counts as
//! stored, and how many a second all of them take.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use proto::{NodeAddress, Ranking};
use tokio::time::sleep;

use crate::{
    crowd::{Authors, Crowd, Plan, authors},
    env::Env,
    measure::{DiskProbe, Samples, micros, millis},
    sender::{Author, Order},
};

pub(crate) async fn run(options: &[String]) -> Result<()> {
    let messages: u64 = options.first().map_or(Ok(ALONE), |count| count.parse())?;
    println!("homes: 100-byte messages at so many nodes; each is a process that syncs to one disk");
    println!("  alone: {messages} messages, one after the other");
    let mut first = None;
    for case in CASES {
        let alone = case.alone(messages).await?;
        let first: &Alone = first.get_or_insert_with(|| alone.clone());
        alone.show(case.copies, first);
    }
    println!("  together: {DEVICES} people, {WINDOW} messages of each on their way, until the");
    println!("  writer has the acks of all copies");
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
    homes: [&'static [usize]; 2],
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
    /// The addresses of the homes.
    fn homes(&self, env: &Env) -> [Vec<NodeAddress>; 2] {
        self.homes.map(|homes| homes.iter().map(|number| env.address(*number)).collect())
    }

    async fn alone(&self, messages: u64) -> Result<Alone> {
        let mut env = Env::new(self.copies)?;
        env.keep_devices_in_memory();
        let mut pair = env.pair_at(self.homes(&env)).await?;
        // The nodes have to find each other, and the devices how long each takes.
        sleep(FIND_EACH_OTHER).await;
        pair.say_each(messages.min(WARM_UP), || Ok(())).await?;
        pair.quiesce().await;
        env.used()?;
        let (mut probe, mut raw) = (DiskProbe::new(env.path())?, Samples::default());
        let [arrived, stored] = pair
            .say_each(messages, || {
                raw.push(probe.sample()?);
                Ok(())
            })
            .await?;
        let syncs = env.used()?.syncs;
        ensure!(syncs.iter().all(|syncs| *syncs >= messages), "a node has no copy of all");
        let syncs = syncs.iter().sum::<u64>() as f64 / messages.max(1) as f64;
        Ok(Alone { arrived, stored, syncs, raw })
    }

    async fn together(&self) -> Result<Together> {
        let mut env = Env::new(self.copies)?;
        let homes = self.homes(&env);
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
        env.used()?;
        let begun = Instant::now();
        writers.order(Order::ReadyMade(WINDOW)).await?;
        let wanted = (TOGETHER * self.copies) as u64;
        while writers.acks() < wanted {
            if begun.elapsed() > PATIENCE {
                bail!("{} of {wanted} acks came", writers.acks());
            }
            // The acks are counted by other threads, which are not to be held up by telling.
            sleep(Duration::from_millis(2)).await;
        }
        let took = begun.elapsed();
        let used = env.used()?;
        for crowd in others.into_iter().chain([writers]) {
            crowd.leave().await?;
        }
        Ok(Together {
            per_s: TOGETHER as f64 / took.as_secs_f64(),
            nodes: used.nodes / TOGETHER as u32,
            syncs: used.syncs.iter().sum::<u64>() as f64 / TOGETHER as f64,
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
        let plan = Plan { ready_made, ..Plan::new(DEVICES) };
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
const ALONE: u64 = 1000;
const WARM_UP: u64 = 200;
/// Of all people together.
const TOGETHER: usize = 64_000;
const DEVICES: u32 = 64;
/// Fewer than a node remembers for a connection.
const WINDOW: u64 = 32;
const FIND_EACH_OTHER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
