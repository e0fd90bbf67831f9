//! Hashes of all traces, compared with those of `sim/oracle.txt`. A refactoring changes none.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io::Write,
    path::Path,
    time::Instant,
};

use sim::Options;

use super::{
    cli::Cli,
    failure,
    outcome::hex,
    simulator::Simulator,
    source::{Source, read, write},
    summary::{self, SHORT, trace_hash},
    sweep::{self, Plan, Ran},
    table::Table,
};

/// Runs the random seeds and, if all of them are run, the named scenarios as well, and compares the
/// hashes of their traces with the file, or writes that file. Returns whether no run fails and all
/// hashes are equal.
pub(super) fn run(
    cli: &Cli,
    simulator: &impl Simulator,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let count = cli.seeds.unwrap_or(SEEDS);
    let has_blocks = count.is_multiple_of(BLOCK) && count <= SEEDS;
    if !has_blocks || cli.update && count < SEEDS {
        let wrong = "the oracle has blocks of 100 seeds, of 1000 in all, and is updated as a whole";
        return Err(wrong.into());
    }
    let mut parts = vec![(vec![Source::Random], count)];
    if count == SEEDS {
        parts.push((Source::all()?, 1));
    }
    let mut found = Hashes::default();
    for (sources, seeds) in parts {
        let plan = Plan {
            sources: &sources,
            seeds: FIRST..FIRST.saturating_add(seeds),
            threads: cli.threads(),
            keep_going: false,
            options: Options::default(),
        };
        let start = Instant::now();
        let ran = sweep::sweep(simulator, &plan);
        write!(out, "{}", summary::summary(&plan, &ran, start.elapsed()))?;
        if !failure::report(simulator, &plan, &ran, out)? {
            writeln!(out, "\na run that fails is not compared with {ORACLE}")?;
            return Ok(false);
        }
        let sizes = if count == SEEDS { &[BLOCK, SEEDS][..] } else { &[BLOCK] };
        found.add(&sources, &ran, sizes);
    }
    let path = Path::new(ORACLE);
    if cli.update {
        write(path, &found.text())?;
        writeln!(out, "written to {ORACLE}")?;
        return Ok(true);
    }
    let kept =
        Hashes::parse(&read(path).map_err(|error| format!("{error} (write it: {UPDATE})"))?)?;
    let differences = kept.differences(&found, count == SEEDS);
    write!(out, "\n{}", tell(&differences))?;
    Ok(differences.is_empty())
}

/// Hashes in hexadecimal, by what was run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hashes(BTreeMap<String, String>);

/// A hash that was kept and the one that was found, by what was run.
type Difference<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

impl Hashes {
    /// Adds what was run of some sources; of random ones in blocks of these sizes.
    fn add(&mut self, sources: &[Source], ran: &[Ran], sizes: &[u64]) {
        let mut keyed: BTreeMap<String, Vec<&Ran>> = BTreeMap::new();
        for ran in ran {
            match sources.get(ran.source) {
                Some(Source::Random) | None => {
                    for size in sizes {
                        keyed.entry(block(ran.seed, *size)).or_default().push(ran);
                    }
                }
                Some(file) => keyed.entry(file.name()).or_default().push(ran),
            }
        }
        self.0.extend(keyed.into_iter().map(|(name, ran)| (name, hex(&trace_hash(&ran)))));
    }

    /// The file.
    fn text(&self) -> String {
        let lines = self.0.iter().map(|(name, hash)| format!("{name:30} {hash}\n"));
        format!("{PREFACE}{}", lines.collect::<String>())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut hashes = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let wrong = |what| format!("{ORACLE}:{number}: {what}");
            let (name, hash) =
                line.rsplit_once(' ').ok_or_else(|| wrong("not a name and a hash"))?;
            if hash.len() != 64 {
                return Err(wrong("not a hash of 64 digits"));
            }
            if hashes.0.insert(name.trim().to_owned(), hash.to_owned()).is_some() {
                return Err(wrong("a second line of this name"));
            }
        }
        Ok(hashes)
    }

    /// What differs from what was kept; of a part only what was run is compared.
    fn differences<'a>(&'a self, found: &'a Self, is_all: bool) -> Vec<Difference<'a>> {
        let names: BTreeSet<_> = self.0.keys().chain(found.0.keys()).collect();
        let both = names.into_iter().map(|name| {
            let hash = |of: &'a Self| of.0.get(name).map(String::as_str);
            (name.as_str(), hash(self), hash(found))
        });
        both.filter(|(_, kept, found)| kept != found && (found.is_some() || is_all)).collect()
    }
}

