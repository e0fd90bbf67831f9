//! The machine: it dispatches inputs to the modules, and carries out their wishes.

mod answers;
mod frames;
mod maintenance;
mod operations;
mod purpose;
mod questions;
mod reach;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use proto::{
    Body, Code, Contact, Frame, Gauge, Input, Instant, Key, Machine, NodeId, OpenError, Output,
    Peer, PublicKey, RateLimiter, Routing, Rows, Seed, WriteBatch,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    RouterCommand, RouterConfig, RouterCounters, RouterEvent,
    gossip::{Gossip, GossipConfig, GossipOutput, News},
    links::{Links, Outcome, Wish},
    record::NodeRecord,
    record_store::RecordStore,
    table::{Missed, Table},
};

use self::{
    maintenance::Maintenance, operations::Operations, purpose::Purpose, reach::Reachability,
};

/// One node's part in routing.
///
/// A [`Machine`] of its own that can run alone; a service node contains one. It takes part as soon
/// as it is opened: it joins through the configured nodes and those it remembers.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    rng: ChaCha20Rng,
    own: NodeRecord,
    table: Table,
    links: Links<Purpose>,
    records: RecordStore,
    gossip: Gossip,
    operations: Operations,
    maintenance: Maintenance,
    reach: Reachability,
    /// The relay's addresses that replace the configured ones, if any.
    relayed_at: Option<Vec<SocketAddr>>,
    /// Limits dials for others: an attacker could make many nodes dial one address.
    probes: RateLimiter,
    counters: RouterCounters,
    outputs: VecDeque<Output<RouterEvent>>,
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
        let nonce = NodeRecord::prove_work(&node, config.verifier.work_bits());
        let mut batch = WriteBatch::default();
        let (maintenance, own) = Maintenance::open(&config, nonce, now, rows, &mut batch)
            .ok_or(OpenError::Damaged("what this node says of itself is too long"))?;
        let (key, verifier) = (config.key.clone(), config.verifier.clone());
        let gossip = GossipConfig::new(key, nonce, verifier);
        let mut router = Self {
            table: Table::new(own.dht_key(), config.defences.by_network),
            links: Links::new(),
            records: RecordStore::open(
                own.dht_key(),
                config.records_max,
                config.verifier.clone(),
                now,
                rows,
            ),
            gossip: Gossip::new(gossip, ChaCha20Rng::from_rng(&mut rng)),
            operations: Operations::default(),
            maintenance,
            reach: Reachability::new(now),
            relayed_at: None,
            probes: RateLimiter::new(PROBES_PER_S, now),
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
        router.apply_wishes(now, rows);
        Ok(router)
    }

    fn handle(&mut self, input: Input<RouterCommand>, now: Instant, rows: &dyn Rows) {
        match input {
            Input::Command(command) => self.on_command(command, now, rows),
            Input::Connected(peer, met_at) => self.links.connected(node_of(peer), met_at, now),
            Input::Frame(peer, frame) => self.on_frame(node_of(peer), frame, now, rows),
            Input::Disconnected(peer) => {
                if let Some(outcomes) = self.links.disconnected(&node_of(peer), now) {
                    self.on_outcomes(outcomes, now);
                }
                self.gossip.disconnected(node_of(peer), now);
                self.relay_lost(&node_of(peer), now, rows);
            }
            Input::Reached(reached) => self.on_reached(reached),
            Input::Timeout => self.timeout(now, rows),
        }
        self.apply_wishes(now, rows);
        self.report_left();
    }

    fn poll_output(&mut self) -> Option<Output<RouterEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.links.poll_timeout(),
            self.records.poll_timeout(),
            self.gossip.poll_timeout(),
            self.operations.poll_timeout(),
            Some(self.maintenance.poll_timeout()),
        ];
        timeouts.into_iter().flatten().min()
    }
}

impl Router {
    /// Returns the node's own record.
    pub fn record(&self) -> &NodeRecord {
        &self.own
    }

    /// Returns the counters so far.
    pub fn counters(&self) -> RouterCounters {
        self.counters
    }

    /// Returns the records of the connected nodes.
    pub fn peers(&self) -> Vec<NodeRecord> {
        self.links.nodes().filter_map(|node| self.links.record(&node)).collect()
    }

    /// Returns the contacts in the table.
    pub fn contacts(&self) -> Vec<Contact> {
        self.table.long_lived(usize::MAX)
    }

    /// Returns whether a node is a gossip neighbour.
    pub fn is_neighbour(&self, node: &NodeId) -> bool {
        self.gossip.is_neighbour(node)
    }

