//! Gossip: who is alive, told from node to node. Specified in `spec/routing.md`, sections 8 to 10.
//!
//! ```text
//!  word ─▶ Gossip ─┬─▶ view        who gossips with whom            (HyParView)
//!                  ├─▶ tree        over which edges facts are spread (PlumTree)
//!                  ├─▶ facts       what is verified, seen, and passed on
//!                  ├─▶ detector    whether others reach whom this node lost (SWIM)
//!                  └─▶ suspicion   who is suspected, and by how many
//! ```
//!
//! [`Gossip`] is a machine in the machine: the router feeds it and carries out what it
//! [polls](Gossip::poll). It is no existing implementation, for facts must be verified before they
//! are passed on, the time must come from outside, and a network that lost a third of its nodes
//! must find together again by itself.

mod detector;
mod dice;
mod facts;
mod recent;
mod suspicion;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::{collections::VecDeque, time::Duration};

use crypto::{SigningKey, Verifier};
use proto::{AccountId, Contact, Fact, FactId, Gauge, Instant, NodeId, Query};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    pace::Allowance,
    record::{NodeRecord, Suspicion, fact_id},
};

use self::{
    detector::{Detector, THROUGH},
    facts::{Facts, Networks, Of, Statement},
    suspicion::{Suspecting, Suspicions},
    tree::Tree,
    view::View,
};

/// One node's part in gossip.
#[derive(Debug)]
pub(crate) struct Gossip {
    config: GossipConfig,
    rng: ChaCha20Rng,
    own: Option<NodeRecord>,
    /// The own record as it was spread last.
    said: Option<NodeRecord>,
    /// The own record is to be spread: it says something new, or refutes.
    unsaid: bool,
    left: bool,
    view: View,
    tree: Tree,
    facts: Facts,
    detector: Detector,
    suspicions: Suspicions,
    /// Questions of others, and when this node answers.
    asked: VecDeque<(Instant, Query)>,
    ask_again_at: Instant,
    /// Words of those who are no neighbours.
    strangers: Allowance,
    out: Outputs,
}

/// Who the node is.
#[derive(Debug)]
pub(crate) struct GossipConfig {
    pub(crate) key: SigningKey,
    /// Proof of work.
    pub(crate) nonce: u64,
    /// What others have to prove.
    pub(crate) verifier: Verifier,
}

