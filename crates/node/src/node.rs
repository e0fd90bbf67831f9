//! The machine. It takes an input apart, calls the modules concerned, and puts all that they
//! changed into one batch, which goes before every answer.

mod on_account;
mod on_ack;
mod on_anti_entropy;
mod on_connection;
mod on_frame;
mod on_log;
mod on_placement;
mod on_record;
mod on_recruit;
mod on_replication;
mod on_routing;

use std::collections::VecDeque;

use proto::{
    Body, Envelope, Frame, Gauge, Input, Instant, Machine, OpenError, Output, Peer, PublicKey,
    Rows, Seed, Transaction, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use routing::RouterConfig;

use crate::{
    Counters, NodeConfig,
    acks::Acks,
    anti_entropy::{self, AntiEntropy},
    batch_verifier::BatchVerifier,
    command::{NodeCommand, NodeEvent},
    counters::Counting,
    log::Logs,
    placement::recruit::{CopyRounds, Draining, ReserveTimer},
    quota::Quota,
    replica::{self, Replicas, Store},
    routes::{self, Routes},
    scrub::Scrub,
    session::{Asker, Channel, Sessions},
    tail::Tails,
};

/// One service node.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    rng: ChaCha20Rng,
    sessions: Sessions,
    tails: Tails,
    logs: Logs,
    quota: Quota,
    replicas: Replicas,
    acks: Acks,
    anti_entropy: AntiEntropy,
    scrub: Scrub,
    counting: Counting,
    routes: Option<Routes>,
    /// When to check whether this node, in reserve, still has to hold its logs.
    reserve_timer: ReserveTimer,
    /// The accounts that want more than two copies.
    copies: CopyRounds,
    /// Its operator is about to end it permanently.
    draining: Option<Draining>,
    /// Answers to the current input, held back until its commit is queued.
    replies: VecDeque<Output<NodeEvent>>,
    outputs: VecDeque<Output<NodeEvent>>,
}

impl Node {
    /// Returns the counters since the machine was opened.
    pub fn counters(&self) -> &Counters {
        &self.counting.counters
    }

    /// Returns how full each collection is that peers can make grow.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = vec![
            Gauge::new("connections", self.sessions.len(), self.connections_max()),
            Gauge { name: "outputs", value: self.outputs.len() as u64, limit: OUTPUTS_MAX },
        ];
        gauges.extend(self.routes.iter().flat_map(Routes::gauges));
        gauges.extend(self.sessions.gauges());
        gauges.extend(self.tails.gauges());
        gauges.extend(self.logs.gauges());
        gauges.push(self.quota.gauge());
        gauges.push(self.copies.gauge(self.quota.accounts()));
        gauges.extend(self.replicas.gauges());
        gauges.extend(self.acks.gauges());
        gauges.extend(self.anti_entropy.gauges());
        gauges
    }
}

impl Machine for Node {
    type Config = NodeConfig;
    type Command = NodeCommand;
    type Event = NodeEvent;

    fn open(
        mut config: NodeConfig,
        seed: Seed,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<Self, OpenError> {
        let quota = Quota::open(&config, rows)?;
        let mut counting = Counting::default();
        counting.counters.charged_bytes = quota.charged();
        let routes = config.routing.take().map(|routing| {
            let capacity_bytes = config.disk_cap_bytes.saturating_sub(quota.used());
            Routes::open(RouterConfig { capacity_bytes, ..routing }, &seed, now, rows)
        });
        let own = PublicKey(config.node.0);
        let mut node = Self {
            rng: ChaCha20Rng::from_seed(seed.0),
            sessions: Sessions::default(),
            tails: Tails::default(),
            logs: Logs::open(config.log_quota_bytes, BatchVerifier::new(&seed), rows)?,
            quota,
            replicas: Replicas::open(config.node, config.reserve_after, rows, now),
            acks: Acks::default(),
            anti_entropy: AntiEntropy::new(own, config.anti_entropy_every, &seed),
            scrub: Scrub::new(config.scrub_every, &seed, now),
            counting,
            routes: routes.transpose()?,
            reserve_timer: ReserveTimer::open(rows, config.reserve_kept, now),
            copies: CopyRounds::open(rows, now),
            draining: None,
            replies: VecDeque::new(),
            outputs: VecDeque::new(),
            config,
        };
        node.begin(rows, now);
        Ok(node)
    }

    fn prefetch(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        let envelopes = coming.iter().filter_map(|(peer, frame)| {
            let Body::Append { channel, entry, signature } = &frame.body else { return None };
            let access = self.sessions.access(Channel { peer: *peer, number: *channel }).ok()?;
            let envelope = self.envelope(&access, entry.clone(), *signature, rows).ok()?;
            self.logs.expects(rows, access.log, &envelope).then_some(envelope)
        });
        let envelopes: Vec<Envelope> = envelopes.collect();
        self.logs.prefetch(&envelopes);
    }

    fn handle(&mut self, input: Input<NodeCommand>, now: Instant, rows: &dyn Rows) {
        let mut tx = Transaction::new(rows);
        let mut durability = Durability::Needed;
        match input {
            Input::Command(command) => self.on_command(command, &mut tx, now),
            Input::Connected(peer, met_at) => self.on_connected(peer, met_at, &mut tx, now),
            Input::Frame(peer, frame) => durability = self.on_frame(peer, frame, &mut tx, now),
            Input::Disconnected(peer) => self.on_disconnected(peer, &mut tx, now),
            Input::Reached(reached) => self.on_reached(reached, &mut tx, now),
            Input::Timeout => self.on_timeout(&mut tx, now),
        }
        self.finish_step(tx, durability, now);
        self.counting.counters.charged_bytes = self.quota.charged();
        if let Some(counters) = self.counting.poll(now) {
            self.outputs.push_back(Output::Event(NodeEvent::Counters(counters)));
        }
    }

    fn poll_output(&mut self) -> Option<Output<NodeEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let routes = self.routes.as_ref().and_then(Routes::poll_timeout);
        let (logs, replicas) = (self.logs.poll_timeout(), self.replicas.poll_timeout());
        let compared = self.anti_entropy.poll_timeout();
        let reserve = self.reserve_timer.poll_timeout();
        let scrub = self.scrub.poll_timeout(self.anti_entropy.is_alone());
        let drain = self.draining.as_ref().and_then(Draining::poll_timeout);
        let copied = self.copies.poll_timeout();
        let others = [reserve, drain, copied, compared, scrub, self.counting.poll_timeout()];
        [logs, replicas, routes].into_iter().chain(others).flatten().min()
    }
}

