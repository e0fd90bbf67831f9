//! The machine: it takes an input apart, asks the concerned module, and carries out what they wish.

mod answers;
mod errands;
mod questions;
mod reach;
mod upkeep;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use proto::{
    Body, Code, Contact, Frame, Gauge, Input, Instant, Key, Machine, NodeId, OpenError, Output,
    Peer, PublicKey, Routing, Rows, Seed, WriteBatch,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    RouterCommand, RouterConfig, RouterCounters, RouterEvent,
    gossip::{Gossip, GossipConfig, GossipOutput, News},
    kept::Kept,
    links::{Links, Turn, Wish},
    pace::Allowance,
    record::NodeRecord,
    table::{Missed, Table},
};

use self::{errands::Errands, reach::Reachability, upkeep::Upkeep};

/// One node's part in routing.
///
/// A [`Machine`] of its own, so that it can run alone; a service node has one inside. It takes part
/// from when it is opened: it joins through the nodes it is told of and those it remembers.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    rng: ChaCha20Rng,
    own: NodeRecord,
    table: Table,
    links: Links<Purpose>,
    kept: Kept,
    gossip: Gossip,
    errands: Errands,
    upkeep: Upkeep,
    reach: Reachability,
    /// Where this node is reached instead of where it was told to be, if that is so.
    relayed_at: Option<Vec<SocketAddr>>,
    /// Dials for others: an attacker could have many nodes dial one address.
    probes: Allowance,
    counters: RouterCounters,
    outputs: VecDeque<Output<RouterEvent>>,
}

/// What a request is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A lookup.
    Lookup(u64),
    /// A publication.
    Store(u64),
    /// A better record for a node that answered with one that loses, a copy on the way, a record
    /// that is handed over: nothing waits for it.
    Gift,
    /// Whether it is still there.
    Check,
    /// Whether it can be reached, for this node, which asked with this number.
    Probe(NodeId, u32),
    /// A probe passed on for this node, which asked with this number.
    PassedOn(NodeId, u32),
    /// Whether this node can be reached from there.
    ProbeThrough(NodeId),
    /// Whether others can dial us.
    Reach,
    /// A port for us.
    Relay,
}

impl Machine for Router {
    type Config = RouterConfig;
    type Command = RouterCommand;
    type Event = RouterEvent;

    fn open(
        config: RouterConfig,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let mut rng = ChaCha20Rng::from_seed(seed.0);
        let node = NodeId(config.key.public().0);
        let nonce = crypto::prove_work(&node, config.verifier.work_bits());
        let mut batch = WriteBatch::default();
        let (upkeep, own) = Upkeep::open(&config, nonce, now, rows, &mut batch)
            .ok_or(OpenError::Damaged("what this node says of itself is too long"))?;
        let (key, verifier) = (config.key.clone(), config.verifier.clone());
        let gossip = GossipConfig { key, nonce, verifier };
        let mut router = Self {
            table: Table::new(own.place(), config.defences.by_network),
            links: Links::new(),
            kept: Kept::open(own.place(), config.records_max, now, rows),
            gossip: Gossip::new(gossip, ChaCha20Rng::from_rng(&mut rng)),
            errands: Errands::default(),
            upkeep,
            reach: Reachability::new(now),
            relayed_at: None,
            probes: Allowance::new(PROBES_PER_S, now),
            counters: RouterCounters::default(),
            outputs: VecDeque::new(),
            own,
            rng,
            config,
        };
        router.table.set_public(router.is_public());
        router.note(batch);
        router.gossip.set_own(router.own.clone(), now);
        router.rejoin(now);
        router.settle(now, rows);
        Ok(router)
    }

    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows) {
        match input {
            Input::Command(command) => self.command(command, now, rows),
            Input::Connected(peer, met_at) => self.links.connected(node_of(peer), met_at, now),
            Input::Frame(peer, frame) => self.frame(node_of(peer), frame, now, rows),
            Input::Disconnected(peer) => {
                if let Some(turns) = self.links.disconnected(&node_of(peer), now) {
                    self.turn(turns, now);
                }
                self.gossip.disconnected(node_of(peer), now);
                self.relay_lost(&node_of(peer), now, rows);
            }
            Input::Reached(reached) => self.on_reached(reached),
            Input::Timeout => self.timeout(now, rows),
        }
        self.settle(now, rows);
        self.has_left();
    }

    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.links.poll_timeout(),
            self.kept.poll_timeout(),
            self.gossip.poll_timeout(),
            self.errands.poll_timeout(),
            Some(self.upkeep.poll_timeout()),
        ];
        timeouts.into_iter().flatten().min()
    }
}

