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
    every_s: u32,
    lasts_s: u32,
}

/// What was there at one moment.
#[derive(Clone, Debug)]
struct Moment {
    processor: Duration,
    memory_mib: f64,
    tally: Tally,
}

/// Measures the town of these words, or all of them, each in a process of its own: what one has
/// freed would otherwise not be counted for the next.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let numbers: Vec<u32> = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    if let [nodes, people, every_s, lasts_s] = *numbers {
        return Town { nodes, people, every_s, lasts_s }.measure();
    }
    println!("sim: people with one friend each write and, one time in four, read all there is;");
    println!("  all checkers on, one thread, times of the processor");
    println!(
        "  targets: 1,000 nodes with 5,000 people at 20 × real time; 10,000 idle nodes in 8 GiB"
    );
    for town in TOWNS {
        let Town { nodes, people, every_s, lasts_s } = town;
        let words = [nodes, people, every_s, lasts_s].map(|number| number.to_string());
        let ended = Command::new(std::env::current_exe()?).arg("sim").args(words).status()?;
        ensure!(ended.success(), "it did not end well: {town:?}");
    }
    Ok(())
}

impl Town {
    fn scenario(&self) -> Scenario {
        let span = |seconds: u32| Span(Duration::from_secs(seconds.into()));
        Scenario {
            name: "town".into(),
            about: String::new(),
            nodes: self.nodes,
            people: self.people,
            homes: 1,
            copies: 2,
            friends: 1.min(self.people),
            acquainted: true,
            lasts: span(self.lasts_s),
            talk: Talk {
                acts: self.lasts_s * 3 / self.every_s,
                every: span(self.every_s),
                edits: 0.0,
                deletions: 0.0,
                reactions: 0.0,
                reads: 0.25,
                rekeys: 0.0,
            },
            network: Weather { regions: 4, ..Weather::default() },
            disks: Default::default(),
            skew: span(1),
            behind_nat: Vec::new(),
            churn: None,
            adversaries: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn measure(&self) -> Result<()> {
        let scenario = self.scenario();
        let Self { nodes, people, every_s, lasts_s } = *self;
        let what =
            if people == 0 { "nothing".into() } else { format!("one thing each {every_s} s") };
        println!("  {nodes} nodes, {people} people do {what} for {lasts_s} s");
        let begun = Instant::now();
        let start = Moment::take(&Tally::default())?;
        let mut moments = Vec::new();
        let report =
            sim::run_watched(&scenario, 1, Options::default(), &mut |_: Milestone, tally| {
                moments.push(Moment::take(tally));
            });
        let moments: Vec<Moment> = moments.into_iter().collect::<Result<_>>()?;
        let [settled, talked] = &*moments else { bail!("it broke off: {:?}", report.violations) };
        let end = Moment::take(&report.tally)?;
        println!("    set-up  {}", start.until(settled));
        println!("    run     {}", settled.until(talked));
        println!("    checks  {}", talked.until(&end));
        println!(
            "    memory  {:.0} MiB after set-up, {:.0} after the run; {:.0} s on the clock",
            settled.memory_mib,
            talked.memory_mib,
            begun.elapsed().as_secs_f64()
        );
        ensure!(report.violations.is_empty(), "{:?}", report.violations);
        Ok(())
    }
}

impl Moment {
    fn take(tally: &Tally) -> Result<Self> {
        let process = std::process::id();
        Ok(Self {
            processor: processor_time(process)?,
            memory_mib: memory_kib(process)? as f64 / 1024.0,
            tally: tally.clone(),
        })
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
    Town { nodes: 100, people: 500, every_s: BUSY, lasts_s: HOUR },
    Town { nodes: 100, people: 500, every_s: DAILY, lasts_s: HOUR },
    Town { nodes: 1000, people: 5000, every_s: BUSY, lasts_s: HOUR },
    Town { nodes: 1000, people: 5000, every_s: DAILY, lasts_s: HOUR },
    Town { nodes: 10_000, people: 500, every_s: BUSY, lasts_s: HOUR },
    Town { nodes: 10_000, people: 500, every_s: DAILY, lasts_s: HOUR },
    Town { nodes: 10_000, people: 0, every_s: DAILY, lasts_s: HOUR },
];
const HOUR: u32 = 3600;
const BUSY: u32 = 120;
const DAILY: u32 = 36 * 60;
