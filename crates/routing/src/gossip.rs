//! Gossip: membership and failure detection. Specified in `spec/routing.md`, sections 8 to 10.
//!
//! ```text
//!  message ─▶ Gossip ─┬─▶ view       neighbours and contacts             (HyParView)
//!                     ├─▶ tree       the edges over which facts spread   (PlumTree)
//!                     ├─▶ facts      verified, seen and forwarded facts
//!                     ├─▶ detector   indirect probes of unreachable nodes (SWIM)
//!                     └─▶ suspicion  suspected nodes and their observers
//! ```
//!
//! [`Gossip`] is a machine within the machine: the router feeds it and carries out the outputs that
//! it [polls](Gossip::poll). It is not an existing implementation, because facts must be verified
//! before they are forwarded, time must come from outside, and a network that has lost a third of
//! its nodes must heal by itself.

mod detector;
mod facts;
mod output;
mod receive;
mod recent;
mod rng;
mod suspicion;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::{collections::VecDeque, time::Duration};

use crypto::{SigningKey, node::Verifier};
use proto::{AccountId, Contact, Fact, FactId, Gauge, Instant, NodeId, Query, RateLimiter};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::record::{NodeRecord, Suspicion, fact_id};

use self::{
    detector::{Detector, THROUGH},
    facts::{Facts, Networks, Of},
    output::Outputs,
    suspicion::{Suspecting, Suspicions},
    tree::Tree,
    view::View,
};

pub(crate) use self::output::{GossipOutput, News};

/// One node's part in gossip.
#[derive(Debug)]
pub(crate) struct Gossip {
    config: GossipConfig,
    rng: ChaCha20Rng,
    own: Option<NodeRecord>,
    /// The own record as last spread.
    said: Option<NodeRecord>,
    /// The own record must be spread: it is new, or refutes a suspicion.
    unsaid: bool,
    left: bool,
    view: View,
    tree: Tree,
    facts: Facts,
    detector: Detector,
    suspicions: Suspicions,
    /// Queries of others, and when this node answers them.
    asked: VecDeque<(Instant, Query)>,
    ask_again_at: Instant,
    /// Messages of nodes that are no neighbours.
    strangers: RateLimiter,
    out: Outputs,
}

/// The identity of the node.
#[derive(Debug)]
pub(crate) struct GossipConfig {
    key: SigningKey,
    /// Proof of work.
    nonce: u64,
    /// Verifies the facts of others.
    verifier: Verifier,
}

impl GossipConfig {
    pub(crate) fn new(key: SigningKey, nonce: u64, verifier: Verifier) -> Self {
        Self { key, nonce, verifier }
    }
}

impl Gossip {
    pub(crate) fn new(config: GossipConfig, mut rng: ChaCha20Rng) -> Self {
        let own = NodeId(config.key.public().0);
        let contact = Contact { node: own, nonce: config.nonce, addresses: Vec::new() };
        Self {
            view: View::new(contact, config.verifier.work_bits(), ChaCha20Rng::from_rng(&mut rng)),
            tree: Tree::default(),
            facts: Facts::new(config.verifier.clone()),
            detector: Detector::default(),
            suspicions: Suspicions::new(),
            own: None,
            said: None,
            unsaid: false,
            left: false,
            asked: VecDeque::new(),
            ask_again_at: Instant::default(),
            strangers: RateLimiter::new(STRANGERS_PER_S, Instant::default()),
            out: Outputs::new(),
            config,
            rng,
        }
    }

    /// Sets the own record, and spreads it if it is news.
    pub(crate) fn set_own(&mut self, record: NodeRecord, now: Instant) {
        self.view.set_own(record.contact(), now);
        self.suspicions.set_public(Networks::of(&record.says().addresses).is_public());
        self.unsaid |= self.said.as_ref().is_none_or(|said| is_news(&record, said));
        self.own = Some(record);
        self.apply_wishes(now);
    }

    /// Joins through a node.
    pub(crate) fn join(&mut self, contact: Contact, now: Instant) {
        self.view.join(contact, now, &mut self.out);
        self.apply_wishes(now);
    }

    /// Handles a connection whose peer has introduced itself, perhaps again.
    pub(crate) fn connected(&mut self, node: NodeId, record: &NodeRecord, now: Instant) {
        if self.left || record.node() != node {
            return;
        }
        self.detector.alive(&node);
        self.view.connected(record, now, &mut self.out);
        self.apply_wishes(now);
    }

