//! From one device over a node to another: how long, and where the time goes.

use std::{path::Path, thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    measure::{DiskProbe, Samples, Scratch, micros},
    node_process::NodeProcess,
    people::{Legs, Pace, Pair},
};

pub(crate) async fn run() -> Result<()> {
    println!("latency: 100-byte messages, command to the reader's hand, one node, real disk syncs");
    let directory = Scratch::on_disk()?;
    // Devices have disks of their own in life; on one disk their syncs are in the node's way.
    if let Ok(elsewhere) = Scratch::within(Path::new(MEMORY)) {
        println!("  devices' databases in memory");
        all(directory.path(), elsewhere.path(), &[]).await?;
    }
    println!("  devices' databases on the node's disk");
    let directory = Scratch::on_disk()?;
    all(directory.path(), directory.path(), &RATES).await
}

async fn all(disk: &Path, devices: &Path, rates: &[(u32, u64)]) -> Result<()> {
    let mut node = NodeProcess::start(&disk.join("node"))?;
    let mut pair = Pair::meet(devices, &node.address()).await?;
    let mut probe = DiskProbe::new(disk)?;
    pair.converse(Pace::AfterArrival, WARM_UP, || Ok(())).await?;
    one(&mut pair, &mut node, &mut probe, "one at a time", Pace::AfterArrival, LONE).await?;
    for (rate, count) in rates.iter().copied() {
        let title = format!("{rate} a second");
        one(&mut pair, &mut node, &mut probe, &title, Pace::PerSecond(rate), count).await?;
    }
    Ok(())
}

async fn one(
    pair: &mut Pair,
    node: &mut NodeProcess,
    probe: &mut DiskProbe,
    title: &str,
    pace: Pace,
    count: u64,
) -> Result<()> {
    pair.settle().await;
    node.disk_figures()?;
    pair.writer.timings.take();
    pair.reader.timings.take();
    pair.legs = Legs::default();
    let mut raw = Samples::default();
    let arrived = pair
        .converse(pace, count, || {
            raw.push(probe.sample()?);
            // Let the disk's queue and the devices' acknowledgements pass.
            sleep(Duration::from_millis(5));
            Ok(())
        })
        .await?;
    let at_node = node.disk_figures()?;
    let (writer, reader) = (pair.writer.timings.take(), pair.reader.timings.take());

    println!("  {title:15} {}", arrived.show());
    let legs = std::mem::take(&mut pair.legs);
    let on_the_way = [
        ("to the writer's machine", &legs.command),
        ("seal, place, queue", &legs.sealing),
        ("over the node to the reader's machine", &legs.transit),
        ("open, place", &legs.opening),
        ("to the reader", &legs.event),
    ];
    for (part, samples) in on_the_way {
        if samples.len() > 0 {
            println!("    {part:38} p50 {:6.0} µs", micros(samples.percentile(50)));
        }
    }
    let syncs = [
        ("the node's sync, which is on the way", at_node.sync_p50),
        ("the writer's sync, which is beside it", writer.syncs.percentile(50)),
        ("the reader's sync, which comes later", reader.syncs.percentile(50)),
    ];
    for (part, median) in syncs {
        println!("    {part:38} p50 {:6.0} µs", micros(median));
    }
    if raw.len() > 0 {
        println!("    {:38} {}", "raw fdatasync", raw.show());
    }
    Ok(())
}

const MEMORY: &str = "/dev/shm";
const WARM_UP: u64 = 500;
const LONE: u64 = 1000;
const RATES: [(u32, u64); 2] = [(5, 50), (100, 1000)];
