//! The options, which of them go together, and what they mean.

use std::{error::Error, ops::Range, path::PathBuf, thread};

use clap::{
    ArgGroup, Parser,
    builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser as _},
    value_parser,
};
use sim::{Mutant, Options};

use super::source::Source;

/// Runs whole networks of the real machines under a virtual clock, with everything that can go
/// wrong; all from one seed
#[derive(Clone, Debug, Parser)]
#[command(name = "sim", bin_name = "cargo xtask sim", after_help = AFTER_HELP)]
#[command(group(ArgGroup::new("task").required(true).multiple(true)
    .args(["seeds", "seed", "all", "baseline", "oracle", "transcripts", "determinism"])))]
#[command(group(ArgGroup::new("kept").args(["baseline", "oracle", "transcripts"])))]
pub(crate) struct Cli {
    /// Run so many seeds: each of a random scenario of its own, or of --scenario, or of --all
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    #[arg(conflicts_with_all = ["seed", "baseline", "transcripts", "determinism"])]
    pub(super) seeds: Option<u64>,
    /// Run this one seed and show what was counted
    #[arg(long, value_name = "S")]
    #[arg(conflicts_with_all = ["all", "baseline", "oracle", "transcripts", "determinism"])]
    #[arg(conflicts_with_all = ["from", "threads", "keep_going"])]
    pub(super) seed: Option<u64>,
    /// Run every scenario in sim/scenarios, one seed of each unless --seeds says more
    #[arg(long, conflicts_with_all = ["scenario", "baseline", "transcripts", "determinism"])]
    #[arg(conflicts_with = "oracle")]
    pub(super) all: bool,
    /// Compare what messages cost in every scenario with sim/baseline.txt
    #[arg(long, conflicts_with_all = ["transcripts", "determinism"])]
    #[arg(conflicts_with_all = ["scenario", "mutant", "from", "keep_going"])]
    pub(super) baseline: bool,
    /// Compare the hashes of all traces, of 1000 random seeds and every scenario in sim/scenarios
    /// (with --seeds of the first N random ones alone), with sim/oracle.txt
    #[arg(long, conflicts_with_all = ["baseline", "transcripts", "determinism"])]
    #[arg(conflicts_with_all = ["scenario", "mutant", "from", "keep_going"])]
    pub(super) oracle: bool,
    /// Compare what is said in every scenario in sim/transcripts with the text beside it
    #[arg(long, conflicts_with_all = ["determinism"])]
    #[arg(conflicts_with_all = ["scenario", "mutant", "from", "keep_going", "threads"])]
    pub(super) transcripts: bool,
    /// Run so many seeds twice, on one thread and on two, and compare their traces
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    #[arg(conflicts_with_all = ["threads", "keep_going"])]
    pub(super) determinism: Option<u64>,

    /// Begin with this seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    /// Run this scenario instead of random ones
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Run on so many threads, which changes nothing but the time [default: one for each core]
    #[arg(long, value_name = "T", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    threads: Option<usize>,
    /// Break the product on purpose
    #[arg(long, value_name = "NAME", value_parser = mutants())]
    mutant: Option<Mutant>,
    /// Go on after the first seed that fails
    #[arg(long)]
    pub(super) keep_going: bool,
    /// Print what happens, line by line
    #[arg(long, requires = "seed")]
    #[arg(conflicts_with_all = ["seeds", "all", "baseline", "oracle", "transcripts", "determinism"])]
    pub(super) trace: bool,
    /// Keep what is seen now instead of comparing with it
    #[arg(long, requires = "kept")]
    #[arg(conflicts_with_all = ["seed", "all", "determinism"])]
    pub(super) update: bool,
}

impl Cli {
    pub(super) fn source(&self) -> Result<Source, Box<dyn Error>> {
        self.scenario.as_deref().map_or(Ok(Source::Random), Source::read)
    }

    pub(super) fn options(&self) -> Options {
        Options { transcript: self.trace, mutant: self.mutant }
    }

    pub(super) fn seeds_from(&self, count: u64) -> Result<Range<u64>, Box<dyn Error>> {
        let end = self.from.checked_add(count).ok_or("there are no seeds that large")?;
        Ok(self.from..end)
    }

