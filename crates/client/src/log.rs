//! One replicated log as a device sees it: what leaves for it, which nodes hold that, what arrives,
//! what is missing, and which nodes the log is at. It knows nothing of encryption or the timeline.
//!
//! ```text
//!  append ─▶ queue ─▶ Append to the primary ─▶ acks: stored once enough nodes have signed
//!                       └ too few sign ─▶ hedge: Append to the secondary
//!  Deliver ─▶ cursor ─▶ the owner takes the entry in ─ can't yet ─▶ deferred ─▶ fetch
//!  Announce (secondary) ─▶ have-list ─ not delivered in time ─▶ fetch
//! ```
//!
//! Specified in `spec/delivery.md`.

mod acks;
mod cursor;
mod deferred;
mod fetch;
mod hedge;
mod outbox;
mod placement;
mod queue;
mod secondary;
mod write_keys;

use std::collections::{BTreeMap, BTreeSet};

use proto::{Gauge, Instant, LogGenesis, LogId, NodeAddress, NodeId, Ranking, Rows, limits};

pub use acks::Acked;
pub(crate) use acks::{Policy, ack_of, acks, first_acked, visit_acked};
pub(crate) use cursor::{cursor, on_copy, put_cursor};
use deferred::Deferred;
pub(crate) use deferred::deferred_since;
use hedge::Awaited;
pub(crate) use outbox::{
    announced_keys, count_outgoing, count_unacked, erase, forget_change, keep_change,
    on_acknowledged, on_withdrawn, outgoing, unacked,
};
use queue::SendWindow;
pub(crate) use queue::{Appended, Refusal, WINDOW};
use secondary::{HAVE_MAX, HaveList};
pub(crate) use write_keys::WriteKeys;

use crate::{
    identity::ActiveHomes,
    link::{Links, LogUse},
    rows::TimelineKey,
    step::Step,
};

/// One replicated log.
pub(crate) struct Log {
    id: LogId,
    state: LogState,
    homes: ActiveHomes,
    policy: Policy,
    window: SendWindow,
    /// The last number in use in the outbox.
    queued: u64,
    /// Entries that one of the active homes will never take, as it says, and since when it does.
    doubted: BTreeMap<TimelineKey, (NodeId, Instant)>,
    awaited: Awaited,
    have: HaveList,
    deferred: Deferred,
    changed: bool,
}

/// What of a log is kept in its owner's row.
#[derive(Clone, Debug)]
pub(crate) struct LogState {
    pub(crate) genesis: LogGenesis,
    pub(crate) ranking: Ranking,
    /// This account has created the log, so that its homes rank first.
    pub(crate) created: bool,
    /// The log was open at a node.
    pub(crate) exists: bool,
    /// A node was told of others that hold the log.
    pub(crate) shared: bool,
    /// Nodes of the ranking that don't know it yet, and that no other device may tell.
    pub(crate) unannounced: BTreeSet<NodeId>,
}

impl Log {
    pub(crate) fn load(
        rows: &dyn Rows,
        state: LogState,
        homes: ActiveHomes,
        policy: Policy,
    ) -> Self {
        let id = state.genesis.id();
        Self {
            id,
            state,
            homes,
            policy,
            window: SendWindow::default(),
            queued: outbox::last_number(rows, &id),
            doubted: BTreeMap::new(),
            awaited: Awaited::default(),
            have: HaveList::default(),
            deferred: Deferred::load(rows, &id),
            changed: false,
        }
    }

    pub(crate) fn id(&self) -> &LogId {
        &self.id
    }

    /// What its owner keeps of it.
    pub(crate) fn state(&self) -> &LogState {
        &self.state
    }

    /// Returns whether the state changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The node with which this device talks about the log: the primary home, if that holds it.
    pub(crate) fn primary(&self) -> Option<&NodeAddress> {
        let home = self.named().find(|node| Some(node.node) == self.homes.primary());
        home.or_else(|| self.state.ranking.nodes.first())
    }

    /// Returns whether this device talks about the log with a node, and not with another one by
    /// now.
    pub(crate) fn is_primary(&self, node: &NodeId) -> bool {
        self.primary().is_some_and(|primary| primary.node == *node)
    }

    /// The other active home, if it holds the log as well.
    fn secondary(&self) -> Option<NodeId> {
        let at_home = self.primary().is_some_and(|node| Some(node.node) == self.homes.primary());
        self.homes.secondary().filter(|node| at_home && self.may_hold(node))
    }

    /// Returns whether the log was opened at a node before.
    pub(crate) fn exists(&self) -> bool {
        self.state.exists
    }

    /// Returns whether it is at this active home.
    pub(crate) fn is_at(&self, node: &NodeId) -> bool {
        self.is_primary(node) || self.secondary() == Some(*node)
    }

    /// Returns whether the log is open for reading at a node, or soon will be.
    fn reads(&self, links: &Links, node: &NodeId) -> bool {
        links.has(node, |channel| channel.serves(&self.id, LogUse::Read))
    }

    /// The channel on which the log is read at its primary, if it is open.
    pub(crate) fn reading(&self, links: &Links) -> Option<(NodeId, u32)> {
        let node = self.primary()?.node;
        let number = links.find(&node, |channel| channel.serves(&self.id, LogUse::Read))?;
        Some((node, number))
    }

    /// A node stored an own entry under this sequence.
    pub(crate) fn on_stored(&self, step: &mut Step<'_>, node: &NodeId, sequence: u64) {
        cursor::on_stored(step, node, &self.id, sequence);
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(crate) fn gauges(&self) -> [Gauge; 6] {
        [
            Gauge::new("deferred of a conversation", self.deferred.len(), limits::DEFERRED_MAX),
            Gauge::new("missing of a conversation", self.deferred.missing(), MISSING_MAX),
            Gauge::new("announced entries of a conversation", self.have.missing(), HAVE_MAX),
            Gauge::new("doubted entries of a conversation", self.doubted.len(), WINDOW),
            self.awaited.gauge(),
            self.window.gauge(),
        ]
    }
}

/// What the deferred entries of a log wait for.
const MISSING_MAX: usize = limits::DEFERRED_MAX * limits::DEPENDENCIES_MAX;