    /// Returns whether routing needs the connection to a node.
    pub fn needs(&self, peer: &Peer) -> bool {
        self.links.has(&node_of(*peer))
    }

    /// Returns the numbers of contacts in the table, of stored records and of gossip neighbours.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let neighbours = self.links.nodes().filter(|node| self.gossip.is_neighbour(node)).count();
        (self.table.len(), self.records.len(), neighbours)
    }

    /// Returns roughly how much memory tables, views, links and lookups take, without records.
    pub fn state_bytes(&self) -> usize {
        self.table
            .state_bytes()
            .saturating_add(self.links.state_bytes())
            .saturating_add(self.gossip.state_bytes())
            .saturating_add(self.operations.state_bytes())
    }

    /// Returns the gauges of the collections that peers can make grow.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = self.gossip.gauges();
        gauges.extend(self.table.gauges());
        gauges.extend(self.links.gauges());
        gauges.extend(self.records.gauges());
        gauges.extend(self.operations.gauges());
        gauges.extend(self.reach.gauges());
        gauges
    }

    /// Handles the outcomes of requests.
    fn on_outcomes(&mut self, outcomes: Vec<Outcome<Purpose>>, now: Instant) {
        for outcome in outcomes {
            match outcome {
                Outcome::Late(node, purpose) => self.late(node, &purpose, now),
                Outcome::Lost(node, purpose) => {
                    self.missed(&node, now);
                    self.lost(node, purpose, now);
                }
                Outcome::Unreached(node) => {
                    self.missed(&node, now);
                    self.gossip.disconnected(node, now);
                }
            }
        }
    }

    /// Handles a node that did not answer. If it is long-lived, others probe it.
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
        let outcomes = self.links.timeout(now);
        self.on_outcomes(outcomes, now);
        self.gossip.timeout(now);
        self.republish_due(now, rows);
        self.expire_queries(now);
        self.maintain(now, rows);
    }

    /// Carries out the wishes of the modules until none is left.
    fn apply_wishes(&mut self, now: Instant, rows: &dyn Rows) {
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
                self.on_gossip(said, now, rows);
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

    fn on_gossip(&mut self, said: GossipOutput, now: Instant, rows: &dyn Rows) {
        match said {
            GossipOutput::Say(node, word) => self.say(node, 0, Routing::Gossip(word)),
            GossipOutput::Connect(contact) => {
                if let Some(record) = self.links.record(&contact.node) {
                    self.gossip.connected(contact.node, &record, now);
                } else if !self.links.dial(contact.node, &contact.addresses, now) {
                    self.gossip.disconnected(contact.node, now);
                }
            }
            // Lookups may still use the connection; it is closed when idle.
            GossipOutput::Release(_) => {}
            GossipOutput::Probe { of, through } => {
                let purpose = Purpose::ProbeThrough(of.node);
                let node = of.node;
                let word = Routing::Probe { contact: of, dial: false };
                if !self.links.ask(through, &[], purpose, word, now) {
                    self.gossip.probed(node, through, None, now);
                }
            }
            GossipOutput::News(news) => self.on_news(news, now, rows),
            GossipOutput::Asked(query) => self.asked_everybody(query, now, rows),
        }
    }

    fn on_news(&mut self, news: News, now: Instant, rows: &dyn Rows) {
        match news {
            News::Node(record) => {
                self.links.renew(&record);
                // Hearsay adds nothing to the table, but updates known contacts.
                if self.table.key_of(&record.node()).is_some() {
                    let proved = self.links.is_where_it_says(&record);
                    self.table.heard(&record, proved, now);
                }
            }
            News::Leaving(record) => self.table.remove(&record.node()),
            News::Dead(node) => {
                // Two observers may lie: the node itself is asked next.
                self.table.doubt(&node);
                self.emit(RouterEvent::Dead(node));
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

    fn emit(&mut self, event: RouterEvent) {
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

    /// Sends a contact a request.
    fn ask(&mut self, contact: &Contact, purpose: Purpose, word: Routing, now: Instant) -> bool {
        contact.node != self.own.node()
            && self.links.ask(contact.node, &contact.addresses, purpose, word, now)
    }

    fn per_network(&self) -> usize {
        if self.config.defences.by_network { ANSWERED_PER_NETWORK } else { usize::MAX }
    }

    fn is_public(&self) -> bool {
        let mut addresses = self.own.says().addresses.iter();
        addresses.any(|address| crate::space::is_public(&address.ip()))
    }

    /// Returns a random duration of up to `most`.
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
/// A contact that has answered for so long is long-lived.
const TRUSTED_AFTER: Duration = Duration::from_secs(600);
/// Nodes dialled for others per second.
const PROBES_PER_S: u32 = 8;
