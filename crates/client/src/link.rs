//! Links: what this device has going on with each node it talks to.
//!
//! A link forgets everything when its connection ends; what must survive is in rows, and is asked
//! for again when the link is up. Specified in `spec/frames.md`.

use std::{collections::BTreeMap, time::Duration};

use crypto::{OPEN_CONTEXT, SigningKey, derive_key, open_proof_message};
use proto::{
    AccountId, Body, Code, Cursor, Frame, Gauge, Hello, Instant, LogId, NodeAddress, NodeId, Open,
    PublicKey, Ranking, VERSIONS, limits, negotiate,
};
use rand_core::Rng;
use zeroize::Zeroizing;

use crate::{
    errand::Errand, machine::CONVERSATIONS_MAX, outbox::WINDOW, schema::Place, step::Step,
};

/// The links of this device.
pub(crate) struct Links {
    links: BTreeMap<NodeId, Link>,
    transport: Zeroizing<[u8; 32]>,
    /// Links, handles and questions for which there was no room.
    dropped: u64,
}

/// Why a log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The own inbox: read, and the door to everything an account does at its home.
    Home,
    /// A conversation: read, and written in the epoch of the handle's key.
    Read,
    /// A conversation: written in a later epoch.
    Write,
    /// A conversation at the stand-in, which names what is there.
    Brief,
    /// The inbox of someone who gave an invite.
    Invited(AccountId),
    /// The inbox at a home that the account has left.
    Former,
    /// A conversation, only to tell its ranking, with the write key so many epochs back.
    Tell(usize),
}

/// A log that is open, or is being opened, on a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) log: LogId,
    pub(crate) key: PublicKey,
    pub(crate) purpose: Purpose,
    pub(crate) open: bool,
    /// The last sequence that the node delivered or named on it.
    last: u64,
}

impl Handle {
    /// Whether entries of a conversation's log can be asked for on it.
    pub(crate) fn fetches(&self, log: &LogId) -> bool {
        self.log == *log && matches!(self.purpose, Purpose::Read | Purpose::Brief)
    }
}

/// A question whose answer is awaited.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Open(u32),
    Append(LogId, u64),
    /// An entry that too few nodes hold.
    Hedge(LogId, Place),
    /// Of the record of this version.
    PutBundle(u64),
    GetBundle(AccountId),
    TakeKeyPackages(AccountId),
    PutKeyPackages(Vec<Vec<u8>>),
    PutInvite(PublicKey),
    Fetch(LogId, PublicKey),
    /// Entries that the node has signed for, by the key of the handle.
    Audit(LogId, PublicKey, Vec<Place>),
    /// One that it did not hand over.
    Challenge(LogId, PublicKey, Place),
}

/// A question, and when it was asked.
#[derive(Clone, Debug)]
struct Asked {
    ask: Ask,
    at: Instant,
}

impl Ask {
    /// Whether a node knows the answer without asking others.
    fn is_prompt(&self) -> bool {
        !matches!(self, Self::GetBundle(_))
    }
}

/// What to open.
pub(crate) struct Opening<'a> {
    pub(crate) log: LogId,
    pub(crate) key: &'a SigningKey,
    pub(crate) purpose: Purpose,
    pub(crate) genesis: Option<Vec<u8>>,
    pub(crate) tail: Option<Cursor>,
    pub(crate) brief: bool,
    pub(crate) ranking: Option<Ranking>,
}

#[derive(Default)]
struct Link {
    our_nonce: [u8; 16],
    /// Present once the node has said Hello.
    node_nonce: Option<[u8; 16]>,
    handles: BTreeMap<u32, Handle>,
    handles_made: u32,
    asks: BTreeMap<u32, Asked>,
    /// When the node last said something.
    heard: Option<Instant>,
    /// How long it was silent before it answered, of late.
    pace: Option<Duration>,
    /// The shortest time in which it has answered anything on this connection: that long it has to be silent
    /// after it has answered all, be it as quick as it may.
    way: Option<Duration>,
    /// How often errands were refused since the connection stands.
    refusals: BTreeMap<Errand, u32>,
}

impl Link {
    /// The connection is a new one, or gone. How quick the node was is remembered.
    fn reset(&mut self) {
        *self = Self { pace: self.pace, ..Self::default() };
    }
}

