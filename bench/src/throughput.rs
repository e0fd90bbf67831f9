//! Messages that a node stores per second, each synced to disk before it is acknowledged.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::{runtime::Runtime, time::sleep};

use crate::{crowd::Plan, env::Env, measure::micros, sender::Order};

pub(crate) fn run(runtime: &Runtime, options: &[String]) -> Result<()> {
    let seconds: u64 = options.first().map_or(Ok(5), |seconds| seconds.parse())?;
    let loads = match options {
        [_, senders, window] => vec![(senders.parse()?, window.parse()?)],
        _ => LOADS.to_vec(),
    };
    println!("throughput: stored messages per second, {seconds} s each; target 20,000 with 128");
    println!("  senders  on their way   messages     siskin/s   node µs  senders µs  per sync");
    let mut best = 0.0_f64;
    for (senders, window) in loads {
        let fly = runtime.block_on(one(senders, window, seconds, None))?;
        let budget = (fly * seconds as f64 * 2.0) as usize;
        let ready = runtime.block_on(one(senders, window, seconds, Some(budget)))?;
        best = best.max(fly).max(ready);
    }
    println!("  best {best:.0}/s");
    Ok(())
}

/// Runs one load against a new node. Returns messages per second.
async fn one(senders: u32, window: u64, seconds: u64, ready_made: Option<usize>) -> Result<f64> {
    let mut env = Env::new(1)?;
    let plan = Plan { ready_made: ready_made.unwrap_or(0), ..Plan::new(senders) };
    let crowd = env.crowd(plan).await?;
    crowd
        .order(match ready_made {
            None => Order::Window(window),
            Some(_) => Order::ReadyMade(window),
        })
        .await?;
    // Ready-made messages run out, so their warm-up is short.
    sleep(Duration::from_millis(if ready_made.is_some() { 300 } else { 1000 })).await;
    env.used()?;
    let (begun, before) = (Instant::now(), crowd.stored());
    let made = ready_made.map_or(u64::MAX, |made| made as u64 * 9 / 10);
    while begun.elapsed() < Duration::from_secs(seconds) && crowd.stored() < made {
        sleep(Duration::from_millis(20)).await;
    }
    let stored = crowd.stored() - before;
    let took = begun.elapsed();
    let used = env.used()?;

    let each = |time: Duration| micros(time) / stored.max(1) as f64;
    let per_s = stored as f64 / took.as_secs_f64();
    println!(
        "  {senders:7} {window:8} each   {} {per_s:10.0} {:9.1} {:11.1} {:9.1}   sync p50 {:.0} µs, apply {:.1} µs each",
        if ready_made.is_some() { "ready-made" } else { "on the fly" },
        each(used.nodes),
        each(used.devices),
        stored as f64 / used.syncs[0].max(1) as f64,
        micros(used.sync_p50),
        each(used.applying),
    );
    crowd.leave().await?;
    env.stop()?;
    Ok(per_s)
}

/// Senders, and how many messages each keeps on their way.
const LOADS: [(u32, u64); 5] = [(1, 1), (1, 64), (16, 1), (16, 64), (128, 32)];
