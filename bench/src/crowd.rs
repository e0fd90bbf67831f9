//! Many small devices at one node, each with a key, a socket and a connection of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use net::{Counters, Driver, Identity, Keys, Running, Settings};
use proto::{Body, NodeAddress, Ranking};
use store::Memory;
use tokio::time::sleep;

use crate::sender::{Author, Order, Progress, Sender, SenderConfig};

/// Devices at work.
#[derive(Debug)]
pub(crate) struct Crowd {
    devices: Vec<Running<Sender>>,
    pub(crate) progress: Arc<Progress>,
}

/// Accounts, each with messages that are ready to be sent.
pub(crate) type Authors = Vec<(Author, VecDeque<Body>)>;

/// What a crowd is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) devices: u32,
    /// The number of the first: a second crowd at a node takes others.
    pub(crate) first: u32,
    /// Messages made before the start, by all together.
    pub(crate) ready_made: usize,
    pub(crate) follow: bool,
}

impl Plan {
    /// The first so many, with nothing ready-made, that follow nothing.
    pub(crate) fn new(devices: u32) -> Self {
        Self { devices, first: 0, ready_made: 0, follow: false }
    }
}

impl Crowd {
    /// Makes accounts and messages, and connects them all.
    pub(crate) async fn gather(plan: Plan, node: &NodeAddress) -> Result<Self> {
        let authors = authors(plan, |number| Author::new(number, node))?;
        Self::connect(authors, node, plan.follow, None).await
    }

    /// Connects a device of each account to a node.
    pub(crate) async fn connect(
        authors: Authors,
        node: &NodeAddress,
        follow: bool,
        ranking: Option<Ranking>,
    ) -> Result<Self> {
        let progress = Arc::<Progress>::default();
        let mut devices = Vec::new();
        for (author, ready_made) in authors {
            let keys = Keys::One(Identity::from_seed(author.transport));
            let config = SenderConfig {
                author,
                node: node.clone(),
                progress: Arc::clone(&progress),
                ready_made,
                follow,
                ranking: ranking.clone(),
            };
            let mut running =
                Driver::<Sender>::start(Settings::new(keys), config, Memory::new()).await?;
            drop(running.take_events());
            devices.push(running);
            let begun = devices.len() as u64;
            if begun.is_multiple_of(DIALS_AT_ONCE) {
                wait(&progress, begun).await?;
            }
        }
        wait(&progress, devices.len() as u64).await?;
        Ok(Self { devices, progress })
    }

    pub(crate) async fn order(&self, order: Order) -> Result<()> {
        for device in &self.devices {
            device.commands().send(order).await?;
        }
        Ok(())
    }

    pub(crate) fn stored(&self) -> u64 {
        self.progress.stored.load(Relaxed)
    }

    /// How many node acks have come for what was sent.
    pub(crate) fn acks(&self) -> u64 {
        self.progress.acks.load(Relaxed)
    }

    /// The sums of what their drivers count.
    pub(crate) fn counters(&self) -> Counters {
        self.devices.iter().map(Running::counters).fold(Counters::default(), |sum, counters| {
            Counters {
                udp_bytes_in: sum.udp_bytes_in + counters.udp_bytes_in,
                udp_bytes_out: sum.udp_bytes_out + counters.udp_bytes_out,
                udp_datagrams_in: sum.udp_datagrams_in + counters.udp_datagrams_in,
                udp_datagrams_out: sum.udp_datagrams_out + counters.udp_datagrams_out,
                connections: sum.connections + counters.connections,
                ..sum
            }
        })
    }

    /// Hangs up.
    pub(crate) async fn leave(self) -> Result<()> {
        self.order(Order::Window(0)).await?;
        let leaving: Vec<_> =
            self.devices.into_iter().map(|device| tokio::spawn(device.shutdown())).collect();
        for left in leaving {
            left.await??;
        }
        Ok(())
    }
}

async fn wait(progress: &Progress, ready: u64) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while progress.ready.load(Relaxed) < ready {
        if Instant::now() > end || progress.refused.load(Relaxed) > 0 {
            bail!("{} of {ready} devices came in", progress.ready.load(Relaxed));
        }
        // Other threads count them; this is the resolution of what is measured until they are in.
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Makes accounts and messages on all cores.
pub(crate) fn authors(
    plan: Plan,
    author: impl Fn(u32) -> Result<Author> + Sync,
) -> Result<Authors> {
    let each = plan.ready_made / plan.devices.max(1) as usize;
    let make = |number: u32| -> Result<_> {
        let mut author = author(number)?;
        let ready_made = (0..each).map(|_| author.next_message()).collect();
        Ok((author, ready_made))
    };
    let numbers: Vec<u32> = (plan.first..plan.first + plan.devices).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = numbers.len().div_ceil(cores).max(1);
    let make = &make;
    thread::scope(|scope| {
        let parts: Vec<_> = numbers
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(|n| make(*n)).collect::<Vec<_>>()))
            .collect();
        let mut all = Vec::new();
        for part in parts {
            let made = part.join().ok().context("making accounts panicked")?;
            all.extend(made.into_iter().collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    })
}

/// Fewer than a node lets begin in a second.
const DIALS_AT_ONCE: u64 = 100;
/// Longer than a node with much on its disk takes to answer after a crash.
const PATIENCE: Duration = Duration::from_secs(180);
