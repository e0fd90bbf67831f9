//! What is measured and how it is printed: samples, processor time, memory, the disk's own speed.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Durations of many repetitions of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// The sample that so many per cent of all stay below.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = sorted.len().saturating_sub(1).saturating_mul(percent) / 100;
        sorted.get(at).copied().unwrap_or_default()
    }

    /// Median and 99th percentile in milliseconds.
    pub(crate) fn show(&self) -> String {
        let [p50, p99] = [50, 99].map(|percent| millis(self.percentile(percent)));
        format!("p50 {p50:7.3} ms   p99 {p99:7.3} ms   ({} samples)", self.len())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Processor time that a process has used so far, in user and in system mode.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("reading /proc")?;
    // The name in parentheses may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let ticks = next() + next();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// Memory that a process holds, in KiB: what it alone has, without files mapped from disk.
pub(crate) fn memory_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("reading /proc")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).context("no RssAnon in /proc")
}

/// Bytes of IP packets that crossed the loopback device of this network namespace.
pub(crate) fn loopback_bytes() -> Result<u64> {
    let table = fs::read_to_string("/proc/net/dev").context("reading /proc")?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).context("no loopback device")
}

/// The disk's own speed: one small write into a file that is there already, and a sync.
#[derive(Debug)]
pub(crate) struct DiskProbe(File);

impl DiskProbe {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let path = directory.join("probe");
        let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
        file.write_all(&vec![0; 1 << 20])?;
        file.sync_all()?;
        Ok(Self(file))
    }

    /// How long one write and sync take now.
    pub(crate) fn sample(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.0.seek(SeekFrom::Start(4096))?;
        self.0.write_all(&[7; 400])?;
        self.0.sync_data()?;
        Ok(start.elapsed())
    }
}

/// A directory that goes with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: TempDir,
    broom: Child,
}

impl Scratch {
    /// On a real disk: beside the build, since the system's temporary directory may be in memory.
    pub(crate) fn on_disk() -> Result<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let at = if target.is_dir() { target } else { std::env::temp_dir() };
        Self::within(&at.canonicalize()?)
    }

    pub(crate) fn within(at: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(at)?;
        let mut broom = Command::new("sh");
        broom.args(["-c", SWEEP, "sh"]).arg(directory.path());
        let broom = broom.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        Ok(Self { directory, broom })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.broom.kill();
        let _ = self.broom.wait();
    }
}

/// Prints what a figure is worth nothing without.
pub(crate) fn print_machine() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let date = Command::new("date").arg("-u").arg("+%F %R").output();
    let date = date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_owned());
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or_default();
    let date = date.unwrap_or_default();
    println!("# {date} UTC; {processors} cores ({model}); load {load} before the start");
    if cfg!(debug_assertions) {
        println!("# THIS IS A DEBUG BUILD: its figures mean nothing; use --release");
    }
}

/// Waits for the end of its input, which is that of the process that has the other end, and lets a
/// node finish.
const SWEEP: &str = r#"trap "" INT TERM HUP; read _; rm -rf "$1"; sleep 5; rm -rf "$1""#;
/// The unit of processor time in `/proc`, the same on every Linux of today.
const TICKS_PER_S: u64 = 100;
