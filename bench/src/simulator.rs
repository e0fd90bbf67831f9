//! How fast the simulator lets time pass, and what its hosts take: networks of 100, 1,000 and
//! 10,000 nodes with the people that they have, and 10,000 nodes with nobody.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sim::{Milestone, Options, Scenario, Span, Talk, Tally, Weather};

use crate::measure::{memory_kib, processor_time};

/// A network, and how its people talk.
#[derive(Clone, Copy, Debug)]
struct Town {
    nodes: u32,
    people: u32,
    /// Between two things that a person does, in the mean.
    every: Duration,
    lasts: Duration,
}

/// What was there at one moment.
#[derive(Clone, Debug)]
struct Mark {
    processor: Duration,
    memory_kib: u64,
    tally: Tally,
}

pub(crate) fn run(nodes: Option<&str>) -> Result<()> {
    let only: Option<u32> = nodes.map(str::parse).transpose()?;
    println!(
        "sim: people with one friend each; texts, one in four things is reading all there is;"
    );
    println!("  all checkers on; one thread; times are of the processor");
    println!("  target: 1,000 nodes with 5,000 people 20 times as fast as real time");
    println!("  target: 10,000 idle nodes in 8 GiB");
    for town in TOWNS {
        if only.is_none_or(|only| only == town.nodes) {
            town.measure()?;
        }
    }
    Ok(())
}

impl Town {
    fn scenario(&self) -> Scenario {
        let acts = self.lasts.as_secs() * 3 / self.every.as_secs();
        Scenario {
            name: "town".into(),
            about: String::new(),
            nodes: self.nodes,
            people: self.people,
            friends: 1.min(self.people),
            acquainted: true,
            lasts: Span(self.lasts),
            talk: Talk {
                acts: acts as u32,
                every: Span(self.every),
                edits: 0.0,
                deletions: 0.0,
                reactions: 0.0,
                reads: 0.25,
                rekeys: 0.0,
            },
            network: Weather { regions: 4, ..Weather::default() },
            disks: Default::default(),
            skew: Span(Duration::from_secs(1)),
            behind_nat: Vec::new(),
            churn: None,
            liars: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn measure(&self) -> Result<()> {
        let scenario = self.scenario();
        let Self { nodes, people, every, lasts } = *self;
        println!("  {nodes} nodes, {people} people, one thing each {every:?}, for {lasts:?}");
        let begun = Instant::now();
        let start = Mark::take(&Tally::default())?;
        let mut marks = Vec::new();
        let report =
            sim::run_watched(&scenario, 1, Options::default(), &mut |_: Milestone, tally| {
                marks.push(Mark::take(tally));
            });
        let [settled, talked] = &*marks.into_iter().collect::<Result<Vec<_>>>()? else {
            return Err(anyhow::anyhow!("the run broke off: {:?}", report.violations));
        };
        let end = Mark::take(&report.tally)?;
        println!("    set-up   {}", start.until(settled));
        println!("    talking  {}", settled.until(talked));
        println!("    checks   {}", talked.until(&end));
        println!(
            "    memory   {:.2} GiB after set-up, {:.2} after talking; {:.0} s on the clock in all",
            settled.gib(),
            talked.gib(),
            begun.elapsed().as_secs_f64()
        );
        ensure!(report.violations.is_empty(), "{:?}", report.violations);
        Ok(())
    }
}

impl Mark {
    fn take(tally: &Tally) -> Result<Self> {
        let process = std::process::id();
        Ok(Self {
            processor: processor_time(process)?,
            memory_kib: memory_kib(process)?,
            tally: tally.clone(),
        })
    }

    fn gib(&self) -> f64 {
        self.memory_kib as f64 / f64::from(1 << 20)
    }

    /// What happened from here to there.
    fn until(&self, end: &Self) -> String {
        let took = (end.processor - self.processor).as_secs_f64();
        let passed = (end.tally.simulated - self.tally.simulated).as_secs_f64();
        let shown = end.tally.shown - self.tally.shown;
        let steps = end.tally.steps - self.tally.steps;
        format!(
            "{took:6.1} s for {passed:6.0} s: {:6.1} × real time, {:5.2} hours a minute; \
             {:6.0} messages, {:7.0} steps a second",
            passed / took,
            passed / took / 60.0,
            shown as f64 / took,
            steps as f64 / took,
        )
    }
}

/// A person says about 40 things a day, and in a busy hour one each two minutes.
const TOWNS: [Town; 6] = [
    Town { nodes: 100, people: 500, every: BUSY, lasts: HOUR },
    Town { nodes: 100, people: 500, every: DAILY, lasts: HOUR },
    Town { nodes: 1000, people: 5000, every: BUSY, lasts: HOUR },
    Town { nodes: 1000, people: 5000, every: DAILY, lasts: HOUR },
    Town { nodes: 10_000, people: 500, every: BUSY, lasts: HOUR },
    Town { nodes: 10_000, people: 0, every: DAILY, lasts: HOUR },
];
const HOUR: Duration = Duration::from_secs(3600);
const BUSY: Duration = Duration::from_secs(120);
const DAILY: Duration = Duration::from_secs(36 * 60);
