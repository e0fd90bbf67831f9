//! Processor time per message from end to end: the node and both devices.

use std::{process, time::Duration};

use anyhow::Result;

use crate::{
    measure::{Scratch, micros, processor_time},
    node_process::NodeProcess,
    people::{Pace, Pair},
};

pub(crate) async fn run() -> Result<()> {
    println!("cpu: processor time per 100-byte message; target 200 µs in all");
    let directory = Scratch::on_disk()?;
    let node = NodeProcess::start(&directory.path().join("node"))?;
    let mut pair = Pair::meet(directory.path(), &node.address()).await?;
    pair.converse(Pace::AtOnce, 500, || Ok(())).await?;
    for (title, pace, count) in [
        ("one at a time", Pace::AfterArrival, 2000),
        ("200 a second", Pace::PerSecond(200), 2000),
        ("as fast as it goes", Pace::AtOnce, 10_000),
    ] {
        pair.settle().await;
        let (ours, theirs) = (processor_time(process::id())?, node.processor_time()?);
        let start = std::time::Instant::now();
        pair.converse(pace, count, || Ok(())).await?;
        let took = start.elapsed();
        pair.settle().await;
        let devices = processor_time(process::id())?.saturating_sub(ours);
        let at_node = node.processor_time()?.saturating_sub(theirs);
        let each = |time: Duration| micros(time) / count as f64;
        println!(
            "  {title:18}  node {:5.0} µs + two devices {:5.0} µs = {:5.0} µs  ({:.0} messages/s)",
            each(at_node),
            each(devices),
            each(at_node + devices),
            count as f64 / took.as_secs_f64(),
        );
    }
    Ok(())
}
