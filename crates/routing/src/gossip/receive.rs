//! Receiving from neighbours: messages of the views and the tree, and facts.

use std::time::Duration;

use proto::{Fact, Instant, NodeId, Query};

use super::{ASKED_MAX, Gossip, rng};
use super::{
    facts::{Of, Statement},
    output::{GossipOutput, News},
    suspicion::Suspecting,
};
use crate::record::{NodeRecord, Suspicion, fact_id};

impl Gossip {
    /// Handles a message that only neighbours exchange.
    pub(super) fn neighbours_word(&mut self, from: NodeId, word: proto::Gossip, now: Instant) {
        if !self.view.has(&from) {
            // It takes this node for one, or its messages were in flight when the two parted.
            if self.strangers.take(now) {
                let part = proto::Gossip::Part { leaving: false };
                self.out.push_back(GossipOutput::Say(from, part));
            }
            return;
        }
        let count = if let proto::Gossip::Have(ids) | proto::Gossip::Graft(ids) = &word {
            ids.len().max(1)
        } else {
            1
        };
        if !self.view.may_say(&from, count, now) {
            return self.view.penalise(&from, now, &mut self.out);
        }
        let out = &mut self.out;
        match word {
            proto::Gossip::ForwardJoin { contact, hops } => {
                self.view.join_comes_by(from, contact, hops, now, out);
            }
            proto::Gossip::Shuffle { origin, contacts, hops } => {
                self.view.shuffle_comes_by(from, origin, contacts, hops, now, out);
            }
            proto::Gossip::Spread { fact, hops } => self.fact(from, &fact, hops, now),
            proto::Gossip::Have(ids) => {
                for id in ids {
                    if !self.facts.has_seen(&id) {
                        self.tree.named(id, from, now);
                    }
                }
            }
            proto::Gossip::Graft(ids) => self.tree.grafted(&from, &ids, out),
            proto::Gossip::Prune => self.tree.pruned(&from),
            proto::Gossip::Join(_)
            | proto::Gossip::Neighbour { .. }
            | proto::Gossip::NeighbourIs { .. }
            | proto::Gossip::Part { .. }
            | proto::Gossip::Shuffled(_) => {}
        }
    }

    /// Handles a fact that a neighbour has spread.
    fn fact(&mut self, from: NodeId, fact: &Fact, hops: u32, now: Instant) {
        let id = fact_id(fact);
        if !self.facts.see(&id) {
            return self.tree.got_again(&from, &mut self.out);
        }
        // No correct node forwards a fact that does not verify.
        let Some(statement) = self.facts.verify(fact) else {
            return self.view.penalise(&from, now, &mut self.out);
        };
        self.tree.got(&id, &from);
        let is_new = match statement {
            Statement::Node(record) => self.heard(*record, now),
            Statement::Suspicion(suspicion) => self.heard_suspicion(&suspicion, now),
            Statement::Query(query) => self.heard_query(query, now),
        };
        let hops = hops.saturating_add(1);
        if is_new && hops < HOPS_MAX && self.facts.may_pass(now) {
            self.tree.spread(id, fact, hops, Some(from), now, &mut self.out);
        }
    }

    /// Handles a spread node record. Returns whether it is news.
    fn heard(&mut self, record: NodeRecord, now: Instant) -> bool {
        let (node, serial) = (record.node(), record.says().serial);
        let is_own = self.own.as_ref().is_some_and(|own| own.node() == node);
        let known = if is_own {
            self.own.as_ref().map(|own| own.says().serial)
        } else {
            self.facts.newest(&node).max(self.view.serial(&node))
        };
        // A neighbour sends its record directly to its neighbours before it is spread.
        let is_spread = self.facts.newest(&node).is_some_and(|newest| newest >= serial);
        let is_old = known.is_some_and(|known| known > serial) || is_spread;
        if is_old || !self.facts.admit(Of::Record, &node, now) {
            return false;
        }
        if is_own {
            // Only this node can have signed it: it has lost its latest serial.
            if known < Some(serial) {
                self.suspected_myself();
            }
            return false;
        }
        self.facts.spread(&record);
        self.suspicions.refute(&record);
        self.detector.alive(&node);
        let news = if record.says().leaving {
            self.view.left(&node, now, &mut self.out);
            News::Leaving(record)
        } else {
            self.view.renew(&record);
            News::Node(record)
        };
        self.out.push_back(GossipOutput::News(news));
        true
    }

    /// Handles a spread suspicion. Returns whether it is new and not refuted.
    fn heard_suspicion(&mut self, suspicion: &Suspicion, now: Instant) -> bool {
        let (node, serial) = (suspicion.node, suspicion.serial);
        if let Some(own) = self.own.as_ref().filter(|own| own.node() == node) {
            if serial >= own.says().serial && self.facts.admit(Of::Suspected, &node, now) {
                self.suspected_myself();
            }
            return false;
        }
        let newest = self.facts.newest(&node).max(self.view.serial(&node));
        let is_refuted = newest.is_some_and(|newest| newest > serial);
        if is_refuted
            || serial > now.as_secs().saturating_add(AHEAD_MAX_S)
            || suspicion.at_s.abs_diff(now.as_secs()) > AHEAD_MAX_S
            || !self.facts.admit(Of::Observer, &suspicion.observer, now)
            || !self.facts.admit(Of::Suspected, &node, now)
        {
            return false;
        }
        match self.suspicions.suspect(suspicion, now) {
            Suspecting::Known => false,
            Suspecting::New => true,
            Suspecting::Dead => {
                self.died(node);
                true
            }
        }
    }

    /// Handles a spread query. Returns whether it is forwarded.
    fn heard_query(&mut self, query: Query, now: Instant) -> bool {
        let is_own = self.own.as_ref().is_some_and(|own| own.node() == query.origin.node);
        if is_own
            || !self.facts.may_pass_query(now)
            || !self.facts.admit(Of::Origin, &query.origin.node, now)
        {
            return false;
        }
        if self.asked.len() < ASKED_MAX {
            let wait = rng::up_to(&mut self.rng, ANSWER_AFTER);
            self.asked.push_back((now.after(wait), query));
            self.asked.make_contiguous().sort_by_key(|(at, _)| *at);
        }
        true
    }
}

/// Hops of a fact. The tree of 10,000 nodes has some 15; a fact from farther away loops.
const HOPS_MAX: u32 = 64;
/// How far ahead the clock of a record's signer may be, and how old a suspicion may be.
const AHEAD_MAX_S: u64 = 600;
/// Nodes that know an account answer spread over this time.
const ANSWER_AFTER: Duration = Duration::from_secs(1);
