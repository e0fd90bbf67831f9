//! The outputs of gossip to the router.

use std::collections::VecDeque;

use proto::{Contact, NodeId, Query};

use crate::record::NodeRecord;

/// What the router must do for gossip.
#[derive(Debug)]
pub(crate) enum GossipOutput {
    /// Send this, if connected.
    Say(NodeId, proto::Gossip),
    /// Connect, and report `connected` or `disconnected`; at once if a connection exists already.
    /// Without addresses, only report whether one exists.
    Connect(Contact),
    /// The connection is not needed any more.
    Release(#[expect(dead_code, reason = "the router closes what is silent for long")] NodeId),
    /// Have `through` probe `of`; `probed` follows.
    Probe { of: Contact, through: NodeId },
    /// A verified fact.
    News(News),
    /// A query that is due to be answered.
    Asked(Query),
}

/// What gossip has learnt.
#[derive(Debug)]
pub(crate) enum News {
    /// A node joined, or changed.
    Node(NodeRecord),
    /// A node leaves.
    Leaving(NodeRecord),
    /// A node counts as dead.
    Dead(NodeId),
    /// Others suspect this node: it must sign a newer record to refute.
    SuspectedMyself,
}

pub(super) type Outputs = VecDeque<GossipOutput>;

/// Queues a message.
pub(super) fn say(out: &mut Outputs, to: &NodeId, word: proto::Gossip) {
    out.push_back(GossipOutput::Say(*to, word));
}