/// Whether changed rows must be durable before the outputs that follow from them leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Needed,
    /// A crash that loses the rows costs only work.
    Spared,
}

impl Node {
    fn on_timeout(&mut self, tx: &mut Transaction<'_>, now: Instant) {
        let expired = self.logs.sweep(tx, &mut self.quota, now);
        let counters = &mut self.counting.counters;
        counters.expired = counters.expired.saturating_add(expired);
        self.logs.sweep_dropped(tx, &mut self.quota, now);
        self.on_routing_timeout(tx, now);
        self.replicas.on_timeout(&mut self.logs, tx, now);
        self.on_placement_timeout(tx, now);
        self.on_anti_entropy_timeout(tx, now);
    }

    /// Queues what an input has changed ahead of what it makes the node say.
    fn finish_step(&mut self, mut tx: Transaction<'_>, durability: Durability, now: Instant) {
        for peer in self.replicas.take_fresh() {
            if self.sessions.check_greeted(peer).is_ok() {
                self.on_node_greeted(peer, &mut tx, now);
            }
        }
        let store = Store { tx: &mut tx, logs: &mut self.logs };
        let pushed: Vec<_> = self.replicas.push_pending(store, now).collect();
        for output in self.anti_entropy.take_outputs() {
            self.forward(Asker::AntiEntropy, output);
        }
        for output in pushed {
            self.forward(Asker::Replica, output);
        }
        let batch = tx.into_batch();
        if !batch.is_empty() {
            self.outputs.push_back(match durability {
                Durability::Needed => Output::Commit(batch),
                Durability::Spared => Output::Note(batch),
            });
        }
        self.outputs.append(&mut self.replies);
    }

    /// Nodes of shared logs are never turned away: their number has a limit of its own.
    fn connections_max(&self) -> usize {
        self.config.connections_max.saturating_add(replica::PEERS_MAX)
    }

    /// Draws the incarnation of a new log's copy; never 0, which is the cursor of a reader without
    /// one.
    fn incarnation(&mut self) -> u64 {
        self.rng.next_u64().max(1)
    }

    /// Queues an output of a part of the node.
    fn forward(&mut self, asker: Asker, output: Output<NodeEvent>) {
        let is_routed = |peer| self.routes.as_ref().is_some_and(|routes| routes.is_node(peer));
        if let Output::Transmit(peer, frame) = output {
            self.transmit_for(asker, peer, frame);
        } else if let Output::Disconnect(peer) = &output
            && is_routed(peer)
        {
            // The router still uses the connection, though no log needs it any more.
            self.sessions.forget(*peer, asker);
        } else {
            self.replies.push_back(output);
        }
    }

    /// Sends a frame of a part of the node.
    fn transmit_for(&mut self, asker: Asker, peer: Peer, mut frame: Frame) {
        self.sessions.assign_number(peer, asker, &mut frame);
        self.transmit(peer, frame);
    }

    fn transmit(&mut self, peer: Peer, frame: Frame) {
        self.replies.push_back(Output::Transmit(peer, frame));
    }

    /// Sends a frame that asks for no answer.
    fn send(&mut self, peer: Peer, body: Body) {
        self.transmit(peer, Frame::new(body));
    }

    fn emit(&mut self, event: NodeEvent) {
        self.replies.push_back(Output::Event(event));
    }
}

/// The most outputs of one input: a commit, a copy for each reader of a log, a full window for the
/// peer, an ack and an answer for it, three events, the frames to other nodes, and those of the
/// router. The driver drains the outputs between inputs.
const OUTPUTS_MAX: u64 = limits::READERS_MAX as u64
    + limits::DELIVER_WINDOW
    + 8
    + replica::OUTPUTS_MAX as u64
    + anti_entropy::OUTPUTS_MAX as u64
    + routes::OUTPUTS_MAX;
