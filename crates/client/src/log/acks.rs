//! Node acks: which nodes have signed that an own entry is on their disk. An entry is stored once
//! the device has checked this for enough nodes itself; it takes no node's word for what another
//! one holds. Acks are kept until the contact has acknowledged the entry. Specified in
//! `spec/delivery.md`, section 6.

use std::{collections::BTreeSet, ops::ControlFlow};

use crypto::node::verify_ack;
use proto::{Direction, LogId, NodeAck, NodeId, Reference, Rows, Table, limits};

use super::{Log, cursor};
use crate::{
    DeliveryStatus, entries,
    link::Links,
    rows::{self, TimelineKey, prefix_range},
    step::{Durability, Misbehaviour, Step},
};

/// Log ‖ position ‖ id → node ‖ incarnation ‖ signature, each after the other: who has signed that
/// it holds an own entry, until the contact has acknowledged that.
const NODE_ACKS: Table = Table(24);

/// How many nodes have to hold an own entry before it is called stored, and which of them count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Nodes that have to acknowledge it, as far as there are so many.
    needed: usize,
    /// Nodes that hold it although the ranking does not name them.
    extra: Vec<NodeId>,
    /// Nodes whose acks are worth nothing: they are proven faulty.
    excluded: BTreeSet<NodeId>,
}

impl Policy {
    pub(crate) fn new(needed: usize, extra: Vec<NodeId>, excluded: BTreeSet<NodeId>) -> Self {
        Self { needed, extra, excluded }
    }
}

/// A node that has acknowledged an own entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Who has signed.
    pub node: NodeId,
    /// What.
    pub ack: NodeAck,
}