impl Links {
    /// `transport` is the secret from which the driver derives this device's key for each node.
    pub(crate) fn new(transport: Zeroizing<[u8; 32]>) -> Self {
        Self { links: BTreeMap::new(), transport, dropped: 0 }
    }

    pub(crate) fn gauges(&self) -> [Gauge; 4] {
        let links = || self.links.values();
        let asks = links().flat_map(|link| link.asks.values().map(|asked| &asked.ask));
        let hashes = asks.map(|ask| match ask {
            Ask::PutKeyPackages(hashes) => hashes.len(),
            Ask::Open(_)
            | Ask::Append(..)
            | Ask::Hedge(..)
            | Ask::PutBundle(_)
            | Ask::GetBundle(_)
            | Ask::TakeKeyPackages(_)
            | Ask::PutInvite(_)
            | Ask::Fetch(..)
            | Ask::Audit(..)
            | Ask::Challenge(..) => 0,
        });
        let handles = links().map(|link| link.handles.len()).max().unwrap_or(0);
        let asks = links().map(|link| link.asks.len()).max().unwrap_or(0);
        [
            Gauge::new("links", self.links.len(), LINKS_MAX),
            Gauge::new("handles of a link", handles, limits::HANDLES_MAX),
            Gauge::new("asks of a link", asks, ASKS_MAX),
            Gauge::new(
                "key packages of an ask",
                hashes.max().unwrap_or(0),
                limits::KEY_PACKAGES_MAX,
            ),
        ]
    }

    /// Links, handles and questions for which there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps a link to a node from now on.
    pub(crate) fn want(&mut self, step: &mut Step<'_>, address: &NodeAddress) {
        if self.links.len() >= LINKS_MAX && !self.links.contains_key(&address.node) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.links.entry(address.node).or_insert_with(|| {
            step.connect(address);
            Link::default()
        });
    }

    /// Gives up a link.
    pub(crate) fn drop_link(&mut self, step: &mut Step<'_>, node: &NodeId) {
        if self.links.remove(node).is_some() {
            step.disconnect(node);
        }
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.links.keys().copied().collect()
    }

