//! What 1,000 connected devices that say nothing cost a node.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::{
    crowd::{Crowd, Plan},
    measure::{Scratch, micros},
    node_process::NodeProcess,
    wire::HEADERS,
};

pub(crate) async fn run(seconds: Option<&str>, devices: Option<&str>) -> Result<()> {
    let seconds: u64 = seconds.map_or(Ok(125), str::parse)?;
    let count: u32 = devices.map_or(Ok(1000), str::parse)?;
    println!("idle: {count} devices, inbox and one conversation open and followed, {seconds} s");
    println!("  targets: 40 KiB and 300 bytes a minute each");
    let directory = Scratch::on_disk()?;
    let place = directory.path().join("node");
    // Registers them first, so that what accounts take is not taken for what connections take.
    let node = NodeProcess::start(&place)?;
    let plan = Plan { devices: count, first: 0, ready_made: 0, follow: true };
    Crowd::gather(plan, &node.address()).await?.leave().await?;
    node.stop()?;

    let node = NodeProcess::start(&place)?;
    sleep(Duration::from_secs(1)).await;
    let empty = node.memory_kib()?;
    let crowd = Crowd::gather(plan, &node.address()).await?;
    sleep(Duration::from_secs(3)).await;
    let (begun, before, time) = (Instant::now(), crowd.counters(), node.processor_time()?);
    let full = node.memory_kib()?;
    sleep(Duration::from_secs(seconds)).await;
    let (after, took) = (crowd.counters(), begun.elapsed());
    let time = node.processor_time()?.saturating_sub(time);

    let devices = f64::from(count);
    let minutes = took.as_secs_f64() / 60.0;
    let each = |bytes: u64, packets: u64| (bytes + packets * HEADERS) as f64 / devices / minutes;
    let up = each(
        after.udp_bytes_out - before.udp_bytes_out,
        after.udp_datagrams_out - before.udp_datagrams_out,
    );
    let down = each(
        after.udp_bytes_in - before.udp_bytes_in,
        after.udp_datagrams_in - before.udp_datagrams_in,
    );
    let later = node.memory_kib()?;
    let kib = |full: u64| full.saturating_sub(empty) as f64 / devices;
    println!("  connected {}", after.connections);
    println!(
        "  memory    {:5.1} KiB each after connecting, {:5.1} later (node alone {empty} KiB)",
        kib(full),
        kib(later)
    );
    println!("  traffic   {up:5.0} bytes a minute up, {down:.0} down, {:.0} in all", up + down);
    println!("  processor {:5.2} µs a second each", micros(time) / devices / took.as_secs_f64());
    crowd.leave().await?;
    node.stop()?;
    Ok(())
}
