//! Links: connections to other nodes and the requests under way on them. They are made at need, few
//! are kept, and the one that was silent longest goes first. Specified in `spec/routing.md`,
//! section 4.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use proto::{Gauge, Instant, NodeId, Routing};

use crate::{
    pace::{Allowance, Pace},
    record::NodeRecord,
    space,
};

/// All links, and what the driver is to do about them. `P` says what a request is for.
#[derive(Debug)]
pub(crate) struct Links<P> {
    links: BTreeMap<NodeId, Link<P>>,
    /// Connections that were dropped and whose end the driver has not reported yet: it is not that
    /// of the next one.
    closing: BTreeSet<NodeId>,
    /// Who is connected and has not introduced itself, and where it is.
    strangers: BTreeMap<NodeId, IpAddr>,
    timers: BTreeSet<(Instant, NodeId, u32, Due)>,
    requests: u32,
    /// Answers on links that stand, and on those that must be dialled first.
    pace: Pace,
    dialling_pace: Pace,
    wishes: Vec<Wish>,
    /// When to look for those that are silent for long.
    tidy_at: Instant,
}

/// A connection, or the wish for one.
#[derive(Debug)]
struct Link<P> {
    up: bool,
    /// This side has dialled.
    dialled: bool,
    since: Instant,
    /// It took the place of one that ended soon.
    is_second: bool,
    introduced_to: bool,
    /// Where it is, if that was proved.
    met_at: Option<IpAddr>,
    /// The record with which the node has introduced itself, as bytes: they take half the room.
    record: Option<Box<[u8]>>,
    used: Instant,
    asks: BTreeMap<u32, Ask<P>>,
    questions: Allowance,
    stores: Allowance,
}

#[derive(Debug)]
struct Ask<P> {
    purpose: P,
    /// Not said yet, for the connection does not stand yet.
    word: Option<Routing>,
    asked: Instant,
    late_at: Instant,
    lost_at: Instant,
    dialled: bool,
    late: bool,
}

/// What is due for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Late,
    Lost,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect(NodeId, Vec<SocketAddr>),
    Disconnect(NodeId),
    Say(NodeId, u32, Routing),
    Introduce(NodeId),
}

/// What has come of a request.
#[derive(Debug)]
pub(crate) enum Turn<P> {
    /// It takes longer than nearly all do; an answer may still come.
    Late(NodeId, P),
    /// There will be no answer.
    Lost(NodeId, P),
    /// A dialled connection could not be made.
    Unreached(NodeId),
}

impl<P: Clone> Links<P> {
    pub(crate) fn new() -> Self {
        Self {
            links: BTreeMap::new(),
            closing: BTreeSet::new(),
            strangers: BTreeMap::new(),
            timers: BTreeSet::new(),
            requests: 0,
            pace: Pace::new(LATE_FIRST),
            dialling_pace: Pace::new(LATE_FIRST.saturating_mul(3)),
            wishes: Vec::new(),
            tidy_at: Instant::default(),
        }
    }

    /// Asks a node something, dialling it if need be. Returns false if there is no room.
    pub(crate) fn ask(
        &mut self,
        (node, addresses): (NodeId, &[SocketAddr]),
        purpose: P,
        word: Routing,
        now: Instant,
    ) -> bool {
        // A node that is asked to dial another takes as long as the dial, for each forwarding node.
        let patience = if let Routing::Probe { anew, .. } = word {
            LOST_AFTER.saturating_mul(if anew { 3 } else { 2 })
        } else {
            LOST_AFTER
        };
        if !self.dial(node, addresses, now) {
            return false;
        }
        let Some(link) = self.links.get_mut(&node) else { return false };
        if link.asks.len() >= ASKS_MAX {
            return false;
        }
        self.requests = self.requests.checked_add(1).unwrap_or(1);
        let request = self.requests;
        let (word, late) = if link.up {
            self.wishes.push(Wish::Say(node, request, word));
            (None, self.pace.late())
        } else {
            (Some(word), self.dialling_pace.late())
        };
        link.used = now;
        let (dialled, late_at, lost_at) = (word.is_some(), now.after(late), now.after(patience));
        let ask = Ask { purpose, dialled, word, asked: now, late_at, lost_at, late: false };
        link.asks.insert(request, ask);
        self.timers.insert((late_at, node, request, Due::Late));
        self.timers.insert((lost_at, node, request, Due::Lost));
        true
    }

    /// Wants a connection. Returns false if there is no room for one more.
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

