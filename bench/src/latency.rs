//! From one device over a node to another: how long, and where the time goes.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    measure::{DiskProbe, Samples, micros, scratch},
    node_process::NodeProcess,
    people::{Pace, Pair},
};

pub(crate) async fn run() -> Result<()> {
    println!("latency: 100-byte messages, command to the reader's hand, one node, real disk syncs");
    let directory = scratch()?;
    let mut node = NodeProcess::start(&directory.path().join("node"))?;
    let mut pair = Pair::meet(directory.path(), &node.address()).await?;
    let mut probe = DiskProbe::new(directory.path())?;
    pair.converse(Pace::AfterArrival, WARM_UP, || Ok(())).await?;

    one(&mut pair, &mut node, &mut probe, "one at a time", Pace::AfterArrival, LONE).await?;
    for (rate, count) in RATES {
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
    let medians = [
        ("writer's commit", writer.syncs.percentile(50)),
        ("node's sync", at_node.sync_p50),
        ("reader's commit", reader.syncs.percentile(50)),
    ];
    let in_syncs: Duration = medians.iter().map(|(_, median)| *median).sum();
    let rest = arrived.percentile(50).saturating_sub(in_syncs);
    for (part, median) in medians.iter().chain([&("all else", rest)]) {
        println!("    {part:16} p50 {:6.0} µs", micros(*median));
    }
    if raw.len() > 0 {
        println!("    {:16} {}", "raw fdatasync", raw.show());
    }
    Ok(())
}

const WARM_UP: u64 = 500;
const LONE: u64 = 1000;
const RATES: [(u32, u64); 2] = [(5, 50), (100, 1000)];