/// The name of the block of so many seeds in which a seed is.
fn block(seed: u64, size: u64) -> String {
    let before = seed.saturating_sub(FIRST).checked_div(size).unwrap_or_default();
    let first = before.saturating_mul(size).saturating_add(FIRST);
    let last = first.saturating_add(size).saturating_sub(1);
    format!("{BLOCKS}{first:04}-{last:04}")
}

fn tell(differences: &[Difference<'_>]) -> String {
    if differences.is_empty() {
        return format!("all traces as in {ORACLE}\n");
    }
    let mut table = Table::new(&["other traces", "was", "is"]);
    for (name, kept, found) in differences {
        let short = |hash: &Option<&str>, none: &str| {
            hash.map_or_else(
                || none.to_owned(),
                |hash| hash.get(..SHORT).unwrap_or(hash).to_owned(),
            )
        };
        table.push(vec![(*name).to_owned(), short(kept, "no line"), short(found, "not run")]);
    }
    format!("{table}a change of behaviour; if that is meant: {UPDATE}\n")
}

const FIRST: u64 = 1;
const SEEDS: u64 = 1000;
const BLOCK: u64 = 100;
/// How names of blocks of random seeds begin.
const BLOCKS: &str = "seeds ";
const ORACLE: &str = "sim/oracle.txt";
const UPDATE: &str = "cargo xtask sim --oracle --update";
const PREFACE: &str = "\
# Hashes of all traces: of random seeds, and of seed 1 of each scenario in sim/scenarios. Written by
# `cargo xtask sim --oracle --update`; without `--update` it compares. A refactoring changes none.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(lines: &[(&str, char)]) -> Hashes {
        let lines = lines
            .iter()
            .map(|(name, digit)| ((*name).to_owned(), std::iter::repeat_n(*digit, 64).collect()));
        Hashes(lines.collect())
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let kept = hashes(&[("seeds 0001-0100", 'a'), ("calm-pair", 'b')]);
        assert_eq!(Hashes::parse(&kept.text()), Ok(kept));
        let error = |text: &str| Hashes::parse(text).unwrap_err();
        assert!(error("# x\ncalm-pair abc").starts_with("sim/oracle.txt:2: not a hash"));
        let line = format!("a {}\n", "0".repeat(64));
        assert!(error(&line.repeat(2)).ends_with("a second line of this name"));
    }

    #[test]
    fn what_differs_is_named_with_both_hashes() {
        let kept = hashes(&[("calm-pair", 'a'), ("gone", 'a'), ("seeds 0001-0100", 'a')]);
        let found = hashes(&[("calm-pair", 'b'), ("new", 'b'), ("seeds 0001-0100", 'a')]);
        let told = tell(&kept.differences(&found, true));
        let rows: Vec<Vec<&str>> =
            told.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["calm-pair", "aaaaaaaaaaaa", "bbbbbbbbbbbb"], "{told}");
        assert_eq!(rows[2], ["gone", "aaaaaaaaaaaa", "not", "run"], "{told}");
        assert_eq!(rows[3], ["new", "no", "line", "bbbbbbbbbbbb"], "{told}");
        assert!(kept.differences(&kept, true).is_empty());
    }

    #[test]
    fn what_was_not_run_is_missed_only_if_all_was_to_be() {
        let kept =
            hashes(&[("calm-pair", 'a'), ("seeds 0001-0100", 'a'), ("seeds 0001-1000", 'a')]);
        let found = hashes(&[("seeds 0001-0100", 'a')]);
        assert!(kept.differences(&found, false).is_empty());
        assert_eq!(kept.differences(&found, true).len(), 2);
    }

    #[test]
    fn seeds_are_in_blocks() {
        let blocks = [1, 100, 101, 1000].map(|seed| block(seed, BLOCK));
        assert_eq!(
            blocks,
            ["seeds 0001-0100", "seeds 0001-0100", "seeds 0101-0200", "seeds 0901-1000"]
        );
        assert_eq!(block(517, SEEDS), "seeds 0001-1000");
    }
}
