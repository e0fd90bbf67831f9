//! The machine: it takes an input apart, asks the concerned modules, and puts what they changed
//! into one batch that comes before every answer.

mod accounts;
mod compare;
mod copies;
mod drain;
mod logs;
mod network;
mod receipts;
mod records;
mod replication;
mod standby;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use proto::{
    AccountId, Body, Code, Draft, Envelope, Frame, Gauge, Hello, Input, Instant, Key, Machine,
    NodeAddress, NodeId, OpenError, Output, Peer, PublicKey, Rows, Seed, VERSIONS, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use routing::{LookedUp, NodeRecord, RouterConfig};

use crate::{
    Counters, Drained, Dropped, NodeConfig,
    account::Refusal,
    compare::{self as comparing, Comparisons},
    counters::Counting,
    foresight::Foresight,
    log::Logs,
    quota::Quota,
    receipts::Receipts,
    recount::Recount,
    replica::{self, Replicas},
    routes::{self, Routes},
    session::Sessions,
    status::{NodePeer, Status},
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
    receipts: Receipts,
    comparisons: Comparisons,
    recount: Recount,
    counting: Counting,
    routes: Option<Routes>,
    /// When to see whether copies are still needed that were made for somebody who was gone.
    look: standby::Look,
    /// Who wants more copies than two.
    copies: copies::Copies,
    /// Its operator is about to end it for good.
    draining: Option<drain::Draining>,
    /// Answers to the input in hand, held back until its commit is queued.
    replies: VecDeque<Output<NodeEvent>>,
    outputs: VecDeque<Output<NodeEvent>>,
}

/// What the application tells the node. A ticket is of its choice and comes back with the answer.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// The store takes this many bytes on disk. To be said now and then; between times the node
    /// adds what it stores.
    DiskUsed(u64),
    /// Joins the network through this node too.
    Join(NodeAddress),
    /// Others can dial this node at these addresses from now on.
    Addresses(Vec<SocketAddr>),
    /// Goes: tells other nodes and hands over what is kept for them.
    Leave,
    /// Looks up a record. If nothing is found and `insist` is set, everybody is asked.
    Lookup { ticket: u64, target: Key, insist: bool },
    /// Draws nodes at random.
    Sample(u64),
    /// Asks how the node fares.
    Status(u64),
    /// Has other homes make copies of all that is here, and takes nothing new. Asks how far that is.
    Drain(u64),
    /// Asks which nodes are connected.
    Peers(u64),
}

/// What the node tells the application.
#[expect(missing_docs, reason = "each variant's line speaks of its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// There is a new account.
    Registered(AccountId),
    /// What was counted so far; said every ten seconds at most, and only if it changed.
    Counters(Counters),
    /// The network is found: lookups work, accounts are published.
    Joined,
    /// A lookup has ended.
    LookedUp { ticket: u64, result: Box<LookedUp> },
    /// Nodes drawn at random, with the time to them and back.
    Sampled { ticket: u64, nodes: Vec<(NodeRecord, Duration)> },
    /// How the node fares.
    Status { ticket: u64, status: Box<Status> },
    /// How far draining has come.
    Drained { ticket: u64, drained: Drained },
    /// The nodes that are connected.
    Peers { ticket: u64, peers: Vec<NodePeer> },
    /// Others can't dial this node where it says they can.
    Unreachable,
    /// Others reach this node at these addresses from now on, by a port of another one; at none if
    /// that is gone.
    Addresses(Vec<SocketAddr>),
    /// A node is gone, as far as two observers can tell.
    Dead(NodeId),
    /// All is handed over; whoever has asked to leave may end.
    Left,
}

