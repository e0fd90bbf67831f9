//! What this node's requests to others are for.

use proto::NodeId;

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A lookup.
    Lookup(u64),
    /// A publication.
    Store(u64),
    /// A better record for a node that answered with an older one, a cached copy, or a record that
    /// is handed over: no operation waits for the answer.
    Gift,
    /// A ping.
    Check,
    /// A probe for this node, which asked with this request number.
    Probe(NodeId, u32),
    /// A forwarded probe for this node, which asked with this request number.
    PassedOn(NodeId, u32),
    /// An indirect probe of this node.
    ProbeThrough(NodeId),
    /// Whether others can dial this node.
    Reach,
    /// A relay port for this node.
    Relay,
}