    /// A connection stands. Who dialled introduces itself at once, so that devices, which never do,
    /// are never taken for nodes.
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
        for (request, ask) in &mut link.asks {
            if let Some(word) = ask.word.take() {
                self.wishes.push(Wish::Say(node, *request, word));
            }
        }
    }

    fn met_stranger(&mut self, node: NodeId, met_at: Option<IpAddr>) {
        // A node forgotten here counts as one that has proved nothing.
        if self.strangers.len() >= LINKS_HARD_MAX && !self.strangers.contains_key(&node) {
            self.strangers.pop_first();
        }
        if let Some(met_at) = met_at {
            self.strangers.insert(node, met_at);
        }
    }

    /// A node has introduced itself. Returns false if there is no room for it.
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

    /// A connection is lost with its pending requests. Returns nothing if it was dropped before.
    pub(crate) fn disconnected(&mut self, node: &NodeId, now: Instant) -> Option<Vec<Turn<P>>> {
        self.strangers.remove(node);
        if self.closing.remove(node) {
            return None;
        }
        Some(self.await_another(node, now).unwrap_or_else(|| self.forget(node)))
    }

    /// If two have dialled each other, one connection takes the place of the other. The driver goes
    /// on dialling, so the next one is awaited for as long as a dial may take; not so a third one.
    fn await_another(&mut self, node: &NodeId, now: Instant) -> Option<Vec<Turn<P>>> {
        let is_young = |link: &&mut Link<P>| now.since(link.since) <= REPLACED_WITHIN;
        let link = self.links.get_mut(node).filter(|link| link.dialled && !link.is_second);
        let link = link.filter(is_young)?;
        let mut lost = Vec::new();
        for (request, ask) in std::mem::take(&mut link.asks) {
            if ask.word.is_some() {
                link.asks.insert(request, ask);
            } else {
                lost.push((request, ask));
            }
        }
        (link.up, link.introduced_to, link.record, link.met_at) = (false, false, None, None);
        (link.since, link.is_second) = (now, true);
        self.timers.retain(|(_, at, request, _)| {
            at != node || (*request != 0 && !lost.iter().any(|(gone, _)| gone == request))
        });
        self.timers.insert((now.after(LOST_AFTER), *node, 0, Due::Lost));
        Some(lost.into_iter().map(|(_, ask)| Turn::Lost(*node, ask.purpose)).collect())
    }

    fn forget(&mut self, node: &NodeId) -> Vec<Turn<P>> {
        let Some(link) = self.links.remove(node) else { return Vec::new() };
        self.timers.retain(|(_, at, ..)| at != node);
        if link.dialled {
            // The driver would dial again.
            self.wishes.push(Wish::Disconnect(*node));
        }
        let lost = link.asks.into_values().map(|ask| Turn::Lost(*node, ask.purpose));
        let unreached = (!link.up).then_some(Turn::Unreached(*node));
        lost.chain(unreached).collect()
    }

    /// An answer has come: what it was for, and how long it took.
    pub(crate) fn answered(
        &mut self,
        node: &NodeId,
        request: u32,
        now: Instant,
    ) -> Option<(P, Duration)> {
        let link = self.links.get_mut(node)?;
        let ask = link.asks.remove(&request)?;
        link.used = now;
        self.timers.remove(&(ask.late_at, *node, request, Due::Late));
        self.timers.remove(&(ask.lost_at, *node, request, Due::Lost));
        let took = now.since(ask.asked);
        if ask.dialled { &mut self.dialling_pace } else { &mut self.pace }.measure(took);
        Some((ask.purpose, took))
    }

    /// A node asks something. Returns false if it asks too often.
    pub(crate) fn may_ask(&mut self, node: &NodeId, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(node) else { return false };
        link.used = now;
        link.questions.take(now)
    }

    /// A node stores something. Returns false if it stores too often.
    pub(crate) fn may_store(&mut self, node: &NodeId, now: Instant) -> bool {
        self.links.get_mut(node).is_some_and(|link| link.stores.take(now))
    }

    /// The record with which a node has introduced itself on its present connection.
    pub(crate) fn record(&self, node: &NodeId) -> Option<NodeRecord> {
        NodeRecord::reread(self.links.get(node).filter(|link| link.up)?.record.as_deref()?)
    }

    /// Returns whether a node has proved to be in the network of an address that it names: it was
    /// dialled there, or came from there.
    pub(crate) fn is_where_it_says(&self, record: &NodeRecord) -> bool {
        let met_at = self.links.get(&record.node()).and_then(|link| link.met_at);
        met_at.is_some_and(|met_at| space::is_at(&met_at, &record.says().addresses))
    }

    /// Returns whether a node has introduced itself on its present connection.
    pub(crate) fn is_known(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.up && link.record.is_some())
    }

    /// A node says something new of itself.
    pub(crate) fn renew(&mut self, record: &NodeRecord) {
        if let Some(link) = self.links.get_mut(&record.node())
            && let Some(known) = &mut link.record
            && NodeRecord::reread(known).is_some_and(|known| record.replaces(&known))
        {
            *known = record.as_bytes().into();
        }
    }

    /// The nodes to which a connection stands and which have introduced themselves.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter(|(_, link)| link.record.is_some()).map(|(node, _)| *node)
    }

    /// Returns whether there is a connection, or one is being dialled.
    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.links.contains_key(node)
    }

    /// Closes those that were silent longest, as long as there are too many for one who knows so
    /// many contacts, and those that are silent for long; but none that is kept, or on which
    /// something is under way.
    pub(crate) fn tidy(&mut self, contacts: usize, keeps: impl Fn(&NodeId) -> bool, now: Instant) {
        let most = if contacts <= FEW { FEW } else { LINKS_MAX };
        if self.links.len() <= most && now < self.tidy_at {
            return;
        }
        self.tidy_at = now.after(TIDIED_EVERY);
        let mut idle: Vec<(Instant, NodeId)> = self
            .links
            .iter()
            .filter(|(node, link)| link.up && link.asks.is_empty() && !keeps(node))
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

    /// Disconnects from a node without pending requests.
    fn hang_up(&mut self, node: &NodeId) {
        if self.links.remove(node).is_some() {
            self.timers.retain(|(_, at, ..)| at != node);
            self.closing.insert(*node);
            self.wishes.push(Wish::Disconnect(*node));
        }
    }

    /// Takes what is due.
    pub(crate) fn timeout(&mut self, now: Instant) -> Vec<Turn<P>> {
        let mut turns = Vec::new();
        while let Some((due, node, request, what)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            let Some(link) = self.links.get_mut(&node) else { continue };
            match (what, link.asks.get_mut(&request)) {
                (Due::Late, Some(ask)) if !ask.late => {
                    ask.late = true;
                    turns.push(Turn::Late(node, ask.purpose.clone()));
                }
                (Due::Lost, Some(_)) => {
                    let ask = link.asks.remove(&request);
                    turns.extend(ask.map(|ask| Turn::Lost(node, ask.purpose)));
                }
                (Due::Lost, None) if request == 0 && !link.up => {
                    turns.extend(self.forget(&node));
                }
                _ => {}
            }
        }
        turns
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// Returns whether no request is pending.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.values().all(|link| link.asks.is_empty())
    }

    pub(crate) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub(crate) fn gauges(&self) -> [Gauge; 3] {
        let asks = self.links.values().map(|link| link.asks.len()).max().unwrap_or(0);
        [
            Gauge::new("links", self.links.len(), LINKS_HARD_MAX),
            Gauge::new("requests of a link", asks, ASKS_MAX),
            Gauge::new("strangers", self.strangers.len(), LINKS_HARD_MAX),
        ]
    }

    /// About how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        let of_link = |link: &Link<P>| {
            let record = link.record.as_ref().map_or(0, |record| record.len());
            let asks = link.asks.len().saturating_mul(size_of::<Ask<P>>());
            size_of::<Link<P>>().saturating_add(record).saturating_add(asks)
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
            asks: BTreeMap::new(),
            questions: Allowance::new(QUESTIONS_PER_S, now),
            stores: Allowance::new(STORES_PER_S, now),
        }
    }
}