/// What gossip wants done.
#[derive(Debug)]
pub(crate) enum GossipOutput {
    /// Say this, if a connection stands.
    Say(NodeId, proto::Gossip),
    /// Have a connection, and tell at once if one stands already: `connected` or `disconnected`
    /// follows. Without addresses it is only asked whether one stands.
    Connect(Contact),
    /// The connection is not needed any more.
    Release(#[expect(dead_code, reason = "the router closes what is silent for long")] NodeId),
    /// Have `through` probe `of`; `probed` follows.
    Probe { of: Contact, through: NodeId },
    /// This was heard and verified.
    News(News),
    /// The query of a failed lookup, which it is time to answer.
    Asked(Query),
}

/// What gossip has heard.
#[derive(Debug)]
pub(crate) enum News {
    /// A node joined, or changed.
    Node(NodeRecord),
    /// A node goes.
    Leaving(NodeRecord),
    /// A node counts as dead.
    Dead(NodeId),
    /// Others suspect this node: it must sign a newer record.
    SuspectedMyself,
}

type Outputs = VecDeque<GossipOutput>;

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
            strangers: Allowance::new(STRANGERS_PER_S, Instant::default()),
            out: Outputs::new(),
            config,
            rng,
        }
    }

    /// The node has signed what it says of itself. It is spread if that is news.
    pub(crate) fn set_own(&mut self, record: NodeRecord, now: Instant) {
        self.view.set_own(record.contact(), now);
        self.suspicions.set_public(Networks::of(&record.says().addresses).is_public());
        self.unsaid |= self.said.as_ref().is_none_or(|said| is_news(&record, said));
        self.own = Some(record);
        self.settle(now);
    }

    /// Joins through a node.
    pub(crate) fn join(&mut self, contact: Contact, now: Instant) {
        self.view.join(contact, now, &mut self.out);
        self.settle(now);
    }

    /// A connection is up, and the node has introduced itself, perhaps again.
    pub(crate) fn connected(&mut self, node: NodeId, record: &NodeRecord, now: Instant) {
        if self.left || record.node() != node {
            return;
        }
        self.detector.alive(&node);
        self.view.connected(record, now, &mut self.out);
        self.settle(now);
    }

    /// A connection is lost or could not be made.
    pub(crate) fn disconnected(&mut self, node: NodeId, now: Instant) {
        if let Some((contact, serial)) = self.view.disconnected(&node, now, &mut self.out) {
            if self.suspicions.is_dead(&node) {
                self.died(node);
            } else {
                self.watch(&contact, serial, now);
            }
        }
        self.settle(now);
    }

    /// A node has said something.
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
        self.settle(now);
    }

    /// A node that had answered for long does not any more: others are asked whether they reach it.
    pub(crate) fn lost(&mut self, node: &NodeRecord, now: Instant) {
        if !self.view.has(&node.node()) {
            self.watch(&node.contact(), node.says().serial, now);
        }
        self.settle(now);
    }

    /// The answer to a probe: whether `by` has reached `node`; nothing if that could not be tried.
    pub(crate) fn probed(&mut self, node: NodeId, by: NodeId, reached: Option<bool>, now: Instant) {
        self.detector.probed(&node, &by, reached, now);
        self.settle(now);
    }

    /// Broadcasts a query for an account. Returns false if it is too soon for that, or no node
    /// could answer.
    pub(crate) fn query(&mut self, account: AccountId, now: Instant) -> bool {
        let origin = self.own.as_ref().map(NodeRecord::contact);
        let Some(origin) = origin.filter(|origin| !origin.addresses.is_empty()) else {
            return false;
        };
        // Others pass on no more than that.
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

    /// An account needs no answer from this node any more.
    pub(crate) fn answered(&mut self, account: AccountId) {
        self.asked.retain(|(_, query)| query.account != account);
    }

    /// Returns whether the connection to a node must not be closed.
    pub(crate) fn is_neighbour(&self, node: &NodeId) -> bool {
        self.view.has(node)
    }

    /// The contacts to remember: those of both views, and those to return to.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.view.contacts()
    }

    /// Leaves. The own record should say so already.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.settle(now);
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
        self.settle(now);
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

    /// What is to be done next.
    pub(crate) fn poll(&mut self) -> Option<GossipOutput> {
        let output = self.out.pop_front();
        if output.is_none() {
            self.out = Outputs::new();
        }
        output
    }

    /// How full each collection is that peers can make grow.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = self.view.gauges().to_vec();
        gauges.extend(self.tree.gauges());
        gauges.extend(self.facts.gauges());
        gauges.extend(self.suspicions.gauges());
        gauges.push(self.detector.gauge());
        gauges.push(Gauge::new("questions to answer", self.asked.len(), ASKED_MAX));
        gauges
    }

    /// About how much memory all this takes.
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

    /// A node asks to become a neighbour.
    fn asked_by(&mut self, from: NodeId, urgent: Option<bool>, now: Instant) {
        if self.strangers.take(now) {
            self.view.asked(from, urgent, now, &mut self.out);
        }
    }

    /// Something that only neighbours say to each other.
    fn neighbours_word(&mut self, from: NodeId, word: proto::Gossip, now: Instant) {
        if !self.view.has(&from) {
            // It takes us for one, or its words were under way when we parted.
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
                self.view.shuffle_comes_by(from, (origin, contacts, hops), now, out);
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

    /// A neighbour has spread a fact.
    fn fact(&mut self, from: NodeId, fact: &Fact, hops: u32, now: Instant) {
        let id = fact_id(fact);
        if !self.facts.see(&id) {
            return self.tree.got_again(&from, &mut self.out);
        }
        // Facts that do not verify are not forwarded.
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
            self.tree.spread((id, fact, hops), Some(from), now, &mut self.out);
        }
    }

    /// A node's record was spread. Returns whether it is news.
    fn heard(&mut self, record: NodeRecord, now: Instant) -> bool {
        let (node, serial) = (record.node(), record.says().serial);
        let is_own = self.own.as_ref().is_some_and(|own| own.node() == node);
        let known = if is_own {
            self.own.as_ref().map(|own| own.says().serial)
        } else {
            self.facts.newest(&node).max(self.view.serial(&node))
        };
        // A neighbour says the same to its neighbours directly before it is spread.
        let is_spread = self.facts.newest(&node).is_some_and(|newest| newest >= serial);
        let is_old = known.is_some_and(|known| known > serial) || is_spread;
        if is_old || !self.facts.admit(Of::Record, &node, now) {
            return false;
        }
        if is_own {
            // Only this node can have signed it: it has forgotten its serial.
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

    /// A suspicion was spread. Returns whether it is new, and not refuted.
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

    /// A question was spread. Returns whether it is passed on.
    fn heard_query(&mut self, query: Query, now: Instant) -> bool {
        let is_own = self.own.as_ref().is_some_and(|own| own.node() == query.origin.node);
        if is_own
            || !self.facts.may_pass_query(now)
            || !self.facts.admit(Of::Origin, &query.origin.node, now)
        {
            return false;
        }
        if self.asked.len() < ASKED_MAX {
            let wait = dice::up_to(&mut self.rng, ANSWER_AFTER);
            self.asked.push_back((now.after(wait), query));
            self.asked.make_contiguous().sort_by_key(|(at, _)| *at);
        }
        true
    }

    /// A node counts as dead, unless a connection to it is up.
    fn died(&mut self, node: NodeId) {
        self.detector.alive(&node);
        if !self.view.has(&node) {
            self.view.forget(&node);
            self.out.push_back(GossipOutput::News(News::Dead(node)));
        }
    }

    /// This node must refute.
    fn suspected_myself(&mut self) {
        self.unsaid = true;
        self.out.push_back(GossipOutput::News(News::SuspectedMyself));
    }

    /// Has a node probed that this one does not reach. No node could reach one without addresses.
    fn watch(&mut self, contact: &Contact, serial: u64, now: Instant) {
        if contact.addresses.is_empty() || self.left {
            return;
        }
        let serial = self.facts.newest(&contact.node).max(Some(serial)).unwrap_or(serial);
        let through = self.view.some(THROUGH);
        self.detector.watch(contact, serial, through, now, &mut self.out);
    }

    /// Signs that this node and others can't reach a node.
    fn suspect(&mut self, node: NodeId, serial: u64, now: Instant) {
        let Some(own) = &self.own else { return };
        if self.suspicions.is_settled(&node) || self.view.has(&node) {
            return;
        }
        let contact = own.contact();
        let (at_s, key) = (now.as_secs(), &self.config.key);
        let bytes = Suspicion::sign(key, &contact, (node, serial), at_s);
        let Contact { node: observer, addresses, .. } = contact;
        let suspicion = Suspicion { node, serial, observer, addresses, at_s };
        if self.suspicions.suspect(&suspicion, now) == Suspecting::Dead {
            self.died(node);
        }
        self.say(&Fact::Suspicion(bytes), now);
    }

    /// Spreads a fact of one's own.
    fn say(&mut self, fact: &Fact, now: Instant) {
        let id: FactId = fact_id(fact);
        self.facts.see(&id);
        self.tree.spread((id, fact, 0), None, now, &mut self.out);
    }

    /// Brings the tree in line with the view, and says what was held back for want of neighbours.
    fn settle(&mut self, now: Instant) {
        if self.left {
            return;
        }
        let neighbours = self.view.neighbours();
        self.tree.follow(&neighbours, &mut self.out);
        if !self.unsaid || neighbours.is_empty() {
            return;
        }
        let Some(own) = self.own.clone() else { return };
        // What refutes is about to be signed.
        if self.said.as_ref().is_some_and(|said| said.says().serial >= own.says().serial) {
            return;
        }
        self.unsaid = false;
        self.say(&Fact::Node(own.as_bytes().to_vec()), now);
        self.said = Some(own);
    }
}

/// Returns whether a record has news that should be broadcast.
fn is_news(record: &NodeRecord, said: &NodeRecord) -> bool {
    let (new, old) = (record.says(), said.says());
    let half = old.capacity_bytes.div_ceil(2).max(1);
    new.addresses != old.addresses
        || new.version != old.version
        || new.leaving != old.leaving
        || new.capacity_bytes.abs_diff(old.capacity_bytes) >= half
}

/// Hops of a fact. In the tree of 10,000 nodes there are some 15; one that comes from farther goes
/// in circles.
const HOPS_MAX: u32 = 64;
/// How far ahead the clock of a node may be that signs a record, and how old a suspicion.
const AHEAD_MAX_S: u64 = 600;
/// Words of those who are no neighbours, a second: a join, an answer, a shuffle each.
const STRANGERS_PER_S: u32 = 32;
/// Questions that wait for an answer: as many as are passed on in one go, twice.
const ASKED_MAX: usize = 8;
/// Not all who know an account answer at once.
const ANSWER_AFTER: Duration = Duration::from_secs(1);
const QUERY_EVERY: Duration = Duration::from_secs(10);