impl Node {
    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counting.counters
    }

    /// How full each collection is that peers can make grow.
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
        gauges.extend(self.receipts.gauges());
        gauges.extend(self.comparisons.gauges());
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
        let mut node = Self {
            rng: ChaCha20Rng::from_seed(seed.0),
            sessions: Sessions::default(),
            tails: Tails::default(),
            logs: Logs::open(config.log_quota_bytes, Foresight::new(&seed), rows)?,
            quota,
            replicas: Replicas::open(config.node, config.standby_after, rows, now),
            receipts: Receipts::default(),
            comparisons: Comparisons::new(PublicKey(config.node.0), config.compare_every, &seed),
            recount: Recount::new(config.recount_every, &seed, now),
            counting,
            routes: routes.transpose()?,
            look: standby::Look::open(rows, config.standby_kept, now),
            copies: copies::Copies::open(rows, now),
            draining: None,
            replies: VecDeque::new(),
            outputs: VecDeque::new(),
            config,
        };
        node.begin(rows, now);
        Ok(node)
    }

    fn foresee(&mut self, coming: &[(Peer, Frame)], rows: &dyn Rows) {
        let envelopes = coming.iter().filter_map(|(peer, frame)| {
            let Body::Append { handle, entry, signature } = &frame.body else { return None };
            let handle = self.sessions.handle(*peer, *handle).ok()?;
            let envelope = self.envelope(&handle, entry.clone(), *signature, rows).ok()?;
            self.logs.expects(rows, handle.log, &envelope).then_some(envelope)
        });
        let envelopes: Vec<Envelope> = envelopes.collect();
        self.logs.foresee(&envelopes);
    }

    fn handle(&mut self, input: Input<NodeCommand>, now: Instant, rows: &dyn Rows) {
        let mut draft = Draft::new(rows);
        let mut durability = Durability::Needed;
        match input {
            Input::Command(command) => self.command(command, &mut draft, now),
            Input::Connected(peer, met_at) => self.connected(peer, met_at, &mut draft, now),
            Input::Frame(peer, frame) => durability = self.frame(peer, frame, &mut draft, now),
            Input::Disconnected(peer) => self.disconnected(peer, &mut draft, now),
            Input::Reached(reached) => self.on_reached(reached, &mut draft, now),
            Input::Timeout => {
                let expired = self.logs.sweep(&mut draft, &mut self.quota, now);
                let counters = &mut self.counting.counters;
                counters.expired = counters.expired.saturating_add(expired);
                self.logs.sweep_dropped(&mut draft, &mut self.quota, now);
                self.routing_timeout(&mut draft, now);
                self.replicas.timeout(&mut self.logs, &draft, now);
                self.recruit(&draft, now);
                self.look_whether_to_stand_in(&mut draft, now);
                self.go_on_draining(&draft, now);
                self.go_on_copying(&draft, now);
                self.compare_timeout(&mut draft, now);
            }
        }
        self.settle(draft, durability, now);
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
        let (look, compared) = (self.look.poll_timeout(), self.comparisons.poll_timeout());
        let recount = self.recount.poll_timeout(self.comparisons.is_alone());
        let drain = self.draining.as_ref().map(drain::Draining::poll_timeout);
        let copied = self.copies.poll_timeout();
        let others = [look, drain, copied, compared, recount, self.counting.poll_timeout()];
        [logs, replicas, routes].into_iter().chain(others).flatten().min()
    }
}

/// Whether changes of rows must last before what follows from them is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Needed,
    /// They can be had again.
    Spared,
}

impl Node {
    /// Puts what an input has changed before what it has others told.
    fn settle(&mut self, mut draft: Draft<'_>, durability: Durability, now: Instant) {
        for peer in self.replicas.take_fresh() {
            if self.sessions.check_greeted(peer).is_ok() {
                self.node_greeted(peer, &mut draft, now);
            }
        }
        let pushed = self.replicas.settle(&mut draft, &mut self.logs, now);
        // Routing may go on with a connection that no log needs any more.
        self.replies.extend(self.comparisons.take_outputs());
        let routes = &self.routes;
        let is_routed = |output: &Output<NodeEvent>| {
            let Output::Disconnect(peer) = output else { return false };
            routes.as_ref().is_some_and(|routes| routes.is_node(peer))
        };
        self.replies.extend(pushed.into_iter().filter(|output| !is_routed(output)));
        let batch = draft.into_batch();
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
}

/// Connections.
impl Node {
    fn connected(
        &mut self,
        peer: Peer,
        met_at: Option<SocketAddr>,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        // A new connection takes the place of one whose end was not noticed.
        self.disconnected(peer, draft, now);
        if self.sessions.len() >= self.config.connections_max && !self.replicas.wants(&peer) {
            self.counting.dropped(Dropped::TooManyConnections);
            self.transmit(peer, Frame::new(Body::Goodbye(Code::Busy)));
            self.replies.push_back(Output::Disconnect(peer));
            return;
        }
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        self.sessions.connected(peer, met_at, nonce);
        self.transmit(peer, Frame::new(Body::Hello(Hello { versions: VERSIONS, nonce })));
    }

    fn disconnected(&mut self, peer: Peer, draft: &mut Draft<'_>, now: Instant) {
        for (number, handle) in self.sessions.disconnected(peer) {
            self.tails.close((handle.log, peer, number));
        }
        self.tails.disconnected(peer);
        self.receipts.disconnected(peer);
        self.replicas.disconnected(&peer, now);
        self.comparisons.disconnected(&peer);
        self.routing_disconnected(peer, draft, now);
    }

    fn hello(
        &mut self,
        peer: Peer,
        hello: &Hello,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let result = self.sessions.hello(peer, hello);
        match result {
            Ok(()) => {
                self.node_greeted(peer, draft, now);
                self.routing_greeted(peer, draft, now);
            }
            Err(Code::Version) => {
                self.transmit(peer, Frame::new(Body::Goodbye(Code::Version)));
                self.goodbye(peer, draft, now);
                self.replicas.hung_up(&peer, now);
            }
            Err(_) => {}
        }
        result
    }

    fn goodbye(&mut self, peer: Peer, draft: &mut Draft<'_>, now: Instant) {
        self.disconnected(peer, draft, now);
        self.replies.push_back(Output::Disconnect(peer));
    }