    pub(super) fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores)
    }
}

fn mutants() -> impl clap::builder::TypedValueParser<Value = Mutant> {
    PossibleValuesParser::new(MUTANTS.map(|(name, _)| name)).try_map(|given| {
        let found = MUTANTS.iter().find(|(name, _)| *name == given);
        found.map(|(_, mutant)| *mutant).ok_or("there is no such mutant")
    })
}

/// As the command line calls it.
pub(super) fn mutant_name(mutant: Mutant) -> &'static str {
    let found = MUTANTS.iter().find(|(_, other)| *other == mutant);
    found.map_or("unnamed", |(name, _)| name)
}

const MUTANTS: [(&str, Mutant); 4] = [
    ("accept-before-commit", Mutant::AcceptBeforeCommit),
    ("no-duplicate-check", Mutant::NoDuplicateCheck),
    ("timeline-by-arrival", Mutant::TimelineByArrival),
    ("trust-coordinator", Mutant::TrustCoordinator),
];

const AFTER_HELP: &str = "\
Files are named from the root of the repository. Exits with 0 if all is well, with 1 if something \
failed, with 2 if it could not be found out.

  cargo xtask sim --seeds 1000                 a thousand random scenarios
  cargo xtask sim --seed 17 --trace            what happens in one of them
  cargo xtask sim --all --seeds 10             every named scenario, ten seeds of each
  cargo xtask sim --baseline --update          keep the present figures
  cargo xtask sim --oracle --seeds 100         whether a refactoring has changed anything";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = ["sim"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn what_goes_together_is_taken() {
        let lines = [
            "--seeds 10",
            "--seeds 10 --from 5 --threads 3 --scenario a.toml --keep-going",
            "--seeds 10 --mutant no-duplicate-check",
            "--seed 0 --scenario a.toml --trace --mutant timeline-by-arrival",
            "--all",
            "--all --seeds 3 --from 7 --keep-going --threads 1",
            "--baseline --threads 2",
            "--baseline --update",
            "--oracle --threads 2",
            "--oracle --seeds 100",
            "--oracle --update",
            "--transcripts --update",
            "--determinism 100 --from 3",
        ];
        for line in lines {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let lines = [
            "--seeds 10 --seed 1",
            "--seed 1 --all",
            "--seed 1 --from 3",
            "--seed 1 --keep-going",
            "--seed 1 --baseline",
            "--all --scenario a.toml",
            "--baseline --transcripts",
            "--baseline --seeds 3",
            "--baseline --mutant no-duplicate-check",
            "--oracle --baseline",
            "--oracle --from 101",
            "--oracle --mutant no-duplicate-check",
            "--determinism 10 --threads 3",
            "--determinism 10 --seeds 3",
            "--seeds 5 --trace",
            "--all --trace",
            "--seed 5 --update",
        ];
        for line in lines {
            let error = parse(line).expect_err(line);
            assert!(error.contains("cannot be used with"), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let said = |line: &str, part: &str| {
            let error = parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        };
        said("", "--seeds <N>");
        said("--threads 2", "required arguments");
        said("--trace", "--seed <S>");
        said("--seeds 5 --update", "--baseline|--oracle|--transcripts");
        said("--update", "--baseline|--oracle|--transcripts");
        said("--seeds 0", "0 is not in 1..");
        said("--seeds 5 --threads 0", "0 is not in 1..");
        said("--seeds 5 --mutant typo", "accept-before-commit");
    }

    #[test]
    fn each_mutant_has_a_name() {
        for (name, mutant) in MUTANTS {
            let cli = parse(&format!("--seed 1 --mutant {name}")).unwrap();
            assert_eq!(cli.options().mutant, Some(mutant));
            assert_eq!(mutant_name(mutant), name);
        }
    }

    #[test]
    fn seeds_do_not_wrap_around() {
        let cli = parse(&format!("--seeds 2 --from {}", u64::MAX)).unwrap();
        assert!(cli.seeds_from(2).is_err());
        assert_eq!(parse("--seeds 2").unwrap().seeds_from(2).unwrap(), 1..3);
    }
}
