//! What the application asks of the node and what the node reports back.

use std::{net::SocketAddr, time::Duration};

use proto::{AccountId, Key, NodeAddress, NodeId};
use routing::{LookedUp, NodeRecord};

use crate::{
    counters::Counters,
    status::{Drained, NodePeer, Status},
};

/// What the application tells the node. A ticket is of its choice and comes back with the answer.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// The store takes this many bytes on disk. To be said now and then; between times the node
    /// adds what it stores.
    DiskUsed(u64),
    /// Joins the network through this node too.
    Join(NodeAddress),
    /// Others can dial this node at these addresses from now on.
    Addresses(Vec<SocketAddr>),
    /// Goes: tells other nodes and hands over what is kept for them.
    Leave,
    /// Looks up a record. If nothing is found and `insist` is set, everybody is asked.
    Lookup { ticket: u64, target: Key, insist: bool },
    /// Draws nodes at random.
    Sample(u64),
    /// Asks how the node fares.
    Status(u64),
    /// Has other homes make copies of all that is here, and takes nothing new. Asks how far that
    /// is.
    Drain(u64),
    /// Asks which nodes are connected.
    Peers(u64),
}

/// What the node tells the application.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// There is a new account.
    Registered(AccountId),
    /// What was counted so far; said every ten seconds at most, and only if it changed.
    Counters(Counters),
    /// The network is found: lookups work, accounts are published.
    Joined,
    /// A lookup has ended.
    LookedUp { ticket: u64, result: Box<LookedUp> },
    /// Nodes drawn at random, with the time to them and back.
    Sampled { ticket: u64, nodes: Vec<(NodeRecord, Duration)> },
    /// How the node fares.
    Status { ticket: u64, status: Box<Status> },
    /// How far draining has come.
    Drained { ticket: u64, drained: Drained },
    /// The nodes that are connected.
    Peers { ticket: u64, peers: Vec<NodePeer> },
    /// Others can't dial this node where it says they can.
    Unreachable,
    /// Others reach this node at these addresses from now on, by a port of another one; at none if
    /// that is gone.
    Addresses(Vec<SocketAddr>),
    /// A node is gone, as far as two observers can tell.
    Dead(NodeId),
    /// All is handed over; whoever has asked to leave may end.
    Left,
}
