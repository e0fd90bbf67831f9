//! Local settings of a node.

use std::time::Duration;

use crypto::SigningKey;
use proto::{NodeId, limits};
use routing::RouterConfig;

/// Local settings; each may differ from node to node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node's own name: the key its connections prove.
    pub node: NodeId,
    /// The secret half of that name, with which it signs acks for entries on its disk. Without it,
    /// the default, it sends no acks.
    pub key: Option<SigningKey>,
    /// Who may register an account here. Open by default: the caps below bound what strangers can
    /// take.
    pub registration: Registration,
    /// Bytes on disk at which the node stores nothing more. 8 GiB by default: fits the smallest
    /// rented machine with room for its system.
    pub disk_cap_bytes: u64,
    /// Bytes that one account may take: its inbox and the conversations it created. 512 MiB by
    /// default: about a million messages.
    pub account_quota_bytes: u64,
    /// Conversations that one account may create. [`limits::CHANNELS_MAX`] by default: as many as
    /// one device can have open.
    pub account_logs_max: u64,
    /// Bytes that one log may take. 128 MiB by default: one loud conversation leaves its creator
    /// room for others.
    pub log_quota_bytes: u64,
    /// Signals that one connection may send a second. 32 by default: typing in a few
    /// conversations takes one or two.
    pub signals_per_s_max: u32,
    /// Connections at the same time. 65,536 by default: three times what a driver accepts unless
    /// told otherwise, at less than 1 KiB each; the driver's own limit is to bite first.
    pub connections_max: usize,
    /// After how long an absent home of an account counts as unreachable, so that the next home of
    /// the record makes copies. Ten minutes by default: longer than a restart or an update takes.
    pub reserve_after: Duration,
    /// For how long a home has to be back before the copies made in its absence are dropped. A day
    /// by default.
    pub reserve_kept: Duration,
    /// How long after a comparison with another node the next one follows, if a log has changed. An
    /// hour by default: entries are pushed, and comparisons find what pushing has missed.
    pub anti_entropy_every: Duration,
    /// How often the rows are scrubbed. A day by default: scrubbing reads all that is stored.
    pub scrub_every: Duration,
    /// How it takes part in the routing network, with the same key. Without, it finds no other node
    /// and is not found.
    pub routing: Option<RouterConfig>,
}

/// Who may register an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Everyone whose bundle names this node as a home.
    #[default]
    Open,
    /// No new accounts; existing ones stay.
    Closed,
}

impl NodeConfig {
    /// The defaults for `node`.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            key: None,
            registration: Registration::Open,
            disk_cap_bytes: 8 << 30,
            account_quota_bytes: 512 << 20,
            account_logs_max: limits::CHANNELS_MAX as u64,
            log_quota_bytes: 128 << 20,
            signals_per_s_max: 32,
            connections_max: 65_536,
            reserve_after: Duration::from_secs(600),
            reserve_kept: Duration::from_secs(24 * 3600),
            anti_entropy_every: Duration::from_secs(3600),
            scrub_every: Duration::from_secs(24 * 3600),
            routing: None,
        }
    }
}
