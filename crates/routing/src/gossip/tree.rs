//! The tree over which facts are spread: PlumTree (Leitão, Pereira and Rodrigues, "Epidemic
//! Broadcast Trees", 2007). Specified in `spec/routing.md`, section 8.
//!
//! An edge to a neighbour is either eager and carries facts, or lazy and carries their ids (section
//! 3.4 of the paper). A duplicate fact makes an edge lazy; an announced fact that does not arrive
//! makes one eager.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use prost::Message;
use proto::{Fact, FactId, Gauge, Gossip, Instant, NodeId, limits, wire};

use super::output::{Outputs, say};

/// The edges to the neighbours, and the facts that can be requested here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    edges: BTreeMap<NodeId, Edge>,
    kept: VecDeque<Kept>,
    missing: BTreeMap<FactId, Missing>,
    /// When the waiting ids are announced.
    tell_at: Option<Instant>,
}

#[derive(Debug)]
struct Edge {
    /// It belongs to the tree.
    of_tree: bool,
    /// Ids that wait to be announced together.
    names: Vec<FactId>,
}

/// A fact that can be requested.
#[derive(Debug)]
struct Kept {
    id: FactId,
    encoded: Vec<u8>,
    hops: u32,
    since: Instant,
}

/// A fact that was announced and has not arrived.
#[derive(Debug)]
struct Missing {
    ask_at: Instant,
    /// The announcers that were not asked yet.
    namers: Vec<NodeId>,
    /// The first announcer, against whose limit it counts.
    by: NodeId,
}

impl Tree {
    /// Sets the neighbours. New edges are eager (section 3.6 of the paper), and get the ids of
    /// recent facts, so that none is lost between two views.
    pub(super) fn follow(&mut self, neighbours: &[NodeId], out: &mut Outputs) {
        self.edges.retain(|node, _| neighbours.contains(node));
        self.missing.retain(|_, missing| {
            missing.namers.retain(|node| neighbours.contains(node));
            neighbours.contains(&missing.by) || !missing.namers.is_empty()
        });
        for node in neighbours {
            if self.edges.contains_key(node) {
                continue;
            }
            self.edges.insert(*node, Edge { of_tree: true, names: Vec::new() });
            let newest = self.kept.iter().rev().take(TOLD_NEW_MAX);
            let names: Vec<FactId> = newest.map(|kept| kept.id).collect();
            if !names.is_empty() {
                say(out, node, Gossip::Have(names));
            }
        }
    }

