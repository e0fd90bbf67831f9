//! What is kept of one run.

use std::{collections::BTreeMap, fmt::Write as _};

use sim::{Count, Purpose, Report, Rule, Tally, Violation};

use super::{
    panics,
    table::{fixed, grouped, percentile, ratio, span, tenths_of_ms},
};

/// What is kept of one run. Two runs with the same seed have equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) hash: [u8; 32],
    pub(super) violations: Vec<Violation>,
    /// What the run said when it panicked.
    pub(super) panic: Option<String>,
    /// Without the latencies, which are many.
    pub(super) tally: Tally,
    /// Latencies in microseconds that 50 and 99 of 100 messages keep.
    pub(super) latency: [Option<u64>; 2],
    /// The same of 50, 95, 99 and 100 %, of messages before the run quiesced to devices that were
    /// up.
    pub(super) talk_latency: [Option<u64>; 4],
    pub(super) transcript: Vec<String>,
}

impl Outcome {
    /// Runs and lets a panic print.
    pub(super) fn of(run: impl FnOnce() -> Report) -> Self {
        Self::from_result(panics::catch(false, run))
    }

    /// Runs and prints nothing.
    pub(super) fn quietly_of(run: impl FnOnce() -> Report) -> Self {
        Self::from_result(panics::catch(true, run))
    }

    fn from_result(result: Result<Report, String>) -> Self {
        let mut report = match result {
            Ok(report) => report,
            Err(panic) => return Self { panic: Some(panic), ..Self::default() },
        };
        let mut latencies = std::mem::take(&mut report.tally.latencies_us);
        latencies.sort_unstable();
        let mut of_talk = std::mem::take(&mut report.tally.talk_latencies_us);
        of_talk.sort_unstable();
        Self {
            hash: report.hash,
            violations: report.violations,
            panic: None,
            tally: report.tally,
            latency: [50, 99].map(|percent| percentile(&latencies, percent)),
            talk_latency: [50, 95, 99, 100].map(|percent| percentile(&of_talk, percent)),
            transcript: report.transcript,
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.panic.is_none() && self.violations.is_empty()
    }

    /// Violations, and a panic is one.
    pub(super) fn wrongs(&self) -> usize {
        self.violations.len().saturating_add(usize::from(self.panic.is_some()))
    }

    /// Returns the main fault: a panic, or the rule that was broken first.
    pub(super) fn verdict(&self) -> Verdict {
        match (&self.panic, self.violations.first()) {
            (Some(_), _) => Verdict::Panics,
            (None, Some(first)) => Verdict::Breaks(first.rule),
            (None, None) => Verdict::Well,
        }
    }

    /// Returns whether this run has the main fault of another one.
    pub(super) fn shows(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Well => self.is_well(),
            Verdict::Panics => self.panic.is_some(),
            Verdict::Breaks(rule) => self.violations.iter().any(|found| found.rule == rule),
        }
    }

    /// The first of what is wrong, a line each; nothing if all is well.
    pub(super) fn complaints(&self) -> String {
        let mut text = String::new();
        let panic = self.panic.iter().map(|panic| format!("Panic: {panic}"));
        let all = panic.chain(self.violations.iter().map(Violation::to_string));
        for line in all.take(COMPLAINTS_MAX) {
            let _ = writeln!(text, "  {}", line.replace('\n', "\n    "));
        }
        let more = self.wrongs().saturating_sub(COMPLAINTS_MAX);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more");
        }
        text
    }

    /// All there is to say of a single run.
    pub(super) fn description(&self) -> String {
        let tally = &self.tally;
        let latency = self.talk_latency.map(|us| {
            us.map_or_else(|| "none".to_owned(), |us| format!("{} ms", fixed(tenths_of_ms(us), 1)))
        });
        let [p50, p95, p99, most] = latency;
        let delivered = ratio(tally.delivered.saturating_mul(100), tally.texts, 5);
        let delivered = delivered.map_or_else(|| "-".to_owned(), |share| fixed(share, 5));
        let lines = [
            ("hash", hex(&self.hash)),
            ("virtual time", span(tally.simulated)),
            ("messages", format!("{} said, {} shown", grouped(tally.said), grouped(tally.shown))),
            ("delivered", format!("{delivered} % of {} texts", grouped(tally.texts))),
            ("latency", format!("p50 {p50}, p95 {p95}, p99 {p99}, at most {most}")),
            ("frames", format!("{} of {} bytes", grouped(tally.frames), grouped(tally.bytes))),
            ("entries", format!("{} hops, {} stored", grouped(tally.hops), grouped(tally.stored))),
            ("syncs", grouped(tally.syncs)),
            ("connections", grouped(tally.connections)),
            ("convicted", grouped(tally.convicted)),
            ("steps", grouped(tally.steps)),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:14}{value}");
        }
        text += &between_nodes(&tally.between_nodes);
        match self.wrongs() {
            0 => text + "violations    none\n",
            wrongs => format!("{text}violations    {wrongs}\n{}", self.complaints()),
        }
    }
}

/// What nodes said to each other, a line for each purpose, and what of it was repair.
fn between_nodes(counts: &BTreeMap<Purpose, Count>) -> String {
    let told = |count: Count| {
        format!("{} frames of {} bytes", grouped(count.frames), grouped(count.bytes))
    };
    let sum = |repair: bool| {
        let of_it = counts.iter().filter(|(purpose, _)| purpose.is_repair() == repair);
        of_it.fold(Count::default(), |sum, (_, count)| sum.with(*count))
    };
    let mut text = String::new();
    for (purpose, count) in counts {
        let name = format!("{purpose:?}").to_lowercase();
        let _ = writeln!(text, "  {name:12}{}", told(*count));
    }
    let (repair, rest) = (sum(true), sum(false));
    let share = ratio(repair.bytes.saturating_mul(100), rest.bytes, 1);
    if let Some(share) = share {
        let share = fixed(share, 1);
        let _ = writeln!(text, "repair        {}, {share} % of the rest", told(repair));
        text.insert_str(0, "between nodes\n");
    }
    text
}

/// The main fault of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    Panics,
    Breaks(Rule),
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const COMPLAINTS_MAX: usize = 5;