impl Router {
    /// What this node says of itself.
    pub fn record(&self) -> &NodeRecord {
        &self.own
    }

    /// What was done so far.
    pub fn counters(&self) -> RouterCounters {
        self.counters
    }

    /// The nodes to which a connection stands, with what they say of themselves.
    pub fn peers(&self) -> Vec<NodeRecord> {
        self.links.nodes().filter_map(|node| self.links.record(&node)).collect()
    }

    /// The contacts in the table.
    pub fn contacts(&self) -> Vec<Contact> {
        self.table.long_lived(usize::MAX)
    }

    /// Returns whether this node gossips with another.
    pub fn is_neighbour(&self, node: &NodeId) -> bool {
        self.gossip.is_neighbour(node)
    }

    /// Returns whether routing needs the connection to a node.
    pub fn needs(&self, peer: &Peer) -> bool {
        self.links.has(&node_of(*peer))
    }

    /// How many contacts are in the table, how many records are kept, and how many nodes are
    /// gossiped with.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let neighbours = self.links.nodes().filter(|node| self.gossip.is_neighbour(node)).count();
        (self.table.len(), self.kept.len(), neighbours)
    }

    /// About how much memory tables, views, links and lookups take; kept records not included.
    pub fn state_bytes(&self) -> usize {
        self.table
            .state_bytes()
            .saturating_add(self.links.state_bytes())
            .saturating_add(self.gossip.state_bytes())
            .saturating_add(self.errands.state_bytes())
    }

    /// How full each collection is that peers can make grow.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = self.gossip.gauges();
        gauges.extend(self.table.gauges());
        gauges.extend(self.links.gauges());
        gauges.extend(self.kept.gauges());
        gauges.extend(self.errands.gauges());
        gauges.extend(self.reach.gauges());
        gauges
    }

    fn frame(
        &mut self,
        from: NodeId,
        Frame { request, body }: Frame,
        now: Instant,
        rows: &dyn Rows,
    ) {
        if let Body::Routing(word) = body {
            return match self.word(from, request, word, now, rows) {
                Ok(()) => {}
                Err(code) => self.refuse(from, request, code),
            };
        }
        // What is left of the frames that routing shares with others: answers to `Store`.
        let answer = if let Body::Accepted { .. } = body {
            Ok(())
        } else if let Body::Refused { code, newer } = body {
            Err((code, newer))
        } else {
            return self.drop_word();
        };
        let Some((purpose, _)) = self.links.answered(&from, request, now) else {
            return self.drop_word();
        };
        self.table.answered(&from, now);
        self.stored(from, purpose, answer, now, rows);
    }

    fn word(
        &mut self,
        from: NodeId,
        request: u32,
        word: Routing,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<(), Code> {
        if let Routing::Introduce(record) = word {
            return self.introduced(from, &record, now);
        }
        let is_node = self.links.is_known(&from);
        let open_to_devices =
            matches!(word, Routing::Find { .. } | Routing::Lookup { .. } | Routing::Sample);
        if !is_node && !open_to_devices {
            return Err(Code::Forbidden);
        }
        match word {
            Routing::Gossip(word) => {
                self.gossip.word(from, word, now);
                Ok(())
            }
            Routing::Found { .. }
            | Routing::Probed(_)
            | Routing::Sampled(_)
            | Routing::LookedUp { .. }
            | Routing::RelayIs { .. } => {
                self.answer(from, request, word, now, rows);
                Ok(())
            }
            Routing::Introduce(_)
            | Routing::Find { .. }
            | Routing::Store { .. }
            | Routing::Probe { .. }
            | Routing::Sample
            | Routing::Lookup { .. }
            | Routing::AskRelay => {
                if is_node && !self.links.may_ask(&from, now) {
                    return Err(Code::Busy);
                }
                self.question(from, request, word, now, rows)
            }
        }
    }

    /// Handles a node's introduction.
    fn introduced(&mut self, from: NodeId, bytes: &[u8], now: Instant) -> Result<(), Code> {
        let known = self.links.record(&from).is_some_and(|known| known.as_bytes() == bytes);
        if known {
            return Ok(());
        }
        let record = self.config.verifier.record(bytes).map_err(|_| Code::Invalid)?;
        if record.node() != from || from == self.own.node() {
            return Err(Code::Forbidden);
        }
        if self.links.introduced(record.clone(), now) {
            if record.says().leaving {
                // It still answers pending requests, but no lookup is sent there.
                self.table.remove(&from);
                return Ok(());
            }
            let proved = self.links.is_where_it_says(&record);
            self.table.heard(&record, proved, now);
            self.gossip.connected(from, &record, now);
            self.met(&record, now);
        }
        Ok(())
    }

    /// Acts on what has come of requests.
    fn turn(&mut self, turns: Vec<Turn<Purpose>>, now: Instant) {
        for turn in turns {
            match turn {
                Turn::Late(node, purpose) => self.late(node, &purpose, now),
                Turn::Lost(node, purpose) => {
                    self.missed(&node, now);
                    self.lost(node, purpose, now);
                }
                Turn::Unreached(node) => {
                    self.missed(&node, now);
                    self.gossip.disconnected(node, now);
                }
            }
        }
    }

    /// A node did not answer. If it had for long, others are asked whether they reach it.
    fn missed(&mut self, node: &NodeId, now: Instant) {
        let record = self.links.record(node);
        if let Missed::Gone(answered_for) = self.table.missed(node)
            && answered_for >= TRUSTED_AFTER
            && let Some(record) = record
        {
            self.gossip.lost(&record, now);
        }
    }

    fn timeout(&mut self, now: Instant, rows: &dyn Rows) {
        let turns = self.links.timeout(now);
        self.turn(turns, now);
        self.gossip.timeout(now);
        self.keep(now, rows);
        self.expire_queries(now);
        self.upkeep(now, rows);
    }

    /// Carries out what the parts wish, until none has a wish left.
    fn settle(&mut self, now: Instant, rows: &dyn Rows) {
        loop {
            let gossip = &self.gossip;
            let reach = &self.reach;
            let keeps = |node: &NodeId| gossip.is_neighbour(node) || reach.needs(node);
            self.links.tidy(self.table.len(), keeps, now);
            let advanced = self.advance(now, rows);
            let wishes = self.links.take_wishes();
            let said = self.gossip.poll();
            if !advanced && wishes.is_empty() && said.is_none() {
                return;
            }
            for wish in wishes {
                self.grant(wish);
            }
            if let Some(said) = said {
                self.gossip_says(said, now, rows);
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Connect(node, addresses) => {
                self.outputs.push_back(Output::Connect(PublicKey(node.0), addresses));
            }
            Wish::Disconnect(node) => {
                self.outputs.push_back(Output::Disconnect(PublicKey(node.0)));
            }
            Wish::Say(node, request, word) => {
                self.counters.requests = self.counters.requests.saturating_add(1);
                self.say(node, request, word);
            }
            Wish::Introduce(node) => {
                let record = self.own.as_bytes().to_vec();
                self.say(node, 0, Routing::Introduce(record));
            }
        }
    }

    fn gossip_says(&mut self, said: GossipOutput, now: Instant, rows: &dyn Rows) {
        match said {
            GossipOutput::Say(node, word) => self.say(node, 0, Routing::Gossip(word)),
            GossipOutput::Connect(contact) => {
                if let Some(record) = self.links.record(&contact.node) {
                    self.gossip.connected(contact.node, &record, now);
                } else if !self.links.dial(contact.node, &contact.addresses, now) {
                    self.gossip.disconnected(contact.node, now);
                }
            }
            // Lookups may still use the connection; it is closed when it is idle.
            GossipOutput::Release(_) => {}
            GossipOutput::Probe { of, through } => {
                let purpose = Purpose::ProbeThrough(of.node);
                let node = of.node;
                let word = Routing::Probe { contact: of, anew: false };
                if !self.links.ask((through, &[]), purpose, word, now) {
                    self.gossip.probed(node, through, None, now);
                }
            }
            GossipOutput::News(news) => self.news(news, now, rows),
            GossipOutput::Asked(query) => self.asked_everybody(query, now, rows),
        }
    }

    fn news(&mut self, news: News, now: Instant, rows: &dyn Rows) {
        match news {
            News::Node(record) => {
                self.links.renew(&record);
                // Unverified contacts do not enter the table, but update it.
                if self.table.place_of(&record.node()).is_some() {
                    let proved = self.links.is_where_it_says(&record);
                    self.table.heard(&record, proved, now);
                }
            }
            News::Leaving(record) => self.table.remove(&record.node()),
            News::Dead(node) => {
                // Two may lie: it is asked itself, next of all.
                self.table.doubt(&node);
                self.event(RouterEvent::Dead(node));
            }
            News::SuspectedMyself => self.renew_record(now, rows),
        }
    }

    fn say(&mut self, node: NodeId, request: u32, word: Routing) {
        let frame = Frame { request, body: Body::Routing(word) };
        self.outputs.push_back(Output::Transmit(PublicKey(node.0), frame));
    }

    fn refuse(&mut self, node: NodeId, request: u32, code: Code) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.reply(node, request, Body::Refused { code, newer: Vec::new() });
    }

    fn reply(&mut self, node: NodeId, request: u32, body: Body) {
        if request != 0 {
            self.outputs.push_back(Output::Transmit(PublicKey(node.0), Frame { request, body }));
        }
    }

    fn event(&mut self, event: RouterEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn note(&mut self, batch: WriteBatch) {
        if !batch.is_empty() {
            self.outputs.push_back(Output::Note(batch));
        }
    }

    fn drop_word(&mut self) {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
    }

    /// Asks a contact something for a purpose.
    fn ask(&mut self, contact: &Contact, purpose: Purpose, word: Routing, now: Instant) -> bool {
        contact.node != self.own.node()
            && self.links.ask((contact.node, &contact.addresses), purpose, word, now)
    }

    fn per_network(&self) -> usize {
        if self.config.defences.by_network { ANSWERED_PER_NETWORK } else { usize::MAX }
    }

    fn is_public(&self) -> bool {
        let mut addresses = self.own.says().addresses.iter();
        addresses.any(|address| crate::space::is_public(&address.ip()))
    }

    /// A random time of up to `most`.
    fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX))
    }

    fn random_key(&mut self) -> Key {
        let mut key = [0; 32];
        self.rng.fill_bytes(&mut key);
        Key(key)
    }
}

fn node_of(peer: Peer) -> NodeId {
    NodeId(peer.0)
}

/// Contacts of one network in an answer.
const ANSWERED_PER_NETWORK: usize = 2;
/// A contact that answered for so long is worth asking others about.
const TRUSTED_AFTER: Duration = Duration::from_secs(600);
/// Nodes dialled for others a second.
const PROBES_PER_S: u32 = 8;
