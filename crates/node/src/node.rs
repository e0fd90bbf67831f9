//! The machine: it takes an input apart, asks the concerned modules, and puts what they changed
//! into one batch that comes before every answer.

mod network;
mod replication;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use proto::{
    AccountId, Body, Code, Cursor, Draft, Entry, Envelope, Frame, Gauge, Hello, Input, Instant,
    Key, LogGenesis, Machine, NodeAddress, NodeId, Open, OpenError, Output, Peer, PublicKey, Rows,
    Seed, VERSIONS, limits,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use routing::{LookedUp, NodeRecord, RouterConfig};

use crate::{
    Counters, Dropped, NodeConfig,
    account::{self, Change, Refusal},
    counters::{Counting, increment},
    foresight::Foresight,
    invite, key_package,
    log::{Appended, LOG_CHARGE, Log, Logs, Writer},
    quota::Quota,
    replica::{self, RANKING_CHARGE, Replicas},
    routes::{self, Routes},
    session::{Handle, Role, Sessions},
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
    counting: Counting,
    routes: Option<Routes>,
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
        gauges.extend(self.replicas.gauges());
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
            replicas: Replicas::open(config.node, rows, now),
            counting,
            routes: routes.transpose()?,
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
            Input::Relayed(peer, port) => self.relayed(peer, port, &mut draft, now),
            Input::Tried(peer, is_there) => self.tried(peer, is_there, &mut draft, now),
            Input::Timeout => {
                let expired = self.logs.sweep(&mut draft, &mut self.quota, now);
                let counters = &mut self.counting.counters;
                counters.expired = counters.expired.saturating_add(expired);
                self.routing_timeout(&mut draft, now);
                self.replicas.timeout(&mut self.logs, &draft, now);
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
        [logs, replicas, routes, self.counting.poll_timeout()].into_iter().flatten().min()
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
                self.replicas.greeted(peer);
            }
        }
        let pushed = self.replicas.settle(&mut draft, &mut self.logs, now);
        // Routing may go on with a connection that no log needs any more.
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
        self.replicas.disconnected(&peer);
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
                self.replicas.greeted(peer);
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
            Body::Refused { .. } => {
                self.counting.dropped(Dropped::Unasked);
                return Ok(None);
            }
            Body::Open(open) => self.open_log(peer, &open, draft, now)?,
            Body::Replicate(replicate) => self.replicate(peer, &replicate, draft, now)?,
            Body::Close { handle } => self.close(peer, handle)?,
            Body::Append { handle, entry, signature } => {
                self.check_host(peer, handle, draft)?;
                self.append(peer, handle, entry, signature, draft, now)?
            }
            Body::Signal { handle, ciphertext } => {
                self.signal(peer, handle, &ciphertext, draft, now)?;
                return Ok(None);
            }
            Body::Read(read) => {
                let handle = self.reading(peer, read.handle)?;
                self.page(self.logs.read(draft, handle.log, handle.key, &read))
            }
            Body::Fetch { handle, references } => {
                let handle = self.reading(peer, handle)?;
                self.page(self.logs.fetch(draft, handle.log, handle.key, &references))
            }
            Body::PutBundle(bundle) => self.put_bundle(draft, &bundle, now)?,
            Body::GetBundle(account) => {
                return self.get_bundle((peer, request), account, draft, now);
            }
            Body::PutKeyPackages(put) => {
                let inbox = self.owned(peer, put.handle)?;
                let left = key_package::put(draft, &mut self.logs, &mut self.quota, inbox, &put)?;
                Body::KeyPackages { packages: Vec::new(), left }
            }
            Body::TakeKeyPackages { handle } => {
                self.check_host(peer, handle, draft)?;
                self.take_packages(peer, handle, draft, now)?
            }
            Body::PutInvite { handle, key, expires_s, uses } => {
                let inbox = self.owned(peer, handle)?;
                invite::put(draft, inbox, &key, expires_s, uses, now)?;
                Body::Accepted { handle, sequence: 0 }
            }
            // What only nodes say.
            Body::Opened { .. }
            | Body::Deliver { .. }
            | Body::Brief { .. }
            | Body::Held { .. }
            | Body::Settled { .. }
            | Body::Page { .. }
            | Body::BundleIs(_)
            | Body::KeyPackages { .. } => return Err(Code::Unexpected.into()),
        };
        Ok(Some(answer))
    }

    fn open_log(
        &mut self,
        peer: Peer,
        open: &Open,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Refusal> {
        self.sessions.check_proof(peer, self.config.node, open)?;
        let genesis = open.genesis.as_deref().map(LogGenesis::decode);
        let genesis = genesis.transpose().map_err(|_| Code::Invalid)?;
        if genesis.is_some_and(|genesis| genesis.id() != open.log) {
            return Err(Code::Invalid.into());
        }
        self.check_ranking(open.ranking.as_deref())?;
        let (number, role) = match (self.logs.find(draft, &open.log), genesis) {
            (Some((number, log)), _) => {
                (number, role_of(log, number, &open.key, draft, now).ok_or(Code::Forbidden)?)
            }
            (None, Some(LogGenesis::Conversation { write_key, salt: _ })) => {
                (self.create(peer, open, write_key, draft)?, Role::Member)
            }
            (None, Some(LogGenesis::Inbox(_)) | None) => return Err(Code::NotFound.into()),
        };
        if role == Role::Guest {
            self.check_home(number, draft)?;
        }
        if open.tail.is_some() && !role.reads() {
            return Err(Code::Forbidden.into());
        }
        let replaces = self.sessions.handle(peer, open.handle);
        let replaces = replaces.is_ok_and(|old| old.log == number && old.role.reads());
        if role.reads() && !replaces && self.sessions.is_crowded(number) {
            return Err(Code::Busy.into());
        }
        if let Some(ranking) = &open.ranking {
            self.take_ranking((number, role), &open.key, ranking, draft, now)?;
        }
        let _ = self.close(peer, open.handle);
        self.sessions.open(peer, open.handle, Handle { log: number, key: open.key, role });
        let log = self.logs.get(draft, number).ok_or(Code::NotFound)?;
        if !role.reads() {
            // A guest learns nothing about what is there.
            return Ok(Body::Opened { head: Cursor::default(), position: 0 });
        }
        let (incarnation, head) = (log.row.incarnation, log.state.last_sequence);
        if let Some(cursor) = open.tail {
            let after = if cursor.incarnation == incarnation && cursor.sequence <= head {
                cursor.sequence
            } else {
                0
            };
            self.tails.open((number, peer, open.handle), open.key, after);
        }
        let position = log.state.highest_position;
        Ok(Body::Opened { head: Cursor { incarnation, sequence: head }, position })
    }

    /// Refuses a guest of an account that has moved away, and tells where to.
    fn check_host(&mut self, peer: Peer, number: u32, rows: &dyn Rows) -> Result<(), Refusal> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role == Role::Guest { self.check_home(handle.log, rows) } else { Ok(()) }
    }

    fn check_home(&mut self, inbox: u64, rows: &dyn Rows) -> Result<(), Refusal> {
        let account = self.logs.get(rows, inbox).and_then(|log| log.row.inbox_of);
        match account.and_then(|account| account::moved_to(rows, account, self.config.node)) {
            Some(newer) => Err(Refusal { code: Code::Stale, newer }),
            None => Ok(()),
        }
    }

    fn create(
        &mut self,
        peer: Peer,
        open: &Open,
        write_key: PublicKey,
        draft: &mut Draft<'_>,
    ) -> Result<u64, Code> {
        if open.key != write_key {
            return Err(Code::Forbidden);
        }
        let account = self.sessions.own_account(peer).ok_or(Code::Forbidden)?;
        let ranking = open.ranking.as_ref().map_or(0, |_| RANKING_CHARGE);
        self.quota.admit_log(draft, account, LOG_CHARGE.saturating_add(ranking))?;
        self.quota.charge_log(draft, account, LOG_CHARGE);
        let incarnation = self.incarnation();
        Ok(self.logs.create_conversation(draft, open.log, write_key, account, incarnation))
    }

    fn close(&mut self, peer: Peer, handle: u32) -> Result<Body, Code> {
        let closed = self.sessions.close(peer, handle).ok_or(Code::Unexpected)?;
        self.tails.close((closed.log, peer, handle));
        Ok(Body::Accepted { handle, sequence: 0 })
    }

    fn append(
        &mut self,
        peer: Peer,
        number: u32,
        entry: Entry,
        signature: [u8; 64],
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let handle = self.sessions.handle(peer, number)?;
        let its_sequence = entry.sequence;
        let envelope = self.envelope(&handle, entry, signature, draft)?;
        let invite = match handle.role {
            Role::Guest => {
                let invite = invite::get(draft, handle.log, &handle.key, now);
                Some(invite.ok_or(Code::Forbidden)?)
            }
            Role::Owner | Role::Member => None,
            Role::Replica => {
                return self.take_in(
                    peer,
                    number,
                    (handle.log, its_sequence),
                    &envelope,
                    draft,
                    now,
                );
            }
        };
        let writer = Writer::Device { may_write: invite.is_none_or(|invite| invite.uses > 0) };
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let sequence = match logs.append(draft, quota, handle.log, &envelope, writer, now)? {
            Appended::Before(sequence) => {
                increment(&mut self.counting.counters.duplicates);
                sequence
            }
            Appended::New(sequence) => {
                if let Some(invite) = invite {
                    invite::use_up(draft, handle.log, &handle.key, invite);
                }
                self.stored(peer, handle.log, sequence, &envelope, draft, now);
                sequence
            }
        };
        let sequence = if handle.role.reads() { sequence } else { 0 };
        Ok(Body::Accepted { handle: number, sequence })
    }

    /// Hands an entry that has just been stored to whoever follows its log, and to the other nodes
    /// that hold it.
    fn stored(
        &mut self,
        from: Peer,
        number: u64,
        sequence: u64,
        envelope: &Envelope,
        draft: &mut Draft<'_>,
        now: Instant,
    ) {
        let Self { tails, logs, replicas, counting, replies, .. } = self;
        increment(&mut counting.counters.appended);
        tails.appended(number, from, sequence, envelope, |reader, frame| {
            increment(&mut counting.counters.delivered);
            replies.push_back(Output::Transmit(reader, frame));
        });
        if let Some(log) = logs.get(draft, number).filter(|log| !log.nodes.is_empty()) {
            replicas.appended(draft, (number, &log.nodes), &from, sequence, now);
        }
    }

    /// The envelope that an append on a handle stands for.
    fn envelope(
        &mut self,
        handle: &Handle,
        entry: Entry,
        signature: [u8; 64],
        rows: &dyn Rows,
    ) -> Result<Envelope, Code> {
        let log = self.logs.get(rows, handle.log).ok_or(Code::NotFound)?;
        let write_key = match handle.role {
            // A writer can't speak for a key other than the one it proved.
            Role::Owner | Role::Guest | Role::Member => None,
            Role::Replica => Some(entry.write_key.ok_or(Code::Malformed)?),
        };
        let entry = Entry { write_key, ..entry };
        Ok(entry.into_envelope(log.row.id, handle.key, signature))
    }

    fn signal(
        &mut self,
        peer: Peer,
        number: u32,
        ciphertext: &[u8],
        draft: &Draft<'_>,
        now: Instant,
    ) -> Result<(), Code> {
        let handle = self.sessions.handle(peer, number)?;
        if ciphertext.len() > limits::SIGNAL_MAX {
            return Err(Code::Malformed);
        }
        let max = self.may_signal(peer, &handle, draft, now)?;
        self.sessions.signal(peer, now.as_secs(), max)?;
        if handle.role != Role::Replica {
            self.pass_signal_on(handle.log, ciphertext, draft);
        }
        let mut last = peer;
        for (reader, handle) in self.sessions.readers(handle.log) {
            // Once to each connection; readers come in the order of their names.
            if reader == peer || reader == last {
                continue;
            }
            last = reader;
            increment(&mut self.counting.counters.signals);
            let body = Body::Signal { handle, ciphertext: ciphertext.to_vec() };
            self.replies.push_back(Output::Transmit(reader, Frame::new(body)));
        }
        Ok(())
    }

    fn accepted(&mut self, peer: Peer, number: u32, sequence: u64) {
        let accepted = match self.sessions.handle(peer, number) {
            Ok(handle) => self.tails.accepted((handle.log, peer, number), sequence),
            Err(_) => Err(Dropped::NotFollowing),
        };
        if let Err(reason) = accepted {
            self.counting.dropped(reason);
        }
    }

    /// Delivers what follows to a connection that has room for it.
    fn pull(&mut self, peer: Peer, draft: &Draft<'_>) {
        let Self { tails, logs, counting, replies, .. } = self;
        let last_sequence = |log| logs.get(draft, log).map_or(0, |log| log.state.last_sequence);
        tails.pull(peer, draft, last_sequence, |reader, frame| {
            increment(&mut counting.counters.delivered);
            replies.push_back(Output::Transmit(reader, frame));
        });
    }

    fn page(&mut self, (entries, more): (Vec<Entry>, bool)) -> Body {
        increment(&mut self.counting.counters.pages);
        Body::Page { entries, more }
    }

    fn put_bundle(
        &mut self,
        draft: &mut Draft<'_>,
        bundle: &[u8],
        now: Instant,
    ) -> Result<Body, Refusal> {
        let incarnation = self.incarnation();
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        match account::put_bundle(draft, &self.config, logs, quota, bundle, incarnation)? {
            Change::None => {}
            Change::Registered(account) => {
                self.replies.push_back(Output::Event(NodeEvent::Registered(account)));
                self.publish(bundle, draft, now);
            }
            Change::Devices(inbox, devices) => {
                for (peer, handle) in self.sessions.strangers(inbox, &devices) {
                    // The handle is there: it was just found.
                    let _ = self.close(peer, handle);
                }
                self.publish(bundle, draft, now);
            }
        }
        Ok(Body::Accepted { handle: 0, sequence: 0 })
    }

    fn take_packages(
        &mut self,
        peer: Peer,
        number: u32,
        draft: &mut Draft<'_>,
        now: Instant,
    ) -> Result<Body, Code> {
        let handle = self.sessions.handle(peer, number)?;
        let invite = match handle.role {
            Role::Owner => None,
            Role::Guest => {
                let invite = invite::get(draft, handle.log, &handle.key, now);
                Some(invite.filter(|invite| invite.uses > 0).ok_or(Code::Forbidden)?)
            }
            Role::Member | Role::Replica => return Err(Code::Forbidden),
        };
        let one_time = invite.is_none_or(|invite| invite.takes > 0);
        let (logs, quota) = (&mut self.logs, &mut self.quota);
        let packages = key_package::take(draft, logs, quota, handle.log, one_time)?;
        if let Some(invite) = invite {
            invite::take(draft, handle.log, &handle.key, invite);
        }
        Ok(Body::KeyPackages { packages, left: 0 })
    }

    /// A handle that may read.
    fn reading(&self, peer: Peer, number: u32) -> Result<Handle, Code> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role.reads() { Ok(handle) } else { Err(Code::Forbidden) }
    }

    /// The inbox that the connection has open as `number`, as its owner.
    fn owned(&self, peer: Peer, number: u32) -> Result<u64, Code> {
        let handle = self.sessions.handle(peer, number)?;
        if handle.role == Role::Owner { Ok(handle.log) } else { Err(Code::Forbidden) }
    }

    /// A name for a new log's copy; never 0, which is the cursor of whoever has none.
    fn incarnation(&mut self) -> u64 {
        self.rng.next_u64().max(1)
    }
}

/// What a key is to a log, if anything.
fn role_of(log: &Log, number: u64, key: &PublicKey, rows: &dyn Rows, now: Instant) -> Option<Role> {
    if log.row.inbox_of.is_none() {
        return log.knows(rows, number, key).then_some(Role::Member);
    }
    if log.has(key) {
        return Some(Role::Owner);
    }
    invite::get(rows, number, key, now).map(|_| Role::Guest)
}

/// What one input leads to at most: a commit, a copy for each reader of a log, a full window for
/// who spoke, its answer, an event and two more, what goes to other nodes, and what routing does.
/// Between inputs the outputs are drained.
const OUTPUTS_MAX: u64 = limits::READERS_MAX as u64
    + limits::DELIVER_WINDOW
    + 8
    + replica::OUTPUTS_MAX as u64
    + routes::OUTPUTS_MAX;
