//! Links: connections to other nodes and the pending requests on them. They are made when needed;
//! few are kept, and the one idle for longest is closed first. Specified in `spec/routing.md`,
//! section 4.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use proto::{Gauge, Instant, NodeId, RateLimiter, Routing};

use crate::{record::NodeRecord, rtt::Rtt, space};

/// All links, and what the driver must do about them. `P` says what a request is for.
#[derive(Debug)]
pub(crate) struct Links<P> {
    links: BTreeMap<NodeId, Link<P>>,
    /// Connections closed here whose end the driver has not reported yet; that end must not be
    /// taken for the end of the next connection.
    closing: BTreeSet<NodeId>,
    /// Connected peers that have not introduced themselves, and their addresses.
    strangers: BTreeMap<NodeId, IpAddr>,
    timers: BTreeSet<(Instant, NodeId, u32, Due)>,
    last_request: u32,
    /// Of answers on existing links, and on those that must be dialled first.
    rtt: Rtt,
    dialling_rtt: Rtt,
    wishes: Vec<Wish>,
    /// When to close idle links next.
    tidy_at: Instant,
}

/// A connection, or one being dialled.
#[derive(Debug)]
struct Link<P> {
    up: bool,
    /// This side has dialled.
    dialled: bool,
    since: Instant,
    /// It replaces a young connection that has ended.
    is_second: bool,
    introduced_to: bool,
    /// The peer's address, if proved.
    met_at: Option<IpAddr>,
    /// The record with which the node has introduced itself; as bytes, which take half the memory.
    record: Option<Box<[u8]>>,
    used: Instant,
    requests: BTreeMap<u32, Request<P>>,
    questions: RateLimiter,
    stores: RateLimiter,
}

#[derive(Debug)]
struct Request<P> {
    purpose: P,
    /// The message, until the connection is made.
    word: Option<Routing>,
    asked: Instant,
    late_at: Instant,
    lost_at: Instant,
    dialled: bool,
    late: bool,
}

/// Which timer of a request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Late,
    Lost,
}

/// What the driver must do.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect(NodeId, Vec<SocketAddr>),
    Disconnect(NodeId),
    Say(NodeId, u32, Routing),
    Introduce(NodeId),
}

/// The outcome of a request or a dial.
#[derive(Debug)]
pub(crate) enum Outcome<P> {
    /// The answer is later than nearly all are; it may still come.
    Late(NodeId, P),
    /// There will be no answer.
    Lost(NodeId, P),
    /// A node could not be dialled.
    Unreached(NodeId),
}

impl<P: Clone> Links<P> {
    pub(crate) fn new() -> Self {
        Self {
            links: BTreeMap::new(),
            closing: BTreeSet::new(),
            strangers: BTreeMap::new(),
            timers: BTreeSet::new(),
            last_request: 0,
            rtt: Rtt::new(LATE_FIRST),
            dialling_rtt: Rtt::new(LATE_FIRST.saturating_mul(3)),
            wishes: Vec::new(),
            tidy_at: Instant::default(),
        }
    }

    /// Sends a request, dialling the node if necessary. Returns false if there is no room.
    pub(crate) fn ask(
        &mut self,
        node: NodeId,
        addresses: &[SocketAddr],
        purpose: P,
        word: Routing,
        now: Instant,
    ) -> bool {
        // A probe takes as long as a dial may take, at each node that forwards it.
        let timeout = if let Routing::Probe { dial, .. } = word {
            LOST_AFTER.saturating_mul(if dial { 3 } else { 2 })
        } else {
            LOST_AFTER
        };
        if !self.dial(node, addresses, now) {
            return false;
        }
        let Some(link) = self.links.get_mut(&node) else { return false };
        if link.requests.len() >= REQUESTS_MAX {
            return false;
        }
        self.last_request = self.last_request.checked_add(1).unwrap_or(1);
        let request = self.last_request;
        let (word, late) = if link.up {
            self.wishes.push(Wish::Say(node, request, word));
            (None, self.rtt.late())
        } else {
            (Some(word), self.dialling_rtt.late())
        };
        link.used = now;
        let (dialled, late_at, lost_at) = (word.is_some(), now.after(late), now.after(timeout));
        let pending = Request { purpose, dialled, word, asked: now, late_at, lost_at, late: false };
        link.requests.insert(request, pending);
        self.timers.insert((late_at, node, request, Due::Late));
        self.timers.insert((lost_at, node, request, Due::Lost));
        true
    }