    /// Greets a node that was reached.
    pub(crate) fn connected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(link) = self.links.get_mut(node) else { return step.disconnect(node) };
        link.reset();
        step.rng.fill_bytes(&mut link.our_nonce);
        let hello = Hello { versions: VERSIONS, nonce: link.our_nonce };
        step.transmit(node, Frame::new(Body::Hello(hello)));
    }

    /// Forgets what was going on; answers will not come.
    pub(crate) fn disconnected(&mut self, node: &NodeId) {
        if let Some(link) = self.links.get_mut(node) {
            link.reset();
        }
    }

    /// Takes a node's first greeting in; tells whether the link is up with it.
    pub(crate) fn greeted(&mut self, step: &mut Step<'_>, node: &NodeId, hello: Hello) -> bool {
        let Some(link) = self.links.get_mut(node) else { return false };
        if negotiate(VERSIONS, hello.versions).is_none() {
            step.transmit(node, Frame::new(Body::Goodbye(Code::Version)));
            step.disconnect(node);
            return false;
        }
        link.node_nonce = Some(hello.nonce);
        true
    }

    pub(crate) fn is_up(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.node_nonce.is_some())
    }

    /// Asks a node to open a log, unless it is open for this purpose with this key.
    pub(crate) fn open(&mut self, step: &mut Step<'_>, node: &NodeId, opening: Opening<'_>) {
        let Opening { log, key, purpose, genesis, tail, brief, ranking } = opening;
        let peer = self.peer(node);
        let Some(link) = self.links.get_mut(node) else { return };
        let Some(node_nonce) = link.node_nonce else { return };
        let public = key.public();
        let same = |handle: &Handle| {
            handle.log == log && handle.key == public && handle.purpose == purpose
        };
        if link.handles.values().any(same) {
            return;
        }
        if link.handles.len() >= limits::HANDLES_MAX || link.asks.len() >= ASKS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        link.handles_made = link.handles_made.saturating_add(1);
        let handle = link.handles_made;
        link.handles.insert(handle, Handle { log, key: public, purpose, open: false, last: 0 });
        let message = open_proof_message(&node_nonce, &link.our_nonce, &peer, node, &log, handle);
        let proof = key.sign(OPEN_CONTEXT, &message);
        let ranking = ranking.map(Box::new);
        let open = Open { handle, log, key: public, proof, genesis, tail, brief, ranking };
        self.ask(step, node, Ask::Open(handle), Body::Open(open));
    }

    /// Says something that wants an answer.
    pub(crate) fn ask(&mut self, step: &mut Step<'_>, node: &NodeId, ask: Ask, body: Body) {
        let Some(link) = self.links.get_mut(node) else { return };
        if link.asks.len() >= ASKS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        // Drawn, so that nobody can answer what was not asked yet.
        let mut request = 0;
        while request == 0 || link.asks.contains_key(&request) {
            request = step.rng.next_u32() >> (u32::BITS - REQUEST_BITS);
        }
        link.asks.insert(request, Asked { ask, at: step.now });
        step.transmit(node, Frame { request, body });
    }

    /// Tells whether there is room for one more append; other questions keep half for themselves.
    pub(crate) fn has_room(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.asks.len() < ASKS_MAX / 2)
    }

    /// Closes the handles that fit, whether or not they are open yet, and returns which.
    pub(crate) fn close(
        &mut self,
        step: &mut Step<'_>,
        fits: impl Fn(&Handle) -> bool,
    ) -> Vec<(NodeId, u32)> {
        self.close_where(step, |_, handle| fits(handle))
    }

    /// The same at one node.
    pub(crate) fn close_at(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        fits: impl Fn(&Handle) -> bool,
    ) -> Vec<(NodeId, u32)> {
        self.close_where(step, |at, handle| at == node && fits(handle))
    }

    fn close_where(
        &mut self,
        step: &mut Step<'_>,
        fits: impl Fn(&NodeId, &Handle) -> bool,
    ) -> Vec<(NodeId, u32)> {
        let mut closed = Vec::new();
        for (node, link) in &mut self.links {
            link.handles.retain(|handle, opened| {
                let closes = fits(node, opened);
                if closes {
                    closed.push((*node, *handle));
                }
                !closes
            });
        }
        for (node, handle) in &closed {
            step.transmit(node, Frame::new(Body::Close { handle: *handle }));
        }
        closed
    }

    /// Returns the question to which `request` is the answer.
    pub(crate) fn answered(&mut self, node: &NodeId, request: u32, now: Instant) -> Option<Ask> {
        let link = self.links.get_mut(node)?;
        let Asked { ask, at } = link.asks.remove(&request)?;
        let took = now.since(at);
        link.way = Some(link.way.map_or(took, |way| way.min(took)));
        Some(ask)
    }

    /// A node has said something.
    pub(crate) fn heard(&mut self, node: &NodeId, now: Instant) {
        let (silent_since, patience) = (self.silent_since(node), self.patience(node));
        let Some(link) = self.links.get_mut(node) else { return };
        if let Some(since) = silent_since {
            // Slowness counts at once, quickness little by little. But who was silent for longer than
            // anybody waits was stopped, or cut off, which says little about how long it will take.
            let eased = link.pace.unwrap_or_default().mul_f64(PACE_KEPT);
            link.pace = Some(now.since(since).min(patience).max(eased));
        }
        link.heard = Some(now);
    }

    /// Since when a node has said nothing although it was asked something.
    pub(crate) fn silent_since(&self, node: &NodeId) -> Option<Instant> {
        let link = self.links.get(node)?;
        let prompt = link.asks.values().filter(|asked| asked.ask.is_prompt());
        let asked = prompt.map(|asked| asked.at).min()?;
        Some(link.heard.map_or(asked, |heard| heard.max(asked)))
    }

    /// How long a node may be silent before another one takes its place.
    pub(crate) fn patience(&self, node: &NodeId) -> Duration {
        let link = self.links.get(node);
        let twice = |time: Duration| time.saturating_mul(2).clamp(PATIENCE_MIN, PATIENCE_MAX);
        let by_pace = link.and_then(|link| link.pace).map_or(PATIENCE_AT_FIRST, twice);
        by_pace.max(link.and_then(|link| link.way).map_or(PATIENCE_MIN, twice))
    }

    /// Whether a node has never answered anything within a second, and the other one does in a fraction of that.
    pub(crate) fn is_much_slower(&self, node: &NodeId, other: &NodeId) -> bool {
        let way = |node| self.links.get(node).and_then(|link| link.way);
        let (Some(way), Some(other)) = (way(node), way(other)) else { return false };
        way >= SLOW && way >= other.saturating_mul(QUICKER_TIMES)
    }

    /// Remembers that a handle is open.
    pub(crate) fn opened(&mut self, node: &NodeId, handle: u32) -> Option<Handle> {
        let handle = self.links.get_mut(node)?.handles.get_mut(&handle)?;
        handle.open = true;
        Some(*handle)
    }

    /// A node delivers or names the entry with this number; tells whether it does so in order, as honest
    /// nodes do on every handle.
    pub(crate) fn follows(&mut self, node: &NodeId, handle: u32, sequence: u64) -> bool {
        let handle = self.links.get_mut(node).and_then(|link| link.handles.get_mut(&handle));
        let Some(handle) = handle else { return true };
        let before = std::mem::replace(&mut handle.last, sequence);
        sequence > before
    }

    /// Forgets a handle that could not be opened.
    pub(crate) fn refused(&mut self, node: &NodeId, handle: u32) -> Option<Handle> {
        self.links.get_mut(node)?.handles.remove(&handle)
    }

    pub(crate) fn refusals(&mut self, node: &NodeId) -> Option<&mut BTreeMap<Errand, u32>> {
        Some(&mut self.links.get_mut(node)?.refusals)
    }

    pub(crate) fn handle(&self, node: &NodeId, handle: u32) -> Option<Handle> {
        self.links.get(node)?.handles.get(&handle).copied()
    }

    /// Finds the number of an open handle that fits.
    pub(crate) fn find(&self, node: &NodeId, fits: impl Fn(&Handle) -> bool) -> Option<u32> {
        let handles = &self.links.get(node)?.handles;
        handles.iter().find(|(_, handle)| handle.open && fits(handle)).map(|(number, _)| *number)
    }

    /// Tells whether a handle that fits is open, or soon will be.
    pub(crate) fn has(&self, node: &NodeId, fits: impl Fn(&Handle) -> bool) -> bool {
        self.links.get(node).is_some_and(|link| link.handles.values().any(fits))
    }

    /// Tells whether a log is open for reading, or soon will be.
    pub(crate) fn reads(&self, node: &NodeId, log: &LogId) -> bool {
        let reads = |handle: &Handle| handle.log == *log && handle.purpose == Purpose::Read;
        self.links.get(node).is_some_and(|link| link.handles.values().any(reads))
    }

    /// How many answers are awaited that fit.
    pub(crate) fn awaited(&self, node: &NodeId, fits: impl Fn(&Ask) -> bool) -> usize {
        self.links
            .get(node)
            .map_or(0, |link| link.asks.values().filter(|asked| fits(&asked.ask)).count())
    }

    /// When something was last asked that fits and that the node has not answered.
    pub(crate) fn asked_at(&self, node: &NodeId, fits: impl Fn(&Ask) -> bool) -> Option<Instant> {
        let asks = self.links.get(node)?.asks.values();
        asks.filter(|asked| fits(&asked.ask)).map(|asked| asked.at).max()
    }

    /// The key by which this node knows this device.
    fn peer(&self, node: &NodeId) -> PublicKey {
        SigningKey::from_seed(*transport_seed(&self.transport, &PublicKey(node.0))).public()
    }
}

