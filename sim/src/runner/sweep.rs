//! Many runs on many threads. What comes out does not depend on how many.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sim::Options;

use super::{outcome::Outcome, simulator::Simulator, source::Source};

/// What to run: all seeds of the first source, then those of the next.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) sources: &'a [Source],
    pub(super) seeds: Range<u64>,
    pub(super) threads: usize,
    /// Whether to go on after the first failure.
    pub(super) keep_going: bool,
    pub(super) options: Options,
}

impl Plan<'_> {
    fn len(&self) -> u64 {
        let sources = u64::try_from(self.sources.len()).unwrap_or(u64::MAX);
        self.seeds.end.saturating_sub(self.seeds.start).saturating_mul(sources)
    }

    /// The run that has this number.
    fn job(&self, number: u64) -> Option<(usize, u64)> {
        let each = self.seeds.end.saturating_sub(self.seeds.start);
        let source = usize::try_from(number.checked_div(each)?).ok()?;
        let seed = self.seeds.start.checked_add(number.checked_rem(each)?)?;
        (source < self.sources.len()).then_some((source, seed))
    }
}

/// One run that was done.
#[derive(Debug)]
pub(super) struct Ran {
    /// Which of the plan's sources.
    pub(super) source: usize,
    pub(super) seed: u64,
    pub(super) outcome: Outcome,
    /// How long it took on this machine.
    pub(super) wall: Duration,
}

/// Runs all of the plan; returns the runs in its order. Without `keep_going` the last of them is
/// the first that failed, if one did.
pub(super) fn sweep(simulator: &impl Simulator, plan: &Plan<'_>) -> Vec<Ran> {
    let next = AtomicU64::new(0);
    let stopped = AtomicBool::new(false);
    let done = Mutex::new(Done::new(plan.len()));
    let work = || {
        // Numbers are given out in order, so all that precede a failure are done or under way.
        while !stopped.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((source, seed)) = plan.job(number) else { break };
            let ran = run(simulator, plan, source, seed);
            if !plan.keep_going && !ran.outcome.is_well() {
                stopped.store(true, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push(number, ran);
        }
    };
    thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(work);
        }
    });
    let mut all = done.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    let failed = all.iter().position(|ran| !ran.outcome.is_well());
    if let Some(failed) = failed.filter(|_| !plan.keep_going) {
        // Which later ones were done is up to the threads.
        all.truncate(failed.saturating_add(1));
    }
    all
}

fn run(simulator: &impl Simulator, plan: &Plan<'_>, number: usize, seed: u64) -> Ran {
    let start = Instant::now();
    let outcome = Outcome::quietly_of(|| {
        let source = plan.sources.get(number).unwrap_or(&Source::Random);
        simulator.run(&source.scenario(simulator, seed), seed, plan.options)
    });
    Ran { source: number, seed, outcome, wall: start.elapsed() }
}

/// Finished runs by number; reports progress at intervals.
struct Done {
    ran: BTreeMap<u64, Ran>,
    failed: u64,
    total: u64,
    watched: bool,
    told: Instant,
}

impl Done {
    fn new(total: u64) -> Self {
        let watched = io::stderr().is_terminal();
        Self { ran: BTreeMap::new(), failed: 0, total, watched, told: Instant::now() }
    }

    fn push(&mut self, number: u64, ran: Ran) {
        self.failed = self.failed.saturating_add(u64::from(!ran.outcome.is_well()));
        self.ran.insert(number, ran);
        if self.watched && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            eprint!("\r\x1b[K{} of {} runs, {} failed", self.ran.len(), self.total, self.failed);
        }
    }

    fn finish(self) -> Vec<Ran> {
        if self.watched {
            eprint!("\r\x1b[K");
        }
        self.ran.into_values().collect()
    }
}

const TELL_EVERY: Duration = Duration::from_secs(1);
