//! The tree over which facts are spread: PlumTree (Leitão, Pereira and Rodrigues, "Epidemic
//! Broadcast Trees", 2007). Specified in `spec/routing.md`, section 8.
//!
//! Each edge to a neighbour is of the tree, and carries facts, or beside it, and carries their
//! names (section 3.4 of the paper). A fact that comes twice takes an edge out of the tree; one
//! that is named and does not come puts one in.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use prost::Message;
use proto::{Fact, FactId, Gauge, Gossip, Instant, NodeId, limits, wire};

use super::{GossipOutput, Outputs};

/// The edges to the neighbours, and the facts that can be had here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    edges: BTreeMap<NodeId, Edge>,
    kept: VecDeque<Kept>,
    missing: BTreeMap<FactId, Missing>,
    /// When names are told that wait.
    tell_at: Option<Instant>,
}

#[derive(Debug)]
struct Edge {
    of_tree: bool,
    /// Ids that wait to be batched.
    names: Vec<FactId>,
}

/// A fact that can be had.
#[derive(Debug)]
struct Kept {
    id: FactId,
    encoded: Vec<u8>,
    hops: u32,
    since: Instant,
}

/// A fact that was named and has not come.
#[derive(Debug)]
struct Missing {
    ask_at: Instant,
    /// Who named it and was not asked yet.
    namers: Vec<NodeId>,
    /// Who named it first: it is counted as one of that neighbour's.
    by: NodeId,
}

impl Tree {
    /// Makes the edges those to the neighbours. New ones are of the tree (section 3.6 of the
    /// paper), and told what can be had, so that nothing falls between two views.
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

    /// Passes a fact on, and keeps it for those who only hear its name.
    pub(super) fn spread(
        &mut self,
        (id, fact, hops): (FactId, &Fact, u32),
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

    /// Sends a fact to the nodes that only got its id: they could not ask later.
    pub(super) fn press(&self, id: &FactId, out: &mut Outputs) {
        let Some(kept) = self.kept.iter().find(|kept| kept.id == *id) else { return };
        for (node, _) in self.edges.iter().filter(|(_, edge)| edge.names.contains(id)) {
            kept.say(out, node);
        }
    }

    /// A new fact has arrived: its sender is nearer to its origin.
    pub(super) fn got(&mut self, id: &FactId, from: &NodeId) {
        self.missing.remove(id);
        if let Some(edge) = self.edges.get_mut(from) {
            edge.of_tree = true;
        }
    }

    /// A fact has come that was seen before.
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

    /// A neighbour has named a fact that was not seen.
    pub(super) fn named(&mut self, id: FactId, by: NodeId, now: Instant) {
        if let Some(missing) = self.missing.get_mut(&id) {
            if missing.namers.len() < NAMERS_MAX && !missing.namers.contains(&by) {
                missing.namers.push(by);
            }
            return;
        }
        // One who makes names up must not take the room of the others.
        let of_this = self.missing.values().filter(|missing| missing.by == by).count();
        if of_this < MISSING_OF_NEIGHBOUR_MAX && self.missing.len() < MISSING_MAX {
            let missing = Missing { ask_at: now.after(GRAFT_AFTER), namers: vec![by], by };
            self.missing.insert(id, missing);
        }
    }

    /// A neighbour wants facts that it was told the names of, and from now on all.
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

    /// Asks for what has not come, each time another of those who named it (section 3.5 of the
    /// paper).
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
        // Always: it is what was encoded.
        let decoded = wire::Fact::decode(self.encoded.as_slice());
        if let Some(fact) = decoded.ok().and_then(|fact| Fact::try_from(fact).ok()) {
            say(out, to, Gossip::Spread { fact, hops: self.hops });
        }
    }
}

fn say(out: &mut Outputs, to: &NodeId, word: Gossip) {
    out.push_back(GossipOutput::Say(*to, word));
}

/// Facts that can be had: a second's worth at the most that is passed on.
const KEPT_MAX: usize = 32;
/// Twice the time in which a name is told and asked for twice.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// Facts that a new neighbour is told of.
const TOLD_NEW_MAX: usize = 16;
/// Ids wait so long to be batched.
const TOLD_AFTER: Duration = Duration::from_millis(100);
/// Longer than a fact takes along the tree once its name has come along a short cut.
const GRAFT_AFTER: Duration = Duration::from_millis(500);
/// One round trip on most ways there are (section 3.5 of the paper: shorter than the first wait).
const GRAFT_AGAIN_AFTER: Duration = Duration::from_millis(400);
/// Who can be asked for a fact besides the first.
const NAMERS_MAX: usize = 3;
/// Facts of one neighbour that are missing: half a second of the most that is passed on.
const MISSING_OF_NEIGHBOUR_MAX: usize = 16;
/// As many of each neighbour.
const MISSING_MAX: usize = 5 * MISSING_OF_NEIGHBOUR_MAX;
