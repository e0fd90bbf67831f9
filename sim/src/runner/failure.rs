//! A failing seed: what is wrong, how to see it again, and the smallest scenario that still fails.

use std::{
    error::Error,
    fmt::Write as _,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use sim::{Options, Scenario};

use super::{
    cli,
    outcome::{Outcome, Verdict},
    panics,
    simulator::Simulator,
    source::{self, Source},
    sweep::{Plan, Ran},
    table::grouped,
};

/// Reports what failed and shrinks the first failure. Returns whether no run failed.
pub(super) fn report(
    simulator: &impl Simulator,
    plan: &Plan<'_>,
    ran: &[Ran],
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let mut failed = ran.iter().filter(|ran| !ran.outcome.is_well());
    let Some(first) = failed.next() else { return Ok(true) };
    let source = plan.sources.get(first.source).unwrap_or(&Source::Random);
    write!(out, "\n{}", describe(source, first, plan.options))?;
    let others: Vec<&Ran> = failed.collect();
    if !others.is_empty() {
        writeln!(out, "{} more failed:", grouped(u64::try_from(others.len())?))?;
        for ran in others.iter().take(OTHERS_MAX) {
            let source = plan.sources.get(ran.source).unwrap_or(&Source::Random);
            writeln!(out, "  {}", command(source, ran.seed, plan.options))?;
        }
    }
    out.flush()?;
    match panics::catch(true, || source.scenario(simulator, first.seed)) {
        Ok(scenario) => shrink(simulator, scenario.settled(first.seed), first, plan.options, out)?,
        Err(panic) => writeln!(out, "there is no scenario to shrink: {panic}")?,
    }
    Ok(false)
}

/// What is wrong with a run and how to see it again.
pub(super) fn describe(source: &Source, ran: &Ran, options: Options) -> String {
    let Ran { seed, outcome, .. } = ran;
    let mut text = String::new();
    let wrongs = match outcome.wrongs() {
        1 => "1 violation".to_owned(),
        many => format!("{many} violations"),
    };
    let _ = writeln!(text, "{}, seed {seed}: {wrongs}", source.name());
    text += &outcome.complaints();
    let _ = writeln!(text, "reproduce it: {}", command(source, *seed, options));
    text
}

/// The command that shows a run.
pub(super) fn command(source: &Source, seed: u64, options: Options) -> String {
    let mut text = format!("cargo xtask sim --seed {seed} --trace");
    if let Source::File { path, .. } = source {
        let _ = write!(text, " --scenario {}", path.display());
    }
    if let Some(mutant) = options.mutant {
        let _ = write!(text, " --mutant {}", cli::mutant_name(mutant));
    }
    text
}

fn shrink(
    simulator: &impl Simulator,
    scenario: Scenario,
    failed: &Ran,
    options: Options,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let (seconds, tries) = (SHRINK_TIME.as_secs(), SHRINK_TRIES);
    writeln!(out, "shrinking it in at most {tries} tries and about {seconds} s …")?;
    out.flush()?;
    let start = Instant::now();
    let time_left = || start.elapsed() < SHRINK_TIME;
    let verdict = failed.outcome.verdict();
    let (smallest, tried) = smallest(simulator, scenario, failed.seed, options, verdict, time_left);

    let path = PathBuf::from(format!("{FAILURES}/failure-{}.toml", failed.seed));
    let text = smallest.to_toml();
    source::write(&path, &text)?;
    writeln!(out, "the smallest that still fails, after {tried} tries:\n\n{text}")?;
    // What a run of the file will see.
    let kept = Source::read(&path)?;
    let again = Outcome::quietly_of(|| {
        let scenario = kept.scenario(simulator, failed.seed);
        simulator.run(&scenario, failed.seed, Options { transcript: false, ..options })
    });
    match again.is_well() {
        false => write!(out, "{}", again.complaints())?,
        true => writeln!(out, "  but read back from its file it does not fail")?,
    }
    writeln!(out, "reproduce it: {}", command(&kept, failed.seed, options))?;
    Ok(())
}

/// The smallest scenario found that is wrong in the same way, and how many were tried.
fn smallest(
    simulator: &impl Simulator,
    scenario: Scenario,
    seed: u64,
    options: Options,
    verdict: Verdict,
    time_left: impl Fn() -> bool,
) -> (Scenario, u32) {
    let mut tried = 0_u32;
    let mut fails = |smaller: &Scenario| {
        if !time_left() {
            return false;
        }
        tried = tried.saturating_add(1);
        Outcome::quietly_of(|| simulator.run(smaller, seed, options)).shows(verdict)
    };
    let found = simulator.shrink(scenario, SHRINK_TRIES, &mut fails);
    (found, tried)
}

const FAILURES: &str = "target/sim";
const SHRINK_TRIES: u32 = 500;
const SHRINK_TIME: Duration = Duration::from_secs(60);
/// Failing seeds that are listed after the first.
const OTHERS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use sim::Rule;

    use super::super::tests::{Imitation, scenario, violation};
    use super::*;

    #[test]
    fn shrinking_keeps_to_what_was_wrong() {
        // With less than four people something else is wrong.
        let simulator = Imitation::new(|scenario, _| {
            let rule = if scenario.people >= 4 { Rule::Lost } else { Rule::Quiet };
            Imitation::report(vec![violation(rule)])
        });
        let verdict = Verdict::Breaks(Rule::Lost);
        let options = Options::default();
        let (found, tried) = smallest(&simulator, scenario(9), 1, options, verdict, || true);
        assert_eq!((found.people, tried), (4, 6));
        let (found, tried) = smallest(&simulator, scenario(9), 1, options, verdict, || false);
        assert_eq!((found.people, tried), (9, 0));
    }

    #[test]
    fn panics_shrink_to_panics() {
        let simulator = Imitation::new(|scenario, _| {
            assert!(scenario.people < 3, "too many");
            Imitation::report(vec![violation(Rule::Lost)])
        });
        let options = Options::default();
        let (found, _) = smallest(&simulator, scenario(9), 1, options, Verdict::Panics, || true);
        assert_eq!(found.people, 3);
    }

    #[test]
    fn commands_name_all_that_matters() {
        let options = Options { transcript: false, mutant: Some(sim::Mutant::NoDuplicateCheck) };
        let path = PathBuf::from("sim/scenarios/a.toml");
        let file = Source::File { path, scenario: Box::new(scenario(2)) };
        assert_eq!(
            command(&Source::Random, 7, Options::default()),
            "cargo xtask sim --seed 7 --trace"
        );
        assert_eq!(
            command(&file, 7, options),
            "cargo xtask sim --seed 7 --trace --scenario sim/scenarios/a.toml \
             --mutant no-duplicate-check"
        );
    }
}