    fn transmit(&mut self, peer: Peer, frame: Frame) {
        self.replies.push_back(Output::Transmit(peer, frame));
    }
}

/// Frames.
impl Node {
    fn frame(
        &mut self,
        peer: Peer,
        frame: Frame,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Durability {
        if !self.sessions.is_connected(peer) {
            self.counting.dropped(Dropped::NotConnected);
            return Durability::Spared;
        }
        // Replicas take only what answers their own requests; the router counts what answers none.
        if self.is_answer(peer, frame.request, &frame.body, draft, now) {
            return Durability::Spared;
        }
        if self.is_compared(peer, &frame, draft, now) {
            return Durability::Spared;
        }
        if self.routing_answer(peer, &frame, draft, now) {
            return Durability::Needed;
        }
        let Frame { request, body } = frame;
        match self.route(peer, request, body, draft, now) {
            Ok(Some(answer)) if request != 0 => {
                self.transmit(peer, Frame { request, body: answer });
            }
            Ok(_) => {}
            Err(Refusal { code, newer }) => {
                self.counting.refused(code);
                if request != 0 && code != Code::Version {
                    self.transmit(peer, Frame { request, body: Body::Refused { code, newer } });
                }
            }
        }
        self.pull(peer, draft);
        Durability::Needed
    }

    /// Does what a frame asks and returns the answer.
    fn route(
        &mut self,
        peer: Peer,
        request: u32,
        body: Body,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Option<Body>, Refusal> {
        if !matches!(body, Body::Hello(_) | Body::Goodbye(_)) {
            self.sessions.check_greeted(peer)?;
        }
        let answer = match body {
            Body::Hello(hello) => {
                return Ok(self.hello(peer, &hello, draft, now).map(|()| None)?);
            }
            Body::Routing(_) => {
                self.routing_word(peer, Frame { request, body }, draft, now)?;
                return Ok(None);
            }
            // It closes the connection itself, and is dialled again.
            Body::Goodbye(_) if self.replicas.wants(&peer) => return Ok(None),
            Body::Goodbye(_) => {
                self.goodbye(peer, draft, now);
                return Ok(None);
            }
            Body::Accepted { handle, sequence } => {
                self.accepted(peer, handle, sequence);
                return Ok(None);
            }
            // Never answered: two that refuse each other's refusals would go on for ever.
            Body::Refused { .. } | Body::Symbols(_) | Body::Lost { .. } => {
                self.counting.dropped(Dropped::Unasked);
                return Ok(None);
            }
            Body::Held { .. } | Body::Settled { .. } => {
                self.other_node_says(peer, body, draft, now);
                return Ok(None);
            }
            Body::Compare(compare) => {
                self.compare(peer, request, &compare, draft, now)?;
                return Ok(None);
            }
            Body::Lacking { log, references } => self.lacking(peer, log, &references, draft)?,
            Body::Open(open) => self.open_log(peer, &open, draft, now)?,
            Body::Replicate(replicate) => self.replicate(peer, &replicate, draft, now)?,
            Body::Recruit(recruit) => self.recruited(peer, &recruit, draft, now)?,
            Body::Close { handle } => self.close(peer, handle)?,
            Body::Append { handle, entry, signature } => {
                self.append(peer, handle, entry, signature, draft, now)?
            }
            Body::Signal { handle, ciphertext } => {
                self.signal(peer, handle, &ciphertext, draft, now)?;
                return Ok(None);
            }
            Body::Read(read) => self.read(peer, &read, draft)?,
            Body::Fetch { handle, references } => self.fetch(peer, handle, &references, draft)?,
            Body::Challenge { handle, id, receipt } => {
                self.challenged((peer, handle), &id, &receipt, draft)?
            }
            Body::PutBundle(bundle) => self.put_bundle(draft, &bundle, now)?,
            Body::GetBundle(account) => {
                return self.get_bundle((peer, request), account, draft, now);
            }
            Body::PutKeyPackages(put) => self.put_packages(peer, &put, draft)?,
            Body::TakeKeyPackages { handle } => self.take_packages(peer, handle, draft, now)?,
            Body::PutInvite { handle, key, expires_s, uses } => {
                self.put_invite((peer, handle), &key, (expires_s, uses), draft, now)?
            }
            // What only nodes say.
            Body::Opened { .. }
            | Body::Deliver { .. }
            | Body::Brief { .. }
            | Body::Page { .. }
            | Body::BundleIs(_)
            | Body::KeyPackages { .. } => return Err(Code::Unexpected.into()),
        };
        Ok(Some(answer))
    }

    /// A name for a new log's copy; never 0, which is the cursor of whoever has none.
    fn incarnation(&mut self) -> u64 {
        self.rng.next_u64().max(1)
    }
}

/// What one input leads to at most: a commit, a copy for each reader of a log, a full window for
/// who spoke, a receipt and an answer for it, an event and two more, what goes to other nodes, and what routing does.
/// Between inputs the outputs are drained.
const OUTPUTS_MAX: u64 = limits::READERS_MAX as u64
    + limits::DELIVER_WINDOW
    + 8
    + replica::OUTPUTS_MAX as u64
    + comparing::OUTPUTS_MAX as u64
    + routes::OUTPUTS_MAX;