    /// Forwards a fact, and keeps it for neighbours that only get its id.
    pub(super) fn spread(
        &mut self,
        id: FactId,
        fact: &Fact,
        hops: u32,
        except: Option<NodeId>,
        now: Instant,
        out: &mut Outputs,
    ) {
        for (node, edge) in &mut self.edges {
            if Some(*node) == except {
                continue;
            }
            if edge.of_tree {
                say(out, node, Gossip::Spread { fact: fact.clone(), hops });
            } else {
                edge.names.push(id);
                self.tell_at.get_or_insert_with(|| now.after(TOLD_AFTER));
                if edge.names.len() >= limits::FACTS_NAMED_MAX {
                    say(out, node, Gossip::Have(std::mem::take(&mut edge.names)));
                }
            }
        }
        self.forget_old(now);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { id, encoded: fact.encode(), hops, since: now });
    }

    /// Sends a fact over lazy edges too: this node will not be there to answer requests.
    pub(super) fn press(&self, id: &FactId, out: &mut Outputs) {
        let Some(kept) = self.kept.iter().find(|kept| kept.id == *id) else { return };
        for (node, _) in self.edges.iter().filter(|(_, edge)| edge.names.contains(id)) {
            kept.say(out, node);
        }
    }

    /// Makes the edge eager over which a new fact arrived first.
    pub(super) fn got(&mut self, id: &FactId, from: &NodeId) {
        self.missing.remove(id);
        if let Some(edge) = self.edges.get_mut(from) {
            edge.of_tree = true;
        }
    }

    /// Makes the edge lazy over which a duplicate arrived.
    pub(super) fn got_again(&mut self, from: &NodeId, out: &mut Outputs) {
        if let Some(edge) = self.edges.get_mut(from) {
            edge.of_tree = false;
            say(out, from, Gossip::Prune);
        }
    }

    pub(super) fn pruned(&mut self, from: &NodeId) {
        if let Some(edge) = self.edges.get_mut(from) {
            edge.of_tree = false;
        }
    }

    /// Notes a fact that a neighbour has announced and that was not seen.
    pub(super) fn named(&mut self, id: FactId, by: NodeId, now: Instant) {
        if let Some(missing) = self.missing.get_mut(&id) {
            if missing.namers.len() < NAMERS_MAX && !missing.namers.contains(&by) {
                missing.namers.push(by);
            }
            return;
        }
        // A neighbour that invents ids must not take the room of others.
        let of_this = self.missing.values().filter(|missing| missing.by == by).count();
        if of_this < MISSING_OF_NEIGHBOUR_MAX && self.missing.len() < MISSING_MAX {
            let missing = Missing { ask_at: now.after(GRAFT_AFTER), namers: vec![by], by };
            self.missing.insert(id, missing);
        }
    }

    /// Sends announced facts to a neighbour, and makes its edge eager.
    pub(super) fn grafted(&mut self, from: &NodeId, ids: &[FactId], out: &mut Outputs) {
        let Some(edge) = self.edges.get_mut(from) else { return };
        edge.of_tree = true;
        for kept in self.kept.iter().filter(|kept| ids.contains(&kept.id)) {
            kept.say(out, from);
        }
    }

    pub(super) fn timeout(&mut self, now: Instant, out: &mut Outputs) {
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            for (node, edge) in &mut self.edges {
                if !edge.names.is_empty() {
                    say(out, node, Gossip::Have(std::mem::take(&mut edge.names)));
                }
            }
        }
        self.graft(now, out);
        self.forget_old(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ask = self.missing.values().map(|missing| missing.ask_at).min();
        [ask, self.tell_at].into_iter().flatten().min()
    }

    pub(super) fn gauges(&self) -> [Gauge; 3] {
        let names = self.edges.values().map(|edge| edge.names.len()).max().unwrap_or(0);
        [
            Gauge::new("facts kept", self.kept.len(), KEPT_MAX),
            Gauge::new("facts missing", self.missing.len(), MISSING_MAX),
            Gauge::new("facts to name", names, limits::FACTS_NAMED_MAX),
        ]
    }

    pub(super) fn state_bytes(&self) -> usize {
        let encoded: usize = self.kept.iter().map(|kept| kept.encoded.capacity()).sum();
        let kept = self.kept.capacity().saturating_mul(size_of::<Kept>());
        let names: usize = self.edges.values().map(|edge| edge.names.capacity()).sum();
        let namers: usize = self.missing.values().map(|missing| missing.namers.capacity()).sum();
        let missing = self.missing.len().saturating_mul(size_of::<(FactId, Missing)>());
        let edges = self.edges.len().saturating_mul(size_of::<(NodeId, Edge)>());
        let rows = missing.saturating_add(edges).saturating_mul(3).saturating_div(2);
        let ids = names.saturating_mul(16).saturating_add(namers.saturating_mul(32));
        encoded.saturating_add(kept).saturating_add(rows).saturating_add(ids)
    }

    /// Requests missing facts, each time from another announcer (section 3.5 of the paper).
    fn graft(&mut self, now: Instant, out: &mut Outputs) {
        let mut grafts = BTreeMap::<NodeId, Vec<FactId>>::new();
        self.missing.retain(|id, missing| {
            if missing.ask_at > now {
                return true;
            }
            if missing.namers.is_empty() {
                return false;
            }
            grafts.entry(missing.namers.remove(0)).or_default().push(*id);
            missing.ask_at = now.after(GRAFT_AGAIN_AFTER);
            true
        });
        for (node, ids) in grafts {
            if let Some(edge) = self.edges.get_mut(&node) {
                edge.of_tree = true;
            }
            for ids in ids.chunks(limits::FACTS_NAMED_MAX) {
                say(out, &node, Gossip::Graft(ids.to_vec()));
            }
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|kept| now.since(kept.since) >= KEPT_FOR) {
            self.kept.pop_front();
        }
    }
}

impl Kept {
    fn say(&self, out: &mut Outputs, to: &NodeId) {
        // It always decodes: it was encoded here.
        let decoded = wire::Fact::decode(self.encoded.as_slice());
        if let Some(fact) = decoded.ok().and_then(|fact| Fact::try_from(fact).ok()) {
            say(out, to, Gossip::Spread { fact, hops: self.hops });
        }
    }
}

/// Facts that can be requested: a second's worth at the highest forwarding rate.
const KEPT_MAX: usize = 32;
/// Twice the time in which an id is announced and requested twice.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// Facts that are announced to a new neighbour.
const TOLD_NEW_MAX: usize = 16;
/// How long ids wait to be announced together.
const TOLD_AFTER: Duration = Duration::from_millis(100);
/// Longer than a fact takes along the tree after its id has come along a short cut.
const GRAFT_AFTER: Duration = Duration::from_millis(500);
/// One round trip on most paths (section 3.5 of the paper: shorter than the first wait).
const GRAFT_AGAIN_AFTER: Duration = Duration::from_millis(400);
/// Announcers of a fact that are remembered.
const NAMERS_MAX: usize = 3;
/// Missing facts of one neighbour: half a second's worth at the highest forwarding rate.
const MISSING_OF_NEIGHBOUR_MAX: usize = 16;
/// As many for each neighbour.
const MISSING_MAX: usize = 5 * MISSING_OF_NEIGHBOUR_MAX;