    /// Handles a connection that has ended or could not be made.
    pub(crate) fn disconnected(&mut self, node: NodeId, now: Instant) {
        if let Some((contact, serial)) = self.view.disconnected(&node, now, &mut self.out) {
            if self.suspicions.is_dead(&node) {
                self.died(node);
            } else {
                self.watch(&contact, serial, now);
            }
        }
        self.apply_wishes(now);
    }

    /// Handles a message of a node.
    pub(crate) fn word(&mut self, from: NodeId, word: proto::Gossip, now: Instant) {
        if self.left {
            return;
        }
        match word {
            proto::Gossip::Join(_) => self.asked_by(from, None, now),
            proto::Gossip::Neighbour { urgent } => self.asked_by(from, Some(urgent), now),
            proto::Gossip::NeighbourIs { accepted } => {
                if self.strangers.take(now) {
                    self.view.answered(from, accepted, now, &mut self.out);
                }
            }
            proto::Gossip::Part { leaving } => {
                self.view.parted(&from, leaving, now, &mut self.out);
            }
            proto::Gossip::Shuffled(contacts) => {
                if self.strangers.take(now) {
                    self.view.shuffled(contacts, now, &mut self.out);
                }
            }
            proto::Gossip::ForwardJoin { .. }
            | proto::Gossip::Shuffle { .. }
            | proto::Gossip::Spread { .. }
            | proto::Gossip::Have(_)
            | proto::Gossip::Graft(_)
            | proto::Gossip::Prune => self.neighbours_word(from, word, now),
        }
        self.apply_wishes(now);
    }

    /// Has other nodes probe a long-lived node that no longer answers.
    pub(crate) fn lost(&mut self, node: &NodeRecord, now: Instant) {
        if !self.view.has(&node.node()) {
            self.watch(&node.contact(), node.says().serial, now);
        }
        self.apply_wishes(now);
    }

    /// Handles the answer to a probe: whether `by` has reached `node`; `None` if it could not try.
    pub(crate) fn probed(&mut self, node: NodeId, by: NodeId, reached: Option<bool>, now: Instant) {
        self.detector.probed(&node, &by, reached, now);
        self.apply_wishes(now);
    }

    /// Asks every node for an account's record. Returns false if it is too soon for another query,
    /// or no node could answer.
    pub(crate) fn query(&mut self, account: AccountId, now: Instant) -> bool {
        let origin = self.own.as_ref().map(NodeRecord::contact);
        let Some(origin) = origin.filter(|origin| !origin.addresses.is_empty()) else {
            return false;
        };
        // Other nodes forward no more than that.
        if now < self.ask_again_at
            || self.view.neighbours().is_empty()
            || !self.facts.admit(Of::Origin, &origin.node, now)
        {
            return false;
        }
        self.ask_again_at = now.after(QUERY_EVERY);
        let query = Query { account, origin, number: self.rng.next_u64() };
        self.say(&Fact::Query(query), now);
        true
    }

    /// Drops the pending answers for an account.
    pub(crate) fn answered(&mut self, account: AccountId) {
        self.asked.retain(|(_, query)| query.account != account);
    }

    /// Returns whether the connection to a node must not be closed.
    pub(crate) fn is_neighbour(&self, node: &NodeId) -> bool {
        self.view.has(node)
    }

