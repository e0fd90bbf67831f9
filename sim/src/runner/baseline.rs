//! What messages cost in every named scenario, compared with what they cost before.

use std::{collections::BTreeMap, error::Error, io::Write, path::Path};

use sim::Options;

use super::{
    failure,
    outcome::Outcome,
    simulator::Simulator,
    source::{Source, read, write},
    sweep::{self, Plan},
    table::{Table, fixed, ratio, tenths_of_ms},
};

/// Runs all named scenarios and compares them with the baseline, or rewrites the baseline. Returns
/// whether nothing fails and nothing got much worse.
pub(super) fn run(
    simulator: &impl Simulator,
    threads: usize,
    update: bool,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let sources = Source::all()?;
    let options = Options::default();
    let plan =
        Plan { sources: &sources, seeds: SEED..SEED + 1, threads, keep_going: true, options };
    let ran = sweep::sweep(simulator, &plan);
    let mut found = Baseline::default();
    for (source, ran) in sources.iter().zip(&ran) {
        if !ran.outcome.is_well() {
            writeln!(out, "{}", failure::describe(source, ran, options))?;
        }
        found.0.insert(source.name(), figures(&ran.outcome));
    }
    write!(out, "{}", found.table())?;
    if ran.iter().any(|ran| !ran.outcome.is_well()) {
        writeln!(out, "\na run that fails is no baseline")?;
        return Ok(false);
    }
    let path = Path::new(BASELINE);
    // The first update makes the file, and any repairs it.
    let kept = match read(path).and_then(|text| Ok(Baseline::parse(&text)?)) {
        Err(_) if update => Baseline::default(),
        kept => kept.map_err(|error| format!("{error} (write it: {UPDATE})"))?,
    };
    let changes = compare(&kept, &found);
    write!(out, "\n{}", tell(&changes))?;
    if update {
        write(path, &found.text())?;
        writeln!(out, "written to {BASELINE}")?;
        return Ok(true);
    }
    let worse = changes.iter().any(Change::is_too_bad);
    if worse {
        writeln!(out, "that is too much; if it is meant: {UPDATE}")?;
    }
    Ok(!worse)
}

/// A figure that is compared.
struct Column {
    name: &'static str,
    decimals: u32,
    /// Which way is worse. Everything costs, but the messages are what is paid for.
    more_is_worse: bool,
}

/// One scenario's, each in units of its column's last decimal; nothing where there is none, as
/// there is no latency without messages.
type Figures = [Option<u64>; COLUMNS.len()];

fn figures(outcome: &Outcome) -> Figures {
    let tally = &outcome.tally;
    let per_message = |number, decimals| ratio(number, tally.said, decimals);
    let [p50, p99] = outcome.latency.map(|us| us.map(tenths_of_ms));
    [
        Some(tally.said),
        Some(tally.stored),
        Some(tally.frames),
        per_message(tally.bytes, 0),
        per_message(tally.hops, 2),
        per_message(tally.syncs, 2),
        Some(tally.connections),
        p50,
        p99,
    ]
}

/// Figures by scenario.
#[derive(Debug, Default, PartialEq, Eq)]
struct Baseline(BTreeMap<String, Figures>);

impl Baseline {
    fn table(&self) -> Table {
        let mut header = vec!["scenario"];
        header.extend(COLUMNS.iter().map(|column| column.name));
        let mut table = Table::new(&header);
        for (name, figures) in &self.0 {
            let cells = COLUMNS.iter().zip(figures).map(|(column, figure)| column.cell(*figure));
            table.push([name.clone()].into_iter().chain(cells).collect());
        }
        table
    }

    /// The file.
    fn text(&self) -> String {
        format!("{PREFACE}{}", self.table())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = (1_usize..).zip(text.lines());
        let mut lines = lines.filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let (number, header) = lines.next().ok_or_else(|| format!("{BASELINE}: it is empty"))?;
        let columns = COLUMNS.iter().map(|column| column.name);
        if !header.split_whitespace().skip(1).eq(columns) {
            return Err(format!("{BASELINE}:{number}: these are not the columns of today"));
        }
        let mut baseline = Self::default();
        for (number, line) in lines {
            let wrong = |what| format!("{BASELINE}:{number}: {what}");
            let (name, figures) = parse_line(line).map_err(wrong)?;
            if baseline.0.insert(name, figures).is_some() {
                return Err(wrong("this scenario has two lines".to_owned()));
            }
        }
        Ok(baseline)
    }
}

