//! How fast the simulator lets time pass, and what its hosts take: networks of 100, 1,000 and
//! 10,000 nodes with their users, and 10,000 nodes without users.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
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
struct DeliveryStatus {
    processor: Duration,
    memory_kib: u64,
    tally: Tally,
}

/// Measures the town of these words, or all of them, each in a process of its own: what one has
/// freed would otherwise not be counted for the next.
pub(crate) fn run(words: &[String]) -> Result<()> {
    if let [nodes, people, every_s, lasts_s] = words {
        let seconds = |word: &String| Ok::<_, anyhow::Error>(Duration::from_secs(word.parse()?));
        let (nodes, people) = (nodes.parse()?, people.parse()?);
        let (every, lasts) = (seconds(every_s)?, seconds(lasts_s)?);
        return Town { nodes, people, every, lasts }.measure();
    }
    println!("sim: people with one friend each write and, one time in four, read all there is;");
    println!("  all checkers on, one thread, times of the processor");
    println!(
        "  targets: 1,000 nodes with 5,000 people at 20 × real time; 10,000 idle nodes in 8 GiB"
    );
    for town in TOWNS {
        let mut own = Command::new(std::env::current_exe()?);
        let ended = own.arg("sim").args(town.words()).status()?;
        ensure!(ended.success(), "it did not end well: {town:?}");
    }
    Ok(())
}

impl Town {
    fn words(&self) -> [String; 4] {
        let Self { nodes, people, every, lasts } = self;
        [
            nodes.to_string(),
            people.to_string(),
            every.as_secs().to_string(),
            lasts.as_secs().to_string(),
        ]
    }

    fn scenario(&self) -> Scenario {
        let acts = self.lasts.as_secs() * 3 / self.every.as_secs();
        Scenario {
            name: "town".into(),
            about: String::new(),
            nodes: self.nodes,
            people: self.people,
            homes: 1,
            copies: 2,
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
            adversaries: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn measure(&self) -> Result<()> {
        let scenario = self.scenario();
        let Self { nodes, people, every, lasts } = *self;
        let what = if people == 0 { "nothing".into() } else { format!("one thing each {every:?}") };
        println!("  {nodes} nodes, {people} people do {what} for {lasts:?}");
        let begun = Instant::now();
        let start = DeliveryStatus::take(&Tally::default())?;
        let mut marks = Vec::new();
        let report =
            sim::run_watched(&scenario, 1, Options::default(), &mut |_: Milestone, tally| {
                marks.push(DeliveryStatus::take(tally));
            });
        let marks: Vec<DeliveryStatus> = marks.into_iter().collect::<Result<_>>()?;
        let [settled, talked] = &*marks else { bail!("it broke off: {:?}", report.violations) };
        let end = DeliveryStatus::take(&report.tally)?;
        println!("    set-up  {}", start.until(settled));
        println!("    course  {}", settled.until(talked));
        println!("    checks  {}", talked.until(&end));
        println!(
            "    memory  {:.0} MiB after set-up, {:.0} after the course; {:.0} s on the clock",
            settled.mib(),
            talked.mib(),
            begun.elapsed().as_secs_f64()
        );
        ensure!(report.violations.is_empty(), "{:?}", report.violations);
        Ok(())
    }
}

impl DeliveryStatus {
    fn take(tally: &Tally) -> Result<Self> {
        let process = std::process::id();
        Ok(Self {
            processor: processor_time(process)?,
            memory_kib: memory_kib(process)?,
            tally: tally.clone(),
        })
    }

    fn mib(&self) -> f64 {
        self.memory_kib as f64 / 1024.0
    }

    /// What happened from here to there.
    fn until(&self, end: &Self) -> String {
        // The processor's time is counted in hundredths of a second.
        let took = (end.processor - self.processor).as_secs_f64().max(0.01);
        let passed = (end.tally.simulated - self.tally.simulated).as_secs_f64();
        let rate = |before, after| (after - before) as f64 / took;
        format!(
            "{took:6.2} s for {passed:5.0} s: {:7.1} × real time, {:6.2} hours a minute; \
             {:5.0} messages, {:6.0} frames, {:6.0} steps a second",
            passed / took,
            passed / took / 60.0,
            rate(self.tally.shown, end.tally.shown),
            rate(self.tally.frames, end.tally.frames),
            rate(self.tally.steps, end.tally.steps),
        )
    }
}

/// People do about 40 things a day, and in a busy hour one each two minutes.
const TOWNS: [Town; 7] = [
    Town { nodes: 100, people: 500, every: BUSY, lasts: HOUR },
    Town { nodes: 100, people: 500, every: DAILY, lasts: HOUR },
    Town { nodes: 1000, people: 5000, every: BUSY, lasts: HOUR },
    Town { nodes: 1000, people: 5000, every: DAILY, lasts: HOUR },
    Town { nodes: 10_000, people: 500, every: BUSY, lasts: HOUR },
    Town { nodes: 10_000, people: 500, every: DAILY, lasts: HOUR },
    Town { nodes: 10_000, people: 0, every: DAILY, lasts: HOUR },
];
const HOUR: Duration = Duration::from_secs(3600);
const BUSY: Duration = Duration::from_secs(120);
const DAILY: Duration = Duration::from_secs(36 * 60);
