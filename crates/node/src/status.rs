//! What a node tells its operator.

use std::net::SocketAddr;

use proto::{Gauge, NodeId};
use routing::{NodeRecord, RouterCounters};

use crate::Counters;

/// How a node fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub node: NodeId,
    /// Where it says that it can be dialled.
    pub addresses: Vec<SocketAddr>,
    /// Whether it can be, if others have found out.
    pub reachable: Option<bool>,
    /// Since when it has been running, in seconds since the Unix epoch.
    pub since_s: u64,
    /// Devices and nodes that are connected.
    pub connections: u64,
    /// Nodes in its table.
    pub contacts: u64,
    /// Nodes that are connected.
    pub links: u64,
    /// Nodes with which it gossips.
    pub neighbours: u64,
    /// Records that it keeps for others.
    pub records: u64,
    /// Accounts that are at home here.
    pub accounts: u64,
    /// Logs that are here.
    pub logs: u64,
    /// Copies of logs at other nodes that may lack something that is here, as far as they were
    /// counted: up to 10,000.
    pub copies_behind: u64,
    /// Logs of which a home that is to have a copy has none, as far as was seen when they were
    /// looked at last.
    pub copies_lacking: u64,
    /// Nodes of shared logs that have been out of reach for so long that others take their place.
    pub nodes_gone: u64,
    /// What is on disk.
    pub disk_used_bytes: u64,
    /// What may be.
    pub disk_cap_bytes: u64,
    /// How full each collection is that peers can make grow.
    pub gauges: Vec<Gauge>,
    /// What was done for devices.
    pub counters: Counters,
    /// What was done for nodes.
    pub routing: RouterCounters,
}

/// How far a node that drains has come: how many of its logs others hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Two other homes of the account have all of it, or the only other one.
    pub safe: u64,
    /// They are getting it.
    pub left: u64,
    /// Their account has no other home that can be reached.
    pub stuck: u64,
}

/// A node that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePeer {
    /// What it says of itself.
    pub record: NodeRecord,
    /// It is one of those with which this node gossips.
    pub neighbour: bool,
}
