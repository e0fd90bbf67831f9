//! What 1,000 connected devices that say nothing cost a node.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::{crowd::Plan, env::Env, measure::micros, wire::flow};

pub(crate) async fn run(options: &[String]) -> Result<()> {
    let seconds: u64 = options.first().map_or(Ok(125), |seconds| seconds.parse())?;
    let count: u32 = options.get(1).map_or(Ok(1000), |count| count.parse())?;
    println!("idle: {count} devices, inbox and one conversation open and followed, {seconds} s");
    println!("  targets: 40 KiB and 300 bytes a minute each");
    let mut env = Env::new(1)?;
    // Registers them first, so that what accounts take is not taken for what connections take.
    let plan = Plan { follow: true, ..Plan::new(count) };
    env.crowd(plan).await?.leave().await?;
    env.restart(0)?;

    // Neither the node's start nor the crowd's has an end that could be told from outside.
    sleep(Duration::from_secs(1)).await;
    let empty = env.nodes[0].memory_kib()?;
    let crowd = env.crowd(plan).await?;
    sleep(Duration::from_secs(3)).await;
    env.used()?;
    let (begun, before) = (Instant::now(), crowd.counters());
    let full = env.nodes[0].memory_kib()?;
    sleep(Duration::from_secs(seconds)).await;
    let (after, took) = (crowd.counters(), begun.elapsed());
    let used = env.used()?;

    let devices = f64::from(count);
    let minutes = took.as_secs_f64() / 60.0;
    let [up, down] = flow(&before, &after).map(|(bytes, _)| bytes as f64 / devices / minutes);
    let later = env.nodes[0].memory_kib()?;
    let kib = |full: u64| full.saturating_sub(empty) as f64 / devices;
    println!("  connected {}", after.connections);
    println!(
        "  memory    {:5.1} KiB each after connecting, {:5.1} later (node alone {empty} KiB)",
        kib(full),
        kib(later)
    );
    println!("  traffic   {up:5.0} bytes a minute up, {down:.0} down, {:.0} in all", up + down);
    let each = micros(used.nodes) / devices / took.as_secs_f64();
    println!("  processor {each:5.2} µs a second each");
    crowd.leave().await?;
    env.stop()
}
