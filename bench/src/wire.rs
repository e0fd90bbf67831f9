//! Bytes of IP packets per delivered message, each way.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use net::Counters;
use tokio::runtime::Runtime;

use crate::{env::Env, measure::loopback_bytes, people::Pace};

/// Runs in a network namespace of its own if the system allows it, since all bytes that cross the
/// loopback device are counted.
pub(crate) fn run(runtime: &Runtime, options: &[String]) -> Result<()> {
    if !options.iter().any(|option| option == ALONE) {
        let program = std::env::current_exe()?;
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            let script = format!("ip link set lo up && {script}");
            command.args(["--net", "--map-root-user", "sh", "-c", &script, "sh"]);
            command
        };
        if unshare("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            let mut alone = unshare(r#"exec "$@""#);
            let status = alone.arg(program).args(["wire", ALONE]).status()?;
            if !status.success() {
                bail!("{status}");
            }
            return Ok(());
        }
        println!("  without a network namespace: the loopback device counts other traffic too");
    }
    println!("wire: bytes of IP packets per delivered 100-byte message, headers included");
    println!("  targets: 450 writer to node, 800 in all; 5 a second bring a receipt back each");
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let env = Env::new(1)?;
    let mut pair = env.pair().await?;
    pair.converse(Pace::AfterArrival, 50, || Ok(())).await?;
    println!("                        writer→node  node→writer  node→reader  reader→node     all");
    for (title, pace, count) in [
        ("30 ms apart", Pace::AfterArrival, 200),
        ("5 a second", Pace::PerSecond(LONE_PER_S), LONE),
        ("200 a second", Pace::PerSecond(200), 2000),
        ("as fast as it goes", Pace::AT_ONCE, 5000),
    ] {
        pair.quiesce().await;
        let before = (pair.writer.counters(), pair.reader.counters(), loopback_bytes()?);
        // Longer than acknowledgements wait, shorter than receipts do.
        pair.converse(pace, count, || {
            thread::sleep(Duration::from_millis(30));
            Ok(())
        })
        .await?;
        pair.quiesce().await;
        let after = (pair.writer.counters(), pair.reader.counters(), loopback_bytes()?);
        let each = |bytes: u64| bytes as f64 / count as f64;
        let [(up, up_packets), (back, back_packets)] =
            flow(&before.0, &after.0).map(|(b, p)| (each(b), each(p)));
        let [(accepts, accept_packets), (down, down_packets)] =
            flow(&before.1, &after.1).map(|(b, p)| (each(b), each(p)));
        let all = up + back + down + accepts;
        println!("  {title:18}   {up:11.0}  {back:11.0}  {down:11.0}  {accepts:11.0}  {all:6.0}");
        println!(
            "    packets            {up_packets:11.2}  {back_packets:11.2}  {down_packets:11.2}  {accept_packets:11.2}"
        );
        println!("    loopback device    {:51.0}", each(after.2 - before.2));
    }
    Ok(())
}

/// Bytes of IP packets, and packets: those sent, those received.
pub(crate) fn flow(before: &Counters, after: &Counters) -> [(u64, u64); 2] {
    let packets = |after: u64, before: u64| after.saturating_sub(before);
    let sent = packets(after.udp_datagrams_out, before.udp_datagrams_out);
    let received = packets(after.udp_datagrams_in, before.udp_datagrams_in);
    [
        (after.udp_bytes_out - before.udp_bytes_out + sent * HEADERS, sent),
        (after.udp_bytes_in - before.udp_bytes_in + received * HEADERS, received),
    ]
}

/// An IPv4 and a UDP header.
const HEADERS: u64 = 28;
/// In a network of its own already.
pub(crate) const ALONE: &str = "alone";
const LONE_PER_S: u32 = 5;
const LONE: u64 = 50;
