//! Methods of a running node, for its operator. Specified in `spec/local-api.md`, section 5.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ::node::{Drained, NodeCommand, NodeEvent, NodePeer, Status};
use net::Reader;
use proto::NodeAddress;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    backup_file::{BackupInfo, back_up_running},
    handle::NodeHandle,
};
use crate::{
    api::{Call, Events, Refusal, Service, call_by_name},
    failure::Failure,
};

/// A running node, as its methods see it.
pub(super) struct NodeApi {
    pub(super) handle: Arc<NodeHandle>,
    /// Its own address, valid if other nodes can dial it.
    pub(super) address: String,
    pub(super) reader: Reader,
    pub(super) directory: PathBuf,
}

/// A node has no events.
pub(super) enum NoEvents {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusShow {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerList {}

/// Copies everything to other home nodes and reports the progress.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {}

/// Writes everything that the node has to a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    /// An absolute path where there is no file.
    pub(super) file: PathBuf,
}

/// The status of a node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) node: String,
    /// The address that clients and other nodes use.
    pub(crate) address: String,
    pub(crate) joined: bool,
    /// Whether other nodes can dial it; `null` until one has tried.
    pub(crate) reachable: Option<bool>,
    pub(crate) up_s: u64,
    pub(crate) connections: u64,
    pub(crate) contacts: u64,
    pub(crate) links: u64,
    pub(crate) neighbours: u64,
    pub(crate) records: u64,
    pub(crate) accounts: u64,
    pub(crate) logs: u64,
    /// Copies at other nodes that may be incomplete.
    pub(crate) copies_behind: u64,
    /// Logs of which a home node that should have a copy has none.
    pub(crate) copies_lacking: u64,
    /// Unreachable nodes that others replace.
    pub(crate) nodes_gone: u64,
    pub(crate) disk_used: u64,
    pub(crate) disk_cap: u64,
    pub(crate) devices_served: DevicesServed,
    pub(crate) nodes_served: NodesServed,
}

/// Work for devices since the process started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DevicesServed {
    pub(crate) appended: u64,
    pub(crate) duplicates: u64,
    pub(crate) delivered: u64,
    pub(crate) pages: u64,
    pub(crate) signals: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

/// Work for nodes since the process started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodesServed {
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

/// A connected node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) node: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) region: String,
    pub(crate) version: String,
    /// When it started, according to itself, in seconds since the Unix epoch.
    pub(crate) since_s: u64,
    /// Whether the two gossip with each other.
    pub(crate) neighbour: bool,
}

/// The progress of a drain, in logs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DrainProgress {
    /// Held in full by two other home nodes of their account, or by the only other one.
    pub(super) safe: u64,
    /// Being copied.
    pub(super) left: u64,
    /// Without another reachable home node.
    pub(super) stuck: u64,
}

impl Service for NodeApi {
    type Events = NoEvents;

    async fn call(&self, method: &str, params: Value) -> Option<Result<Value, Refusal>> {
        call_by_name!(self, method, params, [StatusShow, PeerList, Drain, Backup])
    }

    async fn subscribe(self: &Arc<Self>, _: Value) -> Option<Result<(Value, NoEvents), Refusal>> {
        None
    }
}

impl Events for NoEvents {
    type Event = ();

    async fn next(&mut self) -> Result<Option<()>, Failure> {
        match *self {}
    }
}

impl Call for StatusShow {
    const METHOD: &'static str = "node.status";
    type Target = NodeApi;
    type Returns = NodeStatus;

    async fn run(self, api: &NodeApi) -> Result<NodeStatus, Failure> {
        let NodeEvent::Status { status, .. } = api.handle.ask(NodeCommand::Status).await? else {
            return Err(unexpected());
        };
        let address = reached_at(&status, &api.address);
        let Status { counters, routing, .. } = *status;
        let sum = |counts: &mut dyn Iterator<Item = &u64>| {
            counts.fold(0_u64, |sum, count| sum.saturating_add(*count))
        };
        Ok(NodeStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: status.node.to_string(),
            address,
            joined: api.handle.state().joined,
            reachable: status.reachable,
            up_s: now_s().saturating_sub(status.since_s),
            connections: status.connections,
            contacts: status.contacts,
            links: status.links,
            neighbours: status.neighbours,
            records: status.records,
            accounts: status.accounts,
            logs: status.logs,
            copies_behind: status.copies_behind,
            copies_lacking: status.copies_lacking,
            nodes_gone: status.nodes_gone,
            disk_used: status.disk_used_bytes,
            disk_cap: status.disk_cap_bytes,
            devices_served: DevicesServed {
                appended: counters.appended,
                duplicates: counters.duplicates,
                delivered: counters.delivered,
                pages: counters.pages,
                signals: counters.signals,
                expired: counters.expired,
                refused: sum(&mut counters.refused.values()),
                dropped: sum(&mut counters.dropped.values()),
            },
            nodes_served: NodesServed {
                requests: routing.requests,
                answers: routing.answers,
                refused: routing.refused,
                dropped: routing.dropped,
            },
        })
    }
}

impl Call for PeerList {
    const METHOD: &'static str = "node.peers";
    type Target = NodeApi;
    type Returns = Vec<Peer>;

    async fn run(self, api: &NodeApi) -> Result<Vec<Peer>, Failure> {
        let NodeEvent::Peers { peers, .. } = api.handle.ask(NodeCommand::Peers).await? else {
            return Err(unexpected());
        };
        let peer = |NodePeer { record, neighbour }: NodePeer| {
            let says = record.says();
            Peer {
                node: record.node().to_string(),
                addresses: says.addresses.iter().map(ToString::to_string).collect(),
                region: says.region.clone(),
                version: says.version.clone(),
                since_s: says.since_s,
                neighbour,
            }
        };
        Ok(peers.into_iter().map(peer).collect())
    }
}

impl Call for Drain {
    const METHOD: &'static str = "node.drain";
    type Target = NodeApi;
    type Returns = DrainProgress;

    async fn run(self, api: &NodeApi) -> Result<DrainProgress, Failure> {
        let NodeEvent::Drained { drained, .. } = api.handle.ask(NodeCommand::Drain).await? else {
            return Err(unexpected());
        };
        let Drained { safe, left, stuck } = drained;
        Ok(DrainProgress { safe, left, stuck })
    }
}

impl Call for Backup {
    const METHOD: &'static str = "node.backup";
    type Target = NodeApi;
    type Returns = BackupInfo;

    async fn run(self, api: &NodeApi) -> Result<BackupInfo, Failure> {
        back_up_running(&api.reader, &api.directory, self.file).await
    }
}

/// Returns the address of the node: that of its relay, if it can't be dialled itself.
fn reached_at(status: &Status, told: &str) -> String {
    let addresses = status.addresses.clone();
    let is_told = addresses.is_empty() || status.reachable.is_none();
    if is_told { told.to_owned() } else { NodeAddress { node: status.node, addresses }.to_string() }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn unexpected() -> Failure {
    Failure::user("the node gave another answer than it was asked for")
}
