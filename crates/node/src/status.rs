//! What a node reports to its operator.

use std::net::SocketAddr;

use proto::{Gauge, NodeId};
use routing::{NodeRecord, RouterCounters};

use crate::Counters;

/// The status of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub node: NodeId,
    /// The addresses at which it says that it can be dialled.
    pub addresses: Vec<SocketAddr>,
    /// Whether it can be dialled, if other nodes have tried.
    pub reachable: Option<bool>,
    /// Since when it has been running, in seconds since the Unix epoch.
    pub since_s: u64,
    /// Devices and nodes that are connected.
    pub connections: u64,
    /// Nodes in its table.
    pub contacts: u64,
    /// Nodes that are connected.
    pub links: u64,
    /// Gossip neighbours.
    pub neighbours: u64,
    /// Records stored for the network.
    pub records: u64,
    /// Accounts with a home here.
    pub accounts: u64,
    /// Logs stored here.
    pub logs: u64,
    /// Copies of logs at other nodes that may lack entries that are here, counted up to 10,000.
    pub copies_behind: u64,
    /// Logs of which a home that should hold a copy has none, as of the last check.
    pub copies_lacking: u64,
    /// Unreachable nodes of shared logs, which other nodes replace.
    pub nodes_gone: u64,
    /// What is on disk.
    pub disk_used_bytes: u64,
    /// What may be.
    pub disk_cap_bytes: u64,
    /// How full each collection is that peers can make grow.
    pub gauges: Vec<Gauge>,
    /// Counters of the service to devices.
    pub counters: Counters,
    /// Counters of the router.
    pub routing: RouterCounters,
}

/// How far draining has come: how many of the node's logs other homes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Two other homes of the account have all of it, or the only other one.
    pub safe: u64,
    /// Other homes are copying it.
    pub left: u64,
    /// Their account has no other home that can be reached.
    pub stuck: u64,
}

/// A node that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePeer {
    /// Its own record.
    pub record: NodeRecord,
    /// Whether it is a gossip neighbour.
    pub neighbour: bool,
}