/// The seed of the key that a device uses towards one node, so that nodes can't tell that they
/// talk to the same device.
pub fn transport_seed(secret: &[u8; 32], node: &PublicKey) -> Zeroizing<[u8; 32]> {
    derive_key(secret, "transport", &node.0)
}

/// Nodes that a device keeps a link to: every conversation at another one, and as many inboxes
/// that are being looked for.
pub(crate) const LINKS_MAX: usize = 2 * CONVERSATIONS_MAX;
/// Of a request's number: it takes three bytes in a frame, and there are far more numbers than
/// questions.
const REQUEST_BITS: u32 = 21;
/// How long a node may be silent: no shorter than a disk takes on a bad day, twice what it took of late,
/// and no longer than somebody looks at a clock. At first nothing is known of it.
const PATIENCE_MIN: Duration = Duration::from_millis(400);
const PATIENCE_MAX: Duration = Duration::from_secs(5);
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(2);
/// What nobody calls a moment any more, and how much quicker the other home has to be.
const SLOW: Duration = Duration::from_secs(1);
const QUICKER_TIMES: u32 = 4;
/// What is left of a slow answer's time with each further one.
const PACE_KEPT: f64 = 0.9;
/// Questions that one node has not answered: full windows of 64 conversations, and as many others.
const ASKS_MAX: usize = 128 * WINDOW;
