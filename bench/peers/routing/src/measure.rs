//! Measuring: times, and what this process takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What was measured, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1000.0);
    }

    /// The value that so many of a hundred don't exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        sorted.get(last * percent / 100).copied()
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }
}

/// KiB of memory that this process has in use.
pub(crate) fn memory_kib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse()?)
}

/// Milliseconds of processor time that this process has taken.
pub(crate) fn cpu_ms() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before the parenthesis may have spaces.
    let (_, rest) = stat.rsplit_once(')').context("no stat")?;
    let mut ticks = rest.split_whitespace().skip(11);
    let mut next = || ticks.next().and_then(|ticks| ticks.parse::<f64>().ok()).context("no ticks");
    Ok((next()? + next()?) * TICK_MS)
}

/// Waits until the process has little to do, as after a start or a change; at most for a while.
pub(crate) async fn wait_until_idle() -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < WAIT_MAX {
        let (cpu, looked) = (cpu_ms()?, Instant::now());
        // The time over which the share of a core is taken.
        tokio::time::sleep(SAMPLE).await;
        let share = (cpu_ms()? - cpu) / (looked.elapsed().as_secs_f64() * 1000.0);
        if share < IDLE {
            break;
        }
    }
    Ok(())
}

/// `USER_HZ` is 100 on every Linux there is.
const TICK_MS: f64 = 10.0;
const WAIT_MAX: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_secs(1);
/// Part of one core.
const IDLE: f64 = 0.1;