    /// Dials a node unless it is connected. Returns false if there is no room.
    pub(crate) fn dial(&mut self, node: NodeId, addresses: &[SocketAddr], now: Instant) -> bool {
        if self.links.contains_key(&node) {
            return true;
        }
        if self.links.len() >= LINKS_HARD_MAX || addresses.is_empty() {
            return false;
        }
        self.links.insert(node, Link::new(true, now));
        self.wishes.push(Wish::Connect(node, addresses.to_vec()));
        self.timers.insert((now.after(LOST_AFTER), node, 0, Due::Lost));
        true
    }

    /// Handles a new connection. The side that dialled introduces itself at once; devices never do,
    /// and so are never taken for nodes.
    pub(crate) fn connected(&mut self, node: NodeId, met_at: Option<SocketAddr>, now: Instant) {
        self.closing.remove(&node);
        let met_at = met_at.map(|address| address.ip().to_canonical());
        let Some(link) = self.links.get_mut(&node) else {
            return self.met_stranger(node, met_at);
        };
        link.up = true;
        link.met_at = met_at;
        link.used = now;
        link.introduced_to = true;
        self.wishes.push(Wish::Introduce(node));
        for (request, pending) in &mut link.requests {
            if let Some(word) = pending.word.take() {
                self.wishes.push(Wish::Say(node, *request, word));
            }
        }
    }

    fn met_stranger(&mut self, node: NodeId, met_at: Option<IpAddr>) {
        // A stranger dropped here counts as one that has proved nothing.
        if self.strangers.len() >= LINKS_HARD_MAX && !self.strangers.contains_key(&node) {
            self.strangers.pop_first();
        }
        if let Some(met_at) = met_at {
            self.strangers.insert(node, met_at);
        }
    }

    /// Handles a node's introduction. Returns false if there is no room for it.
    pub(crate) fn introduced(&mut self, record: NodeRecord, now: Instant) -> bool {
        let node = record.node();
        if self.links.len() >= LINKS_HARD_MAX && !self.links.contains_key(&node) {
            self.wishes.push(Wish::Disconnect(node));
            return false;
        }
        self.closing.remove(&node);
        let stranger = self.strangers.remove(&node);
        let link = self.links.entry(node).or_insert_with(|| Link::new(false, now));
        link.up = true;
        link.met_at = stranger.or(link.met_at);
        link.used = now;
        link.record = Some(record.as_bytes().into());
        if !std::mem::replace(&mut link.introduced_to, true) {
            self.wishes.push(Wish::Introduce(node));
        }
        true
    }

    /// Handles the end of a connection and of the requests on it. Returns `None` if it was closed
    /// here before.
    pub(crate) fn disconnected(&mut self, node: &NodeId, now: Instant) -> Option<Vec<Outcome<P>>> {
        self.strangers.remove(node);
        if self.closing.remove(node) {
            return None;
        }
        Some(self.await_another(node, now).unwrap_or_else(|| self.forget(node)))
    }

    /// If two nodes have dialled each other, one connection replaces the other. The driver
    /// continues dialling, so the second one is awaited for as long as a dial may take; a third one
    /// is not.
    fn await_another(&mut self, node: &NodeId, now: Instant) -> Option<Vec<Outcome<P>>> {
        let is_young = |link: &&mut Link<P>| now.since(link.since) <= REPLACED_WITHIN;
        let link = self.links.get_mut(node).filter(|link| link.dialled && !link.is_second);
        let link = link.filter(is_young)?;
        let mut lost = Vec::new();
        for (request, pending) in std::mem::take(&mut link.requests) {
            if pending.word.is_some() {
                link.requests.insert(request, pending);
            } else {
                lost.push((request, pending));
            }
        }
        (link.up, link.introduced_to, link.record, link.met_at) = (false, false, None, None);
        (link.since, link.is_second) = (now, true);
        self.timers.retain(|(_, at, request, _)| {
            at != node || (*request != 0 && !lost.iter().any(|(gone, _)| gone == request))
        });
        self.timers.insert((now.after(LOST_AFTER), *node, 0, Due::Lost));
        Some(lost.into_iter().map(|(_, pending)| Outcome::Lost(*node, pending.purpose)).collect())
    }

