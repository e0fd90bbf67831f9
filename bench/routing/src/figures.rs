//! Figures: how they are taken, and how they come from the process that took them.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use anyhow::{Context, Result};

/// Named numbers of one subject and size.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Reads what [`fmt::Display`] wrote; anything else between is passed over.
    pub(crate) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}

/// The duration that so many per cent of all stay below.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let at = sorted.len().checked_sub(1)?.saturating_mul(percent).div_ceil(100);
    sorted.get(at).copied()
}

pub(crate) fn mean(of: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        of.into_iter().fold((0.0, 0_u32), |(sum, count), one| (sum + one, count.saturating_add(1)));
    (count > 0).then(|| sum / f64::from(count))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Memory that this process alone has, without files mapped from disk, in KiB.
pub(crate) fn memory_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).context("no RssAnon in /proc")
}

/// Processor time that this process has used so far.
pub(crate) fn processor_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("reading /proc")?;
    // The name in parentheses may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok());
    Ok(Duration::from_millis(ticks.sum::<u64>().saturating_mul(1000 / TICKS_PER_S)))
}

/// Prints what a figure is worth nothing without.
pub(crate) fn print_machine() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or_default();
    println!("# {processors} cores ({model}); load {load} before the start");
    if cfg!(debug_assertions) {
        println!("# THIS IS A DEBUG BUILD: its figures mean nothing; use --release");
    }
}

/// The unit of processor time in `/proc`, the same on every Linux of today.
const TICKS_PER_S: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back() {
        let mut figures = Figures::default();
        figures.set("put p50", 1.5);
        figures.set("get p99", 2.0);
        assert_eq!(Figures::read(&format!("noise\n{figures}")), figures);
    }

    #[test]
    fn percentiles_are_of_the_sorted() {
        let samples: Vec<Duration> = (1..=201).map(Duration::from_millis).collect();
        assert_eq!(percentile(&samples, 50), Some(Duration::from_millis(101)));
        assert_eq!(percentile(&samples, 99), Some(Duration::from_millis(199)));
        assert_eq!(percentile(&[], 50), None);
    }
}