/// Connections that are kept: the active view, and nodes with recent requests in either direction.
const LINKS_MAX: usize = 36;
/// Connections at any time, with those that are needed just now.
const LINKS_HARD_MAX: usize = 60;
/// Who knows no more contacts keeps the connections to all: each of them is asked all the time, for
/// every record is at 20 of them.
const FEW: usize = 52;
/// A connection on which nothing was asked for so long goes; a keep-alive costs 240 bytes a minute.
const SILENT_MAX: Duration = Duration::from_secs(120);
const TIDIED_EVERY: Duration = Duration::from_secs(1);
/// Requests to one node under way: a few lookups at the same time.
const ASKS_MAX: usize = 64;
/// As QUIC's handshake: three tries on any network that can be used.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// How old a connection is at most when one that was dialled from the other side takes its place:
/// as old as one may be that had to be dialled first, and the 5 s of `spec/transport.md`, section
/// 3.
const REPLACED_WITHIN: Duration = LOST_AFTER.saturating_add(Duration::from_secs(5));
/// Until something was measured: most of the internet is within half of it.
const LATE_FIRST: Duration = Duration::from_millis(300);
/// Questions of one connection a second: five lookups.
const QUESTIONS_PER_S: u32 = 64;
/// Records of one connection a second. A home node of 100,000 accounts publishes 28 a second, at
/// 20 of all nodes.
const STORES_PER_S: u32 = 16;