    fn forget(&mut self, node: &NodeId) -> Vec<Outcome<P>> {
        let Some(link) = self.links.remove(node) else { return Vec::new() };
        self.timers.retain(|(_, at, ..)| at != node);
        if link.dialled {
            // The driver would dial again.
            self.wishes.push(Wish::Disconnect(*node));
        }
        let lost = link.requests.into_values().map(|pending| Outcome::Lost(*node, pending.purpose));
        let unreached = (!link.up).then_some(Outcome::Unreached(*node));
        lost.chain(unreached).collect()
    }

    /// Handles an answer. Returns what it was for, and how long it took.
    pub(crate) fn answered(
        &mut self,
        node: &NodeId,
        request: u32,
        now: Instant,
    ) -> Option<(P, Duration)> {
        let link = self.links.get_mut(node)?;
        let pending = link.requests.remove(&request)?;
        link.used = now;
        self.timers.remove(&(pending.late_at, *node, request, Due::Late));
        self.timers.remove(&(pending.lost_at, *node, request, Due::Lost));
        let took = now.since(pending.asked);
        if pending.dialled { &mut self.dialling_rtt } else { &mut self.rtt }.measure(took);
        Some((pending.purpose, took))
    }

    /// Counts a question of a node. Returns false if it asks too often.
    pub(crate) fn may_ask(&mut self, node: &NodeId, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(node) else { return false };
        link.used = now;
        link.questions.take(now)
    }

    /// Counts a record that a node stores. Returns false if it stores too often.
    pub(crate) fn may_store(&mut self, node: &NodeId, now: Instant) -> bool {
        self.links.get_mut(node).is_some_and(|link| link.stores.take(now))
    }

    /// Returns the record with which a node has introduced itself on its current connection.
    pub(crate) fn record(&self, node: &NodeId) -> Option<NodeRecord> {
        NodeRecord::reread(self.links.get(node).filter(|link| link.up)?.record.as_deref()?)
    }

    /// Returns whether a node has proved to be in the network of one of its addresses: it was
    /// dialled there, or came from there.
    pub(crate) fn is_where_it_says(&self, record: &NodeRecord) -> bool {
        let met_at = self.links.get(&record.node()).and_then(|link| link.met_at);
        met_at.is_some_and(|met_at| space::is_at(&met_at, &record.says().addresses))
    }

