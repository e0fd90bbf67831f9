//! What nearly every benchmark runs in: a directory on a real disk, nodes that store there, devices
//! that talk to them, and what all of these use.

use std::{path::Path, time::Duration};

use anyhow::Result;
use proto::NodeAddress;

use crate::{
    crowd::{Crowd, Plan},
    measure::{Scratch, processor_time},
    people::Pair,
    process::NodeProcess,
};

/// Nodes, and where they and the devices store. All of it is gone with this value.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) nodes: Vec<NodeProcess>,
    devices: Option<Scratch>,
    directory: Scratch,
    /// Processor time until the last look: of this process, of the nodes.
    processor: [Duration; 2],
}

/// What was used between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    /// Processor time of this process, with all the devices in it.
    pub(crate) devices: Duration,
    /// Processor time of all nodes.
    pub(crate) nodes: Duration,
    /// Disk syncs of each node.
    pub(crate) syncs: Vec<u64>,
    /// The first node's.
    pub(crate) sync_p50: Duration,
    /// Time that all nodes spent applying batches.
    pub(crate) applying: Duration,
}

impl Env {
    /// Starts so many nodes.
    pub(crate) fn new(nodes: usize) -> Result<Self> {
        let directory = Scratch::on_disk()?;
        let start = |number| NodeProcess::start(number, &node_path(&directory, number));
        let nodes = (0..nodes).map(start).collect::<Result<_>>()?;
        let (devices, processor) = (None, [Duration::ZERO; 2]);
        Ok(Self { nodes, devices, directory, processor })
    }

    /// Has devices store in memory, if there is such a place: in life they have disks of their own,
    /// and on one disk their syncs are in the nodes' way. Returns whether there is.
    pub(crate) fn keep_devices_in_memory(&mut self) -> bool {
        self.devices = Scratch::within(Path::new("/dev/shm")).ok();
        self.devices.is_some()
    }

    /// The disk of the nodes.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self, number: usize) -> NodeAddress {
        self.nodes[number].address().clone()
    }

    /// Stops a node when it has finished, and starts it again.
    pub(crate) fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes.remove(number).stop()?;
        let node = NodeProcess::start(number, &node_path(&self.directory, number))?;
        self.nodes.insert(number, node);
        Ok(())
    }

    /// Two users, both at home at the first node.
    pub(crate) async fn pair(&self) -> Result<Pair> {
        self.pair_at([vec![self.address(0)], vec![self.address(0)]]).await
    }

    /// Two users with these homes.
    pub(crate) async fn pair_at(&self, homes: [Vec<NodeAddress>; 2]) -> Result<Pair> {
        let devices = self.devices.as_ref().unwrap_or(&self.directory);
        Pair::meet(devices.path(), homes).await
    }

    /// Many devices at the first node.
    pub(crate) async fn crowd(&self, plan: Plan) -> Result<Crowd> {
        Crowd::gather(plan, self.nodes[0].address()).await
    }

    /// Returns what was used since the last call.
    pub(crate) fn used(&mut self) -> Result<Used> {
        let ours = processor_time(std::process::id())?;
        let nodes = self.nodes.iter().map(NodeProcess::processor_time).sum::<Result<_>>()?;
        let [ours_before, nodes_before] = std::mem::replace(&mut self.processor, [ours, nodes]);
        let figures =
            self.nodes.iter_mut().map(NodeProcess::figures).collect::<Result<Vec<_>>>()?;
        Ok(Used {
            devices: ours.saturating_sub(ours_before),
            nodes: nodes.saturating_sub(nodes_before),
            syncs: figures.iter().map(|figures| figures.syncs).collect(),
            sync_p50: figures.first().map_or(Duration::ZERO, |figures| figures.sync_p50),
            applying: figures.iter().map(|figures| figures.applying).sum(),
        })
    }

    /// Lets all nodes finish.
    pub(crate) fn stop(self) -> Result<()> {
        self.nodes.into_iter().try_for_each(NodeProcess::stop)
    }
}

fn node_path(directory: &Scratch, number: usize) -> std::path::PathBuf {
    directory.path().join(format!("node-{number}"))
}
