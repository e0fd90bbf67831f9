//! How soon a node that holds much answers after its start, and what that takes on its disk.

mod fill;

use std::{
    collections::VecDeque,
    fs,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use proto::{Direction, Rows};
use tokio::{runtime::Runtime, time::sleep};

use self::fill::{ENTRIES, Filled};
use crate::{
    crowd::{Crowd, Plan},
    measure::{Scratch, millis},
    process::{NodeProcess, open_store, program},
    sender::Order,
};

pub(crate) fn run(runtime: &Runtime, options: &[String]) -> Result<()> {
    let envelopes: u64 = options.first().map_or(Ok(ENVELOPES), |count| count.parse())?;
    let conversations = u32::try_from(envelopes.div_ceil(EACH).max(1))?;
    program()?;
    println!("restart: a node with {conversations} conversations of {EACH} messages each, from");
    println!("  the start of `siskin node run` until a device has opened one");
    println!("  targets: 5 s, 1.5 bytes a byte");
    let scratch = Scratch::on_disk()?;
    let directory = scratch.path().join("node");
    fs::create_dir(&directory)?;
    let begun = Instant::now();
    let filled = fill::fill(&directory, conversations, EACH)?;
    let Filled { envelopes, bytes } = filled;
    println!(
        "  filled: {envelopes} envelopes of {} bytes each in {:.0} s",
        bytes / envelopes.max(1),
        begun.elapsed().as_secs_f64()
    );
    show_disk("just filled", &directory, bytes)?;
    runtime.block_on(restart(&directory, filled))
}

async fn restart(directory: &Path, filled: Filled) -> Result<()> {
    let node = start("after the filling", directory, Pages::Cold).await?;
    wait_until_quiet(&node, directory).await?;
    show_disk("quiet", directory, filled.bytes)?;
    node.stop()?;
    for pages in [Pages::Cold, Pages::Warm, Pages::Warm] {
        start("after a stop", directory, pages).await?.stop()?;
    }
    show_disk("after further starts", directory, filled.bytes)?;
    let mut stored = 0;
    for (number, pages) in (1..).zip([Pages::Cold, Pages::Warm]) {
        let node = start("to be killed", directory, Pages::Warm).await?;
        stored += write_until_killed(node, number).await?;
        let node = start("after kill -9", directory, pages).await?;
        wait_until_quiet(&node, directory).await?;
        node.stop()?;
    }
    let held = count(directory)?;
    println!("  {stored} more were stored before the kills; the node holds {}", held.envelopes);
    if held.envelopes < filled.envelopes + stored {
        bail!("envelopes are lost");
    }
    show_disk("in the end", directory, held.bytes)
}

/// What the system remembers of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Cold,
    Warm,
}

/// Starts the node, and shows how long it takes until it listens, and until it has answered.
async fn start(when: &str, directory: &Path, pages: Pages) -> Result<NodeProcess> {
    let mut cache = "warm";
    if pages == Pages::Cold {
        cache = if forget_pages() { "cold" } else { "warm, for they can't be forgotten" };
    }
    let author = fill::author(0)?;
    let begun = Instant::now();
    let node = NodeProcess::siskin(directory)?;
    let listening = begun.elapsed();
    let device =
        Crowd::connect(vec![(author, VecDeque::new())], node.address(), true, None).await?;
    let answered = begun.elapsed();
    println!(
        "  {when:18} listening after {:7.0} ms, answered after {:7.0} ms   ({:.0} MiB, {:.1} s of processor time, files {cache})",
        millis(listening),
        millis(answered),
        node.memory_kib()? as f64 / 1024.0,
        node.processor_time()?.as_secs_f64(),
    );
    device.leave().await?;
    Ok(node)
}

/// Has the system forget what it has read of files, if it lets us.
fn forget_pages() -> bool {
    let _ = Command::new("sync").status();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Has users write as fast as they can, and kills the node meanwhile. Returns how many messages it
/// has accepted at least.
async fn write_until_killed(node: NodeProcess, number: u32) -> Result<u64> {
    let plan = Plan { first: number * STRANGERS, ..Plan::new(16) };
    let crowd = Crowd::gather(plan, node.address()).await?;
    crowd.order(Order::Window(64)).await?;
    // For a time, not until something: the node is killed in the midst of it.
    sleep(WRITE_FOR).await;
    let stored = crowd.stored();
    drop(node);
    crowd.leave().await?;
    Ok(stored)
}

/// Waits until the node has nothing to do any more, as far as its disk shows.
async fn wait_until_quiet(node: &NodeProcess, directory: &Path) -> Result<()> {
    let (begun, mut quiet_since) = (Instant::now(), Instant::now());
    let mut last = (0, Duration::ZERO);
    while quiet_since.elapsed() < QUIET && begun.elapsed() < PATIENCE {
        // Compactions have no event; the directory is looked at until it stays as it is.
        sleep(Duration::from_millis(500)).await;
        let (bytes, time) = (disk_bytes(directory)?[0], node.processor_time()?);
        if bytes != last.0 || time.saturating_sub(last.1) > Duration::from_millis(50) {
            quiet_since = Instant::now();
        }
        last = (bytes, time);
    }
    Ok(())
}

/// What there is, counted row by row.
fn count(directory: &Path) -> Result<Filled> {
    let store = open_store(directory)?;
    let mut held = Filled::default();
    store.scan(ENTRIES, &[], &[0xFF; 17], Direction::Forward, &mut |_, envelope| {
        held.envelopes += 1;
        held.bytes += envelope.len() as u64;
        ControlFlow::Continue(())
    });
    Ok(held)
}

fn show_disk(when: &str, directory: &Path, bytes: u64) -> Result<()> {
    let [all, journals] = disk_bytes(directory)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "  disk, {when}: {:.0} MiB, {:.0} of it journals, for {:.0} MiB of envelopes: {:.3} bytes a byte",
        mib(all),
        mib(journals),
        mib(bytes),
        all as f64 / bytes.max(1) as f64
    );
    Ok(())
}

/// What a directory and all below it takes on disk, and what of it journals do.
fn disk_bytes(directory: &Path) -> Result<[u64; 2]> {
    let [mut all, mut journals] = [0; 2];
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Files go meanwhile.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            let [below, of_it] = disk_bytes(&path).unwrap_or_default();
            (all, journals) = (all + below, journals + of_it);
            continue;
        }
        let bytes = metadata.blocks() * 512;
        all += bytes;
        if path.extension().is_some_and(|extension| extension == "jnl") {
            journals += bytes;
        }
    }
    Ok([all, journals])
}

const ENVELOPES: u64 = 5_000_000;
const EACH: u64 = 1000;
/// Numbers of accounts from here on are not those of the filling.
const STRANGERS: u32 = 1_000_000;
const WRITE_FOR: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(180);
