//! Readable protocol tests: a scenario with a seed, and beside it the frames that it sends.

use std::{error::Error, fmt::Write as _, io::Write, path::Path};

use sim::Options;

use super::{
    outcome::Outcome,
    simulator::Simulator,
    source::{Source, list, read, write},
};

/// Runs all scenarios in `sim/transcripts` and compares each with the `.txt` of the same name, or
/// rewrites that.
pub(super) fn run(
    simulator: &impl Simulator,
    update: bool,
    out: &mut impl Write,
) -> Result<bool, Box<dyn Error>> {
    let directory = Path::new(TRANSCRIPTS);
    let scenarios = list(directory, "toml")?;
    let mut failed = 0_usize;
    for path in &scenarios {
        let text = path.with_extension("txt");
        let complaint = compare(simulator, path, &text, update)?;
        let verdict = if complaint.is_some() { "FAILED" } else { "ok" };
        writeln!(out, "{} {verdict}", text.display())?;
        write!(out, "{}", complaint.as_deref().unwrap_or_default())?;
        failed = failed.saturating_add(usize::from(complaint.is_some()));
    }
    // Before the first update there is none.
    for text in list(directory, "txt").unwrap_or_default() {
        if !scenarios.contains(&text.with_extension("toml")) {
            writeln!(out, "{} FAILED\n  it has no scenario", text.display())?;
            failed = failed.saturating_add(1);
        }
    }
    if failed > 0 {
        writeln!(out, "{failed} failed; read the differences, and if they are meant:")?;
        writeln!(out, "cargo xtask sim --transcripts --update")?;
    }
    Ok(failed == 0)
}

/// What is wrong with one transcript.
fn compare(
    simulator: &impl Simulator,
    path: &Path,
    kept: &Path,
    update: bool,
) -> Result<Option<String>, Box<dyn Error>> {
    let source = Source::read(path)?;
    let seed = seed(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    let options = Options { transcript: true, mutant: None };
    let outcome =
        Outcome::quietly_of(|| simulator.run(&source.scenario(simulator, seed), seed, options));
    if !outcome.is_well() {
        return Ok(Some(outcome.complaints()));
    }
    // What is one line to the simulator may be several in the file.
    let found: String = outcome.transcript.iter().map(|line| format!("{line}\n")).collect();
    if update {
        write(kept, &found)?;
        return Ok(None);
    }
    if !kept.exists() {
        return Ok(Some("  there is no such file yet\n".to_owned()));
    }
    Ok(first_difference(&lines(&read(kept)?), &lines(&found)))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The seed from a comment before the scenario: `# seed 7`.
fn seed(text: &str) -> Result<u64, String> {
    let comments = text.lines().take_while(|line| line.starts_with('#') || line.trim().is_empty());
    let named =
        comments.filter_map(|line| line.trim_start_matches('#').trim().strip_prefix("seed "));
    let number = named.last().ok_or("a line `# seed 7` before the scenario is missing")?;
    number.trim().parse().map_err(|_| format!("`{number}` is no seed"))
}

/// Shows the first lines that differ, after the last that don't.
pub(super) fn first_difference(kept: &[String], found: &[String]) -> Option<String> {
    let longest = kept.len().max(found.len());
    let at = (0..longest).find(|&line| kept.get(line) != found.get(line))?;
    let mut text = format!("  they differ at line {}:\n", at.saturating_add(1));
    for same in kept.iter().take(at).skip(at.saturating_sub(LINES_AROUND)) {
        let _ = writeln!(text, "    {same}");
    }
    for (sign, lines) in [('-', kept), ('+', found)] {
        if at >= lines.len() {
            let _ = writeln!(text, "  {sign} (the end)");
        }
        for line in lines.iter().skip(at).take(LINES_AROUND) {
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    Some(text)
}

const TRANSCRIPTS: &str = "sim/transcripts";
const LINES_AROUND: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_in_a_comment_before_the_scenario() {
        assert_eq!(seed("# Ann invites Ben.\n# seed 7\n\nname = 'a'"), Ok(7));
        assert!(seed("name = 'a'\n# seed 7").unwrap_err().contains("is missing"));
        assert!(seed("# seed x\n").unwrap_err().contains("`x` is no seed"));
    }

    #[test]
    fn the_first_difference_is_shown_after_what_is_equal() {
        let kept = lines("1\n2\n3\n4\nfive\n6");
        assert_eq!(first_difference(&kept, &kept), None);
        assert_eq!(
            first_difference(&kept, &lines("1\n2\n3\n4\nFIVE\n6")).unwrap(),
            "  they differ at line 5:\n    2\n    3\n    4\n  - five\n  - 6\n  + FIVE\n  + 6\n"
        );
        assert_eq!(
            first_difference(&kept, &kept[..4]).unwrap(),
            "  they differ at line 5:\n    2\n    3\n    4\n  - five\n  - 6\n  + (the end)\n"
        );
    }
}
