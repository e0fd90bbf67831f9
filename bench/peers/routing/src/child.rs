//! What one subject goes through, and the figures of it, which go to the standard output.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{Samples, cpu_ms, memory_kib, wait_until_idle},
    subject::Subject,
};

/// Measures a subject with so many nodes.
pub(crate) fn run<S: Subject>(nodes: usize) -> Result<()> {
    // This process must not outlive the one that started it.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    let living = runtime()?;
    living.block_on(run_phases::<S>(nodes))?;
    // Hundreds of nodes need not say goodbye to each other.
    std::process::exit(0);
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?)
}

async fn run_phases<S: Subject>(nodes: usize) -> Result<()> {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    // The node through which all joined lives on.
    let mut doomed: Vec<usize> = (1..nodes).collect();
    while doomed.len() > nodes * KILLED_PERCENT / 100 {
        let drawn = draw(&mut rng, doomed.len());
        doomed.swap_remove(drawn);
    }
    let survivors: Vec<usize> = (0..nodes).filter(|node| !doomed.contains(node)).collect();

    let (memory, cpu, began) = (memory_kib()?, cpu_ms()?, Instant::now());
    // What runs nodes that are to be killed can be ended before they know of it.
    let short_lived = runtime()?;
    let runtimes = [tokio::runtime::Handle::current(), short_lived.handle().clone()];
    let [living, short] = &runtimes;
    let on = |node| if doomed.contains(&node) { short.clone() } else { living.clone() };
    let subject = S::start(nodes, on).await?;
    eprintln!("  joined after {:.1} s", began.elapsed().as_secs_f64());
    wait_until_idle().await?;
    figure("join_cpu_ms", (cpu_ms()? - cpu) / nodes as f64);

    let all: Vec<usize> = (0..nodes).collect();
    let mut load = Load { subject, nodes: all, rng, phase: "before", records: Vec::new() };
    load.put(0).await?;
    load.get().await?;
    load.state(memory).await?;

    std::thread::spawn(move || short_lived.shutdown_timeout(KILL_MAX))
        .join()
        .ok()
        .context("kill")?;
    load.subject.kill(&doomed)?;
    load.nodes = survivors;
    load.phase = "after";
    load.get().await?;
    load.put(RECORDS).await?;
    load.state(memory).await
}

struct Load<S: Subject> {
    subject: S,
    /// Those that live.
    nodes: Vec<usize>,
    rng: ChaCha20Rng,
    phase: &'static str,
    records: Vec<S::Record>,
}

impl<S: Subject> Load<S> {
    /// Puts records with the numbers from `first` on.
    async fn put(&mut self, first: u64) -> Result<()> {
        self.records = (first..first + RECORDS).map(S::record).collect::<Result<_>>()?;
        let (mut times, mut copies, mut requests) = <(Samples, Samples, Samples)>::default();
        let (mut fine, mut done) = (0, 0_u32);
        let (cpu, began) = (cpu_ms()?, Instant::now());
        for record in &self.records {
            let node = self.nodes[draw(&mut self.rng, self.nodes.len())];
            let put = self.subject.put(node, record).await;
            done += 1;
            match put {
                Ok(put) => {
                    times.add_time(put.took);
                    copies.add(put.copies as f64);
                    put.requests.into_iter().for_each(|count| requests.add(f64::from(count)));
                    fine += u32::from(put.copies >= COPIES_MIN);
                }
                Err(error) => eprintln!("  put at {node}: {error:#}"),
            }
            if began.elapsed() > PHASE_MAX {
                eprintln!("  {}: only {done} puts in the time there is", self.phase);
                break;
            }
        }
        // What was not put can't be got.
        self.records.truncate(done as usize);
        self.figure("put_cpu_ms", Some((cpu_ms()? - cpu) / f64::from(done)));
        self.figure("put_ok", Some(100.0 * f64::from(fine) / f64::from(done)));
        self.figure("put_p50", times.percentile(50));
        self.figure("put_p99", times.percentile(99));
        self.figure("put_copies", copies.mean());
        self.figure("put_requests", requests.mean());
        Ok(())
    }

    /// Gets each record from a node that does not keep it.
    async fn get(&mut self) -> Result<()> {
        let (mut firsts, mut ends, mut requests) = <(Samples, Samples, Samples)>::default();
        let mut done = 0_u32;
        let (cpu, began) = (cpu_ms()?, Instant::now());
        for record in &self.records {
            let mut node = self.nodes[draw(&mut self.rng, self.nodes.len())];
            for _ in 0..self.nodes.len() * 4 {
                if !self.subject.holds(node, record).await {
                    break;
                }
                node = self.nodes[draw(&mut self.rng, self.nodes.len())];
            }
            done += 1;
            match self.subject.get(node, record).await {
                Ok(get) => {
                    firsts.add_time(get.first);
                    ends.add_time(get.end);
                    get.requests.into_iter().for_each(|count| requests.add(f64::from(count)));
                }
                Err(error) => eprintln!("  get at {node}: {error:#}"),
            }
            if began.elapsed() > PHASE_MAX {
                eprintln!("  {}: only {done} gets in the time there is", self.phase);
                break;
            }
        }
        self.figure("get_cpu_ms", Some((cpu_ms()? - cpu) / f64::from(done)));
        self.figure("get_ok", Some(100.0 * firsts.count() as f64 / f64::from(done)));
        self.figure("get_p50", firsts.percentile(50));
        self.figure("get_p99", firsts.percentile(99));
        self.figure("end_p50", ends.percentile(50));
        self.figure("end_p99", ends.percentile(99));
        self.figure("get_requests", requests.mean());
        Ok(())
    }

    async fn state(&mut self, memory_before: f64) -> Result<()> {
        let connections = self.subject.connections(&self.nodes).await?;
        ensure!(connections.len() == self.nodes.len(), "some node does not tell");
        let mut samples = Samples::default();
        connections.into_iter().for_each(|count| samples.add(count as f64));
        self.figure("connections_mean", samples.mean());
        self.figure("connections_max", samples.max());
        let memory = (memory_kib()? - memory_before) / self.nodes.len() as f64;
        self.figure("memory_kib", Some(memory));
        Ok(())
    }

    fn figure(&self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            figure(&format!("{}.{name}", self.phase), value);
        }
    }
}

fn figure(name: &str, value: f64) {
    println!("{name} {value}");
}

fn draw(rng: &mut ChaCha20Rng, below: usize) -> usize {
    rng.next_u32() as usize % below
}

/// As many as this machine has cores; the same for all subjects.
const WORKERS: usize = 2;
const RECORDS: u64 = 200;
const KILLED_PERCENT: usize = 30;
/// A put has succeeded when most of the twenty nearest nodes say that they keep the record.
const COPIES_MIN: usize = 11;
/// Dead nodes may make operations take seconds each; fewer tell as much then.
const PHASE_MAX: Duration = Duration::from_secs(60);
const KILL_MAX: Duration = Duration::from_secs(5);