fn parse_line(line: &str) -> Result<(String, Figures), String> {
    // From the right: a scenario's name may have spaces.
    let mut cells: Vec<&str> = line.split_whitespace().collect();
    let first = cells.len().checked_sub(COLUMNS.len()).filter(|names| *names > 0);
    let figures = cells.split_off(first.ok_or("too few cells")?);
    let mut parsed = [None; COLUMNS.len()];
    for ((figure, column), cell) in parsed.iter_mut().zip(&COLUMNS).zip(figures) {
        *figure = column.parse(cell).ok_or_else(|| format!("`{cell}` is no {}", column.name))?;
    }
    Ok((cells.join(" "), parsed))
}

impl Column {
    fn cell(&self, figure: Option<u64>) -> String {
        figure.map_or_else(|| NONE.to_owned(), |figure| fixed(figure, self.decimals))
    }

    fn parse(&self, cell: &str) -> Option<Option<u64>> {
        if cell == NONE {
            return Some(None);
        }
        let digits = cell.replace('.', "").parse().ok()?;
        // Only what would be written so again.
        (self.cell(Some(digits)) == cell).then_some(Some(digits))
    }
}

/// How what is found differs from what was kept.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// A cell is another.
    Cell { scenario: String, column: usize, was: Option<u64>, is: Option<u64> },
    /// There is no line for a scenario.
    New(String),
    /// There is no scenario for a line.
    Gone(String),
}

impl Change {
    /// Returns whether the change must be confirmed. A missing or additional line must be: nothing
    /// else would show that the baseline is of other scenarios.
    fn is_too_bad(&self) -> bool {
        let Self::Cell { column, was, is, .. } = self else { return true };
        let more_is_worse = COLUMNS.get(*column).is_none_or(|column| column.more_is_worse);
        let (Some(was), Some(is)) = (*was, *is) else { return is.is_none() };
        let (was, is) = (u128::from(was), u128::from(is));
        if more_is_worse {
            is.saturating_mul(100) > was.saturating_mul(100 + WORSE_PERCENT_MAX)
        } else {
            is.saturating_mul(100) < was.saturating_mul(100 - WORSE_PERCENT_MAX)
        }
    }
}

fn compare(kept: &Baseline, found: &Baseline) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, figures) in &found.0 {
        let Some(before) = kept.0.get(name) else {
            changes.push(Change::New(name.clone()));
            continue;
        };
        for (column, (&was, &is)) in before.iter().zip(figures).enumerate() {
            if was != is {
                changes.push(Change::Cell { scenario: name.clone(), column, was, is });
            }
        }
    }
    let gone = kept.0.keys().filter(|name| !found.0.contains_key(*name));
    changes.extend(gone.cloned().map(Change::Gone));
    changes
}

fn tell(changes: &[Change]) -> String {
    if changes.is_empty() {
        return format!("as in {BASELINE}\n");
    }
    let mut table = Table::new(&["changed", "figure", "was", "is", "change", ""]);
    for change in changes {
        let mark = if change.is_too_bad() { "!" } else { "" };
        let cells = match change {
            Change::Cell { scenario, column, was, is } => {
                let Some(column) = COLUMNS.get(*column) else { continue };
                let percent = percent(*was, *is);
                [scenario, column.name, &column.cell(*was), &column.cell(*is), &percent, mark]
                    .map(str::to_owned)
            }
            Change::New(name) => [name, "all", "no line", "", "", mark].map(str::to_owned),
            Change::Gone(name) => [name, "all", "", "no scenario", "", mark].map(str::to_owned),
        };
        table.push(cells.to_vec());
    }
    table.to_string()
}

/// The change as `+8.3 %`.
fn percent(was: Option<u64>, is: Option<u64>) -> String {
    let (Some(was), Some(is)) = (was, is) else { return String::new() };
    let sign = if is < was { '-' } else { '+' };
    let tenths = ratio(is.abs_diff(was), was, 3);
    tenths.map_or_else(String::new, |tenths| format!("{sign}{} %", fixed(tenths, 1)))
}

const fn cost(name: &'static str, decimals: u32) -> Column {
    Column { name, decimals, more_is_worse: true }
}

const COLUMNS: [Column; 9] = [
    Column { name: "messages", decimals: 0, more_is_worse: false },
    cost("stored", 0),
    cost("frames", 0),
    cost("bytes/msg", 0),
    cost("hops/msg", 2),
    cost("syncs/msg", 2),
    cost("connections", 0),
    cost("p50-ms", 1),
    cost("p99-ms", 1),
];
const SEED: u64 = 1;
const WORSE_PERCENT_MAX: u128 = 5;
const NONE: &str = "-";
const BASELINE: &str = "sim/baseline.txt";
const UPDATE: &str = "cargo xtask sim --baseline --update";
const PREFACE: &str = "\
# What messages cost in each scenario of sim/scenarios, with seed 1. Written by
# `cargo xtask sim --baseline --update`; without `--update` it compares.
# msg: a message said. hops: frames that carry an entry. p50, p99: from saying to showing.

