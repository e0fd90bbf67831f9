//! What the application asks of the node and what the node reports back.

use std::{net::SocketAddr, time::Duration};

use proto::{AccountId, Key, NodeAddress, NodeId};
use routing::{LookedUp, NodeRecord};

use crate::{
    counters::Counters,
    status::{Drained, NodePeer, Status},
};

/// A command of the application. It chooses the ticket, which comes back with the answer.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// The store takes this many bytes on disk. To be sent periodically; in between the node adds
    /// what it stores.
    DiskUsed(u64),
    /// Joins the network through this node as well.
    Join(NodeAddress),
    /// Others can dial this node at these addresses from now on.
    Addresses(Vec<SocketAddr>),
    /// Leaves the network: tells other nodes and hands over the records stored for them.
    Leave,
    /// Looks up a record. With `insist`, all nodes are asked if it is not found.
    Lookup { ticket: u64, target: Key, insist: bool },
    /// Draws nodes at random.
    Sample(u64),
    /// Asks for the status of the node.
    Status(u64),
    /// Drains the node: other homes copy all its logs, and it takes nothing new. Asks how far that
    /// has come.
    Drain(u64),
    /// Asks which nodes are connected.
    Peers(u64),
}

/// An event for the application.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// An account was registered.
    Registered(AccountId),
    /// The counters; sent every ten seconds at most, and only if they have changed.
    Counters(Counters),
    /// The node has joined the network: look-ups work and accounts are published.
    Joined,
    /// A lookup has ended.
    LookedUp { ticket: u64, result: Box<LookedUp> },
    /// Nodes drawn at random, with their round-trip times.
    Sampled { ticket: u64, nodes: Vec<(NodeRecord, Duration)> },
    /// The status of the node.
    Status { ticket: u64, status: Box<Status> },
    /// How far draining has come.
    Drained { ticket: u64, drained: Drained },
    /// The nodes that are connected.
    Peers { ticket: u64, peers: Vec<NodePeer> },
    /// Other nodes can't dial this one at its addresses.
    Unreachable,
    /// This node is reached at these addresses from now on, through a port of another node; at none
    /// if that is gone.
    Addresses(Vec<SocketAddr>),
    /// A node is dead, as two observers agree.
    Dead(NodeId),
    /// All records are handed over; the process may end after `Leave`.
    Left,
}