/// Returns who has acknowledged an own entry that the contact has not acknowledged yet.
pub(crate) fn acks(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Vec<Acked> {
    parse(&rows.get(NODE_ACKS, &key.row_key(log)).unwrap_or_default())
}

pub(crate) fn ack_of(
    rows: &dyn Rows,
    log: &LogId,
    key: TimelineKey,
    node: &NodeId,
) -> Option<NodeAck> {
    let acks = acks(rows, log, key).into_iter();
    acks.filter(|ack| ack.node == *node).map(|ack| ack.ack).next()
}

/// Returns a log that has acks, the first one from an id on.
pub(crate) fn first_acked(rows: &dyn Rows, from: &[u8; 32]) -> Option<LogId> {
    let mut log = None;
    for from in [from, &[0; 32]] {
        rows.scan(NODE_ACKS, from, &[0xFF; 80], Direction::Forward, &mut |key, _| {
            log = key.first_chunk::<32>().map(|log| LogId(*log));
            ControlFlow::Break(())
        });
        if log.is_some() {
            break;
        }
    }
    log
}

/// Visits the acks of a log, from the entries of a position on that `choose` draws knowing the last
/// one, then those before it, until `visit` breaks.
pub(crate) fn visit_acked(
    rows: &dyn Rows,
    log: &LogId,
    choose: impl FnOnce(u64) -> u64,
    visit: &mut dyn FnMut(TimelineKey, Vec<Acked>) -> ControlFlow<()>,
) {
    let (first, end) = prefix_range(&log.0);
    let key_of = |key: &[u8]| TimelineKey::decode(key.get(log.0.len()..)?);
    let mut last = 0;
    rows.scan(NODE_ACKS, &first, &end, Direction::Backward, &mut |key, _| {
        last = key_of(key).map_or(0, |key| key.position);
        ControlFlow::Break(())
    });
    let middle = rows::numbered(log, choose(last));
    let mut is_over = false;
    for (from, to) in [(&middle, &end), (&first, &middle)] {
        rows.scan(NODE_ACKS, from, to, Direction::Forward, &mut |key, row| {
            let flow = key_of(key).map(|key| visit(key, parse(row)));
            is_over = flow.is_some_and(|flow| flow.is_break());
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if is_over {
            return;
        }
    }
}

/// An own entry is gone, and with it what was acknowledged of it.
pub(super) fn forget(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    step.delete(NODE_ACKS, key.row_key(log));
}

/// The contact has an own entry: node acks prove nothing more.
pub(super) fn forget_if_there(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    if step.rows().get(NODE_ACKS, &key.row_key(log)).is_some() {
        forget(step, log, key);
    }
}

pub(super) fn erase(step: &mut Step<'_>, log: &LogId) {
    step.erase(NODE_ACKS, &log.0);
}

fn parse(row: &[u8]) -> Vec<Acked> {
    let acks = row.chunks_exact(ACKED_LEN).filter_map(|ack| {
        let (node, ack) = ack.split_first_chunk::<32>()?;
        let (incarnation, signature) = ack.split_first_chunk::<8>()?;
        let incarnation = u64::from_be_bytes(*incarnation);
        let ack = NodeAck { incarnation, signature: signature.try_into().ok()? };
        Some(Acked { node: NodeId(*node), ack })
    });
    acks.collect()
}

fn put(step: &mut Step<'_>, log: &LogId, key: TimelineKey, acks: &[Acked]) {
    let mut row = Vec::with_capacity(acks.len().saturating_mul(ACKED_LEN));
    for Acked { node, ack } in acks {
        row.extend(node.0);
        row.extend(ack.incarnation.to_be_bytes());
        row.extend(ack.signature);
    }
    step.put(NODE_ACKS, key.row_key(log), row);
}

impl Log {
    /// A node says that it, or another one, holds an entry. Returns which, if that is news.
    pub(crate) fn on_ack(
        &mut self,
        step: &mut Step<'_>,
        links: &Links,
        node: &NodeId,
        reference: &Reference,
        ack: Acked,
    ) -> Option<TimelineKey> {
        let Acked { node: holder, ack } = ack;
        let Some(key) = entries::find(step.rows(), &self.id, reference) else {
            step.count_dropped();
            return None;
        };
        if !self.may_hold(&holder) {
            step.count_dropped();
            return None;
        }
        let status = entries::status(step.rows(), &self.id, key);
        let mut known = acks(step.rows(), &self.id, key);
        let is_said =
            |known: &Acked| (known.node, known.ack.incarnation) == (holder, ack.incarnation);
        let awaits = matches!(status, Some(DeliveryStatus::Sent | DeliveryStatus::Stored));
        if !awaits || known.iter().any(is_said) {
            return None;
        }
        let is_good = self.is_of_current_copy(step, links, &holder, ack.incarnation)
            && verify_ack(&holder, &self.id, &key.id, &ack).is_ok();
        if !is_good {
            step.count_dropped();
            // A node need not have checked what it only passes on.
            if holder == *node {
                step.report(node, Misbehaviour::Invalid);
            }
            return None;
        }
        // What it has acknowledged for an older copy is worth nothing any more.
        known.retain(|known| known.node != holder);
        known.truncate(limits::RANKING_MAX.saturating_sub(1));
        known.push(Acked { node: holder, ack });
        put(step, &self.id, key, &known);
        step.timeline_changed(&self.id);
        let is_stored =
            status == Some(DeliveryStatus::Sent) && self.settle_if_stored(step, key, &known);
        if !is_stored {
            // The node can send the ack again.
            step.require(Durability::Later);
        }
        Some(key)
    }

    /// Returns whether a node has acknowledged that an own entry is in the copy that it has now.
    pub(super) fn is_acked_by(&self, step: &Step<'_>, node: &NodeId, key: TimelineKey) -> bool {
        let incarnation = cursor(step.rows(), node, &self.id).incarnation;
        let ack = ack_of(step.rows(), &self.id, key, node);
        ack.is_some_and(|ack| ack.incarnation == incarnation)
    }

    /// Returns whether the ack's incarnation is that of the copy which the node announced when it
    /// opened the log; true of a node that has not.
    fn is_of_current_copy(
        &self,
        step: &Step<'_>,
        links: &Links,
        node: &NodeId,
        incarnation: u64,
    ) -> bool {
        let has_it_open = links.find_fetching(node, &self.id).is_some();
        let announced = cursor(step.rows(), node, &self.id).incarnation;
        incarnation != 0 && (!has_it_open || incarnation == announced)
    }

    /// Calls an entry stored if enough nodes have acknowledged it; returns whether they have. A
    /// node that was named when the entry was sent and is no more does not count.
    fn settle_if_stored(&mut self, step: &mut Step<'_>, key: TimelineKey, acks: &[Acked]) -> bool {
        let Policy { needed, extra, excluded } = &self.policy;
        let ranked = self.state.ranking.nodes.iter().map(|address| &address.node);
        let all = ranked.chain(extra).filter(|node| !excluded.contains(node));
        let all: BTreeSet<&NodeId> = all.collect();
        let counts = |node: &NodeId| self.may_hold(node) && !excluded.contains(node);
        let count = acks.iter().filter(|ack| counts(&ack.node)).count();
        let enough = count >= (*needed).min(all.len().max(1));
        if enough {
            self.awaited.remove(&key);
            entries::advance_status(step, &self.id, key, DeliveryStatus::Stored);
        }
        enough
    }
}

/// Node, incarnation and signature.
const ACKED_LEN: usize = 32 + 8 + 64;
