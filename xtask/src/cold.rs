//! `cargo xtask cold`: what the README's first command costs on a machine that never built Siskin.

use std::{error::Error, fs, io, path::Path, process::Command};

/// Builds the binary in an empty target directory. Prints CPU time and stripped size, and fails if
/// one exceeds its limit.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    match fs::remove_dir_all(TARGET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let before = children_cpu_s()?;
    let build = ["build", "--release", "--locked", "--timings", "--target-dir", TARGET];
    succeed(Command::new("cargo").args(build))?;
    let cpu_s = children_cpu_s()? - before;

    let binary = Path::new(TARGET).join("release/siskin");
    let stripped = Path::new(TARGET).join("siskin-stripped");
    succeed(Command::new("strip").arg("--strip-all").arg("-o").args([&stripped, &binary]))?;
    let (full, small) = (megabytes(&binary)?, megabytes(&stripped)?);
    println!("cold: {:.1} CPU-minutes, at most {CPU_MINUTES_MAX}", cpu_s / 60.0);
    println!("cold: {small:.1} MB stripped, at most {STRIPPED_MB_MAX}; {full:.1} MB with symbols");
    if cpu_s / 60.0 > CPU_MINUTES_MAX || small > STRIPPED_MB_MAX {
        return Err("the cold build is over its limits".into());
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// Returns the CPU time, in user and system mode, of all descendants that have ended (`cutime` and
/// `cstime` of proc(5)).
fn children_cpu_s() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let mut times = fields.split_whitespace().skip(CUTIME).map(str::parse::<f64>);
    let mut next = || Ok::<_, Box<dyn Error>>(times.next().ok_or("no times of children")??);
    Ok((next()? + next()?) / TICKS_PER_S)
}

#[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
fn megabytes(path: &Path) -> io::Result<f64> {
    Ok(fs::metadata(path)?.len() as f64 / 1e6)
}

const TARGET: &str = "target/cold";
const CPU_MINUTES_MAX: f64 = 12.0;
const STRIPPED_MB_MAX: f64 = 26.0;
/// `cutime` is the 16th field; two precede the ones that are split.
const CUTIME: usize = 13;
/// The unit of CPU time in `/proc` on every Linux of today.
const TICKS_PER_S: f64 = 100.0;
