//! From one device over a node to another: how long, and where the time goes.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    env::Env,
    measure::{DiskProbe, Samples, micros},
    people::{Legs, Pace, Pair},
};

pub(crate) async fn run() -> Result<()> {
    println!("latency: 100-byte messages, command to the reader's hand, one node, real disk syncs");
    let mut env = Env::new(1)?;
    if env.keep_devices_in_memory() {
        println!("  devices' databases in memory");
        all(env, &[]).await?;
    }
    println!("  devices' databases on the node's disk");
    all(Env::new(1)?, &RATES).await
}

async fn all(mut env: Env, rates: &[(u32, u64)]) -> Result<()> {
    let mut pair = env.pair().await?;
    let mut probe = DiskProbe::new(env.path())?;
    pair.converse(Pace::AfterArrival, WARM_UP, || Ok(())).await?;
    one(&mut env, &mut pair, &mut probe, "one at a time", Pace::AfterArrival, LONE).await?;
    for (rate, count) in rates.iter().copied() {
        let title = format!("{rate} a second");
        one(&mut env, &mut pair, &mut probe, &title, Pace::PerSecond(rate), count).await?;
    }
    Ok(())
}

async fn one(
    env: &mut Env,
    pair: &mut Pair,
    probe: &mut DiskProbe,
    title: &str,
    pace: Pace,
    count: u64,
) -> Result<()> {
    pair.quiesce().await;
    env.used()?;
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
    let at_node = env.used()?;
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
    let on_the_way = on_the_way.into_iter().filter(|(_, samples)| samples.len() > 0);
    let syncs = [
        ("the node's sync, which is on the way", at_node.sync_p50),
        ("the writer's sync, which is beside it", writer.syncs.percentile(50)),
        ("the reader's sync, which comes later", reader.syncs.percentile(50)),
    ];
    for (part, median) in on_the_way.map(|(part, legs)| (part, legs.percentile(50))).chain(syncs) {
        println!("    {part:38} p50 {:6.0} µs", micros(median));
    }
    if raw.len() > 0 {
        println!("    {:38} {}", "raw fdatasync", raw.show());
    }
    Ok(())
}

const WARM_UP: u64 = 500;
const LONE: u64 = 1000;
const RATES: [(u32, u64); 2] = [(5, 50), (100, 1000)];