    /// Returns whether a node has introduced itself on its current connection.
    pub(crate) fn is_known(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.up && link.record.is_some())
    }

    /// Updates a node's record.
    pub(crate) fn renew(&mut self, record: &NodeRecord) {
        if let Some(link) = self.links.get_mut(&record.node())
            && let Some(known) = &mut link.record
            && NodeRecord::reread(known).is_some_and(|known| record.replaces(&known))
        {
            *known = record.as_bytes().into();
        }
    }

    /// Returns the connected nodes that have introduced themselves.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter(|(_, link)| link.record.is_some()).map(|(node, _)| *node)
    }

    /// Returns whether there is a connection, or one is being dialled.
    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.links.contains_key(node)
    }

    /// Closes the links idle for longest while there are too many for a node with so many contacts,
    /// and all that are idle for long; but none that `keeps` protects or that has pending requests.
    pub(crate) fn tidy(&mut self, contacts: usize, keeps: impl Fn(&NodeId) -> bool, now: Instant) {
        let most = if contacts <= FEW { FEW } else { LINKS_MAX };
        if self.links.len() <= most && now < self.tidy_at {
            return;
        }
        self.tidy_at = now.after(TIDIED_EVERY);
        let mut idle: Vec<(Instant, NodeId)> = self
            .links
            .iter()
            .filter(|(node, link)| link.up && link.requests.is_empty() && !keeps(node))
            .map(|(node, link)| (link.used, *node))
            .collect();
        idle.sort_unstable();
        let excess = self.links.len().saturating_sub(most);
        let is_old = |(i, (used, _)): &(usize, (Instant, NodeId))| {
            *i < excess || now.since(*used) >= SILENT_MAX
        };
        for (_, (_, node)) in idle.into_iter().enumerate().take_while(is_old) {
            self.hang_up(&node);
        }
    }

    /// Closes a link without pending requests.
    fn hang_up(&mut self, node: &NodeId) {
        if self.links.remove(node).is_some() {
            self.timers.retain(|(_, at, ..)| at != node);
            self.closing.insert(*node);
            self.wishes.push(Wish::Disconnect(*node));
        }
    }

    /// Returns the outcomes that are due.
    pub(crate) fn timeout(&mut self, now: Instant) -> Vec<Outcome<P>> {
        let mut outcomes = Vec::new();
        while let Some((due, node, request, what)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            let Some(link) = self.links.get_mut(&node) else { continue };
            match (what, link.requests.get_mut(&request)) {
                (Due::Late, Some(pending)) if !pending.late => {
                    pending.late = true;
                    outcomes.push(Outcome::Late(node, pending.purpose.clone()));
                }
                (Due::Lost, Some(_)) => {
                    let pending = link.requests.remove(&request);
                    outcomes.extend(pending.map(|pending| Outcome::Lost(node, pending.purpose)));
                }
                (Due::Lost, None) if request == 0 && !link.up => {
                    outcomes.extend(self.forget(&node));
                }
                _ => {}
            }
        }
        outcomes
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// Returns whether no request is pending.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.values().all(|link| link.requests.is_empty())
    }

    pub(crate) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub(crate) fn gauges(&self) -> [Gauge; 3] {
        let requests = self.links.values().map(|link| link.requests.len()).max().unwrap_or(0);
        [
            Gauge::new("links", self.links.len(), LINKS_HARD_MAX),
            Gauge::new("requests of a link", requests, REQUESTS_MAX),
            Gauge::new("strangers", self.strangers.len(), LINKS_HARD_MAX),
        ]
    }

    /// Returns roughly how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        let of_link = |link: &Link<P>| {
            let record = link.record.as_ref().map_or(0, |record| record.len());
            let requests = link.requests.len().saturating_mul(size_of::<Request<P>>());
            size_of::<Link<P>>().saturating_add(record).saturating_add(requests)
        };
        let timers = self.timers.len().saturating_mul(size_of::<(Instant, NodeId, u32, Due)>());
        let strangers = self.strangers.len().saturating_mul(size_of::<(NodeId, IpAddr)>());
        let links = self.links.values().map(of_link).sum::<usize>();
        links.saturating_add(timers).saturating_add(strangers)
    }
}

impl<P> Link<P> {
    fn new(dialled: bool, now: Instant) -> Self {
        Self {
            up: false,
            dialled,
            since: now,
            is_second: false,
            introduced_to: false,
            met_at: None,
            record: None,
            used: now,
            requests: BTreeMap::new(),
            questions: RateLimiter::new(QUESTIONS_PER_S, now),
            stores: RateLimiter::new(STORES_PER_S, now),
        }
    }
}

/// Connections that are kept: the active view, and nodes that were asked or have asked recently.
const LINKS_MAX: usize = 36;
/// Connections at any time, including those needed at the moment.
const LINKS_HARD_MAX: usize = 60;
/// A node with at most so many contacts stays connected to all: each is asked all the time, because
/// every record is at 20 of them.
const FEW: usize = 52;
/// A connection without requests for so long is closed; a keep-alive costs 240 bytes a minute.
const SILENT_MAX: Duration = Duration::from_secs(120);
const TIDIED_EVERY: Duration = Duration::from_secs(1);
/// Pending requests to one node: those of a few lookups.
const REQUESTS_MAX: usize = 64;
/// As QUIC's handshake: three tries on any usable network.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// How old a connection may be when one dialled from the other side replaces it: the time of a
/// dial, and the 5 s of `spec/transport.md`, section 3.
const REPLACED_WITHIN: Duration = LOST_AFTER.saturating_add(Duration::from_secs(5));
/// Until a round trip was measured: most of the internet is within half of it.
const LATE_FIRST: Duration = Duration::from_millis(300);
/// Questions of one connection a second: five lookups.
const QUESTIONS_PER_S: u32 = 64;
/// Records of one connection a second. A home node of 100,000 accounts publishes 28 a second, at
/// 20 of all nodes.
const STORES_PER_S: u32 = 16;