    /// Returns the contacts to remember: those of both views and those to reconnect to.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.view.contacts()
    }

    /// Says goodbye. The own record must say so already.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.apply_wishes(now);
        if let Some(own) = &self.own {
            let fact = Fact::Node(own.as_bytes().to_vec());
            self.tree.press(&fact_id(&fact), &mut self.out);
        }
        self.view.leave(&mut self.out);
        self.left = true;
    }

    /// Does what is due.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.left {
            return;
        }
        self.view.timeout(now, &mut self.out);
        self.tree.timeout(now, &mut self.out);
        for (node, serial) in self.detector.timeout(&mut self.rng, now) {
            self.suspect(node, serial, now);
        }
        while let Some((at, query)) = self.asked.front()
            && *at <= now
        {
            self.out.push_back(GossipOutput::Asked(query.clone()));
            self.asked.pop_front();
        }
        self.apply_wishes(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let timeouts = [
            self.view.poll_timeout(),
            self.tree.poll_timeout(),
            self.detector.poll_timeout(),
            self.asked.front().map(|(at, _)| *at),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Returns the next output.
    pub(crate) fn poll(&mut self) -> Option<GossipOutput> {
        let output = self.out.pop_front();
        if output.is_none() {
            self.out = Outputs::new();
        }
        output
    }

    /// Returns the gauges of the collections that peers can make grow.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = self.view.gauges().to_vec();
        gauges.extend(self.tree.gauges());
        gauges.extend(self.facts.gauges());
        gauges.extend(self.suspicions.gauges());
        gauges.push(self.detector.gauge());
        gauges.push(Gauge::new("questions to answer", self.asked.len(), ASKED_MAX));
        gauges
    }

    /// Returns roughly how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        let records = [&self.own, &self.said].into_iter().flatten();
        let rows = [
            size_of::<Self>(),
            self.view.state_bytes(),
            self.tree.state_bytes(),
            self.facts.state_bytes(),
            self.detector.state_bytes(),
            self.suspicions.state_bytes(),
            self.asked.capacity().saturating_mul(size_of::<(Instant, Query)>()),
            self.out.capacity().saturating_mul(size_of::<GossipOutput>()),
        ];
        rows.into_iter().chain(records.map(|record| record.as_bytes().len())).sum()
    }

    /// Handles a node that asks to become a neighbour.
    fn asked_by(&mut self, from: NodeId, urgent: Option<bool>, now: Instant) {
        if self.strangers.take(now) {
            self.view.asked(from, urgent, now, &mut self.out);
        }
    }

    /// Marks a node as dead, unless this node is connected to it.
    fn died(&mut self, node: NodeId) {
        self.detector.alive(&node);
        if !self.view.has(&node) {
            self.view.forget(&node);
            self.out.push_back(GossipOutput::News(News::Dead(node)));
        }
    }

    /// Makes this node refute a suspicion.
    fn suspected_myself(&mut self) {
        self.unsaid = true;
        self.out.push_back(GossipOutput::News(News::SuspectedMyself));
    }

    /// Has other nodes probe a node that this one does not reach, if that has addresses.
    fn watch(&mut self, contact: &Contact, serial: u64, now: Instant) {
        if contact.addresses.is_empty() || self.left {
            return;
        }
        let serial = self.facts.newest(&contact.node).max(Some(serial)).unwrap_or(serial);
        let through = self.view.some(THROUGH);
        self.detector.watch(contact, serial, through, now, &mut self.out);
    }

    /// Spreads the suspicion that neither this node nor others reach a node.
    fn suspect(&mut self, node: NodeId, serial: u64, now: Instant) {
        let Some(own) = &self.own else { return };
        if self.suspicions.is_settled(&node) || self.view.has(&node) {
            return;
        }
        let contact = own.contact();
        let (at_s, key) = (now.as_secs(), &self.config.key);
        let bytes = Suspicion::sign(key, &contact, node, serial, at_s);
        let Contact { node: observer, addresses, .. } = contact;
        let suspicion = Suspicion { node, serial, observer, addresses, at_s };
        if self.suspicions.suspect(&suspicion, now) == Suspecting::Dead {
            self.died(node);
        }
        self.say(&Fact::Suspicion(bytes), now);
    }

    /// Spreads a fact of this node.
    fn say(&mut self, fact: &Fact, now: Instant) {
        let id: FactId = fact_id(fact);
        self.facts.see(&id);
        self.tree.spread(id, fact, 0, None, now, &mut self.out);
    }

    /// Updates the tree to the view, and spreads the own record if it was held back until now.
    fn apply_wishes(&mut self, now: Instant) {
        if self.left {
            return;
        }
        let neighbours = self.view.neighbours();
        self.tree.follow(&neighbours, &mut self.out);
        if !self.unsaid || neighbours.is_empty() {
            return;
        }
        let Some(own) = self.own.clone() else { return };
        // A newer record, which refutes, is about to be signed.
        if self.said.as_ref().is_some_and(|said| said.says().serial >= own.says().serial) {
            return;
        }
        self.unsaid = false;
        self.say(&Fact::Node(own.as_bytes().to_vec()), now);
        self.said = Some(own);
    }
}

/// Returns whether a record says something that every node should know.
fn is_news(record: &NodeRecord, said: &NodeRecord) -> bool {
    let (new, old) = (record.says(), said.says());
    let half = old.capacity_bytes.div_ceil(2).max(1);
    new.addresses != old.addresses
        || new.version != old.version
        || new.leaving != old.leaving
        || new.capacity_bytes.abs_diff(old.capacity_bytes) >= half
}

/// Messages of nodes that are no neighbours per second: a join, an answer, a shuffle each.
const STRANGERS_PER_S: u32 = 32;
/// Queries that wait for an answer: twice the burst that is forwarded.
const ASKED_MAX: usize = 8;
const QUERY_EVERY: Duration = Duration::from_secs(10);
