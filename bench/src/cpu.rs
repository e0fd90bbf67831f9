//! Processor time per message from end to end: the node and both devices.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{env::Env, measure::micros, people::Pace};

pub(crate) async fn run() -> Result<()> {
    println!("cpu: processor time per 100-byte message; target 200 µs in all");
    let mut env = Env::new(1)?;
    let mut pair = env.pair().await?;
    pair.converse(Pace::AT_ONCE, 500, || Ok(())).await?;
    for (title, pace, count) in [
        ("one at a time", Pace::AfterArrival, 2000),
        ("200 a second", Pace::PerSecond(200), 2000),
        ("as fast as it goes", Pace::AT_ONCE, 10_000),
    ] {
        pair.quiesce().await;
        env.used()?;
        let start = Instant::now();
        pair.converse(pace, count, || Ok(())).await?;
        let took = start.elapsed();
        pair.quiesce().await;
        let used = env.used()?;
        let each = |time: Duration| micros(time) / count as f64;
        println!(
            "  {title:18}  node {:5.0} µs + two devices {:5.0} µs = {:5.0} µs  ({:.0} messages/s)",
            each(used.nodes),
            each(used.devices),
            each(used.nodes + used.devices),
            count as f64 / took.as_secs_f64(),
        );
    }
    Ok(())
}