";

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Figures = [
        Some(100),
        Some(200),
        Some(3000),
        Some(1200),
        Some(250),
        Some(400),
        Some(0),
        Some(1234),
        None,
    ];

    fn baseline(lines: &[(&str, Figures)]) -> Baseline {
        Baseline(lines.iter().map(|(name, figures)| ((*name).to_owned(), *figures)).collect())
    }

    /// What is said, and whether it is too bad, of one figure changed.
    fn changed(column: usize, is: Option<u64>) -> (String, bool) {
        let mut after = BEFORE;
        after[column] = is;
        let changes = compare(&baseline(&[("a", BEFORE)]), &baseline(&[("a", after)]));
        let said = tell(&changes).lines().nth(1).unwrap_or_default().to_owned();
        let words: Vec<&str> = said.split_whitespace().collect();
        (words.join(" "), changes.iter().any(Change::is_too_bad))
    }

    fn said(text: &str, bad: bool) -> (String, bool) {
        (text.to_owned(), bad)
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let kept = baseline(&[("two friends", BEFORE), ("adversaries", [Some(0); 9])]);
        let text = kept.text();
        assert_eq!(Baseline::parse(&text), Ok(kept));
        let last = text.lines().last().unwrap();
        assert!(last.ends_with("2.50       4.00            0   123.4       -"), "{text}");
    }

    #[test]
    fn bad_lines_are_told_with_their_number() {
        let good = baseline(&[("a", BEFORE)]).text();
        let error = |text: &str| Baseline::parse(text).unwrap_err();
        assert!(error("").contains("empty"));
        assert!(error("\nscenario messages").starts_with("sim/baseline.txt:2: these are not"));
        assert!(error(&format!("{good}b 1 2")).ends_with("txt:7: too few cells"));
        let typo = good.replace("2.50", "2.5x");
        assert!(error(&typo).ends_with("txt:6: `2.5x` is no hops/msg"), "{}", error(&typo));
        let last = good.lines().last().unwrap();
        assert!(error(&format!("{good}{last}")).ends_with("two lines"));
    }

    #[test]
    fn what_costs_more_is_worse_and_messages_are_what_is_paid_for() {
        assert_eq!(changed(0, Some(100)), said("", false));
        assert_eq!(changed(3, Some(1260)), said("a bytes/msg 1200 1260 +5.0 %", false));
        assert_eq!(changed(3, Some(1261)), said("a bytes/msg 1200 1261 +5.1 % !", true));
        assert_eq!(changed(3, Some(600)), said("a bytes/msg 1200 600 -50.0 %", false));
        assert_eq!(changed(0, Some(95)), said("a messages 100 95 -5.0 %", false));
        assert_eq!(changed(0, Some(94)), said("a messages 100 94 -6.0 % !", true));
        assert_eq!(changed(0, Some(200)), said("a messages 100 200 +100.0 %", false));
    }

    #[test]
    fn nothing_and_zero_are_compared_too() {
        assert_eq!(changed(6, Some(1)), said("a connections 0 1 !", true));
        assert_eq!(changed(7, None), said("a p50-ms 123.4 - !", true));
        assert_eq!(changed(8, Some(5)), said("a p99-ms - 0.5", false));
    }

    #[test]
    fn lines_that_are_new_or_gone_must_be_seen() {
        let changes = compare(&baseline(&[("old", BEFORE)]), &baseline(&[("new", BEFORE)]));
        assert_eq!(changes, [Change::New("new".to_owned()), Change::Gone("old".to_owned())]);
        assert!(changes.iter().all(Change::is_too_bad));
        assert!(tell(&changes).contains("no line"));
    }

    #[test]
    fn figures_are_per_message_said() {
        let mut outcome = Outcome::default();
        assert_eq!(figures(&outcome)[3..6], [None; 3]);
        outcome.tally.said = 4;
        (outcome.tally.bytes, outcome.tally.hops, outcome.tally.syncs) = (4002, 10, 3);
        outcome.latency = [Some(1_250), Some(99_949)];
        let found = figures(&outcome);
        assert_eq!(found[3..6], [Some(1001), Some(250), Some(75)]);
        assert_eq!(found[7..], [Some(13), Some(999)]);
    }
}
