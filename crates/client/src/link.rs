//! Links: the connection to each node this device talks to, its channels and open requests.
//!
//! A link forgets everything when its connection ends; what must survive is in rows, and is asked
//! for again when the link is up. Specified in `spec/frames.md`.

mod channel;
mod pace;
mod retry;

use std::{collections::BTreeMap, time::Duration};

use crypto::{OPEN_CONTEXT, SigningKey, derive_key, open_proof_message};
use proto::{
    Body, Code, Cursor, Frame, Gauge, Hello, Instant, LogId, NodeAddress, NodeId, Open, PublicKey,
    Ranking, VERSIONS, limits, negotiate,
};
use rand_core::Rng;
use zeroize::Zeroizing;

pub(crate) use channel::{Channel, ChannelAt, ChannelUse, InboxUse, LogUse};
use pace::Pace;
pub(crate) use retry::{PAUSE_MIN, back_off_time, is_transient};

use crate::{
    step::{Durability, Misbehaviour, Step},
    topics::{PendingTask, Request, Timer},
};

/// The links of this device.
pub(crate) struct Links {
    links: BTreeMap<NodeId, Link>,
    transport: Zeroizing<[u8; 32]>,
    limits: LinkLimits,
    /// Links, channels and requests for which there was no room.
    dropped: u64,
}

/// A log to open.
pub(crate) struct OpenLog<'a> {
    log: LogId,
    key: &'a SigningKey,
    used_for: ChannelUse,
    genesis: Option<Vec<u8>>,
    tail: Option<Cursor>,
    ranking: Option<Ranking>,
}

impl<'a> OpenLog<'a> {
    /// A log that exists, to be written only.
    pub(crate) fn to_write(log: LogId, key: &'a SigningKey, used_for: ChannelUse) -> Self {
        Self { log, key, used_for, genesis: None, tail: None, ranking: None }
    }

    /// Also to be read, from here on.
    pub(crate) fn from(self, tail: Cursor) -> Self {
        Self { tail: Some(tail), ..self }
    }

    /// A node that has no copy of it is to make one.
    pub(crate) fn founding(self, genesis: Option<Vec<u8>>) -> Self {
        Self { genesis, ..self }
    }

    /// The node has to know who holds the log.
    pub(crate) fn announcing(self, ranking: Option<Ranking>) -> Self {
        Self { ranking, ..self }
    }
}

/// How much the links may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkLimits {
    pub(crate) links: usize,
    /// Requests that one node has not answered.
    pub(crate) requests: usize,
}

/// A request, and when it was sent.
#[derive(Clone, Debug)]
struct Sent {
    request: Request,
    at: Instant,
}

#[derive(Default)]
struct Link {
    our_nonce: [u8; 16],
    /// Present once the node has said Hello.
    node_nonce: Option<[u8; 16]>,
    channels: BTreeMap<u32, Channel>,
    channels_made: u32,
    requests: BTreeMap<u32, Sent>,
    pace: Pace,
    /// How often tasks were refused on this connection.
    refusals: BTreeMap<PendingTask, u32>,
}

impl Link {
    fn reset(&mut self) {
        self.pace.reset();
        *self = Self { pace: self.pace, ..Self::default() };
    }

    /// Returns when the oldest open request was sent that the node can answer by itself.
    fn oldest_prompt(&self) -> Option<Instant> {
        let prompt = self.requests.values().filter(|sent| sent.request.is_prompt());
        prompt.map(|sent| sent.at).min()
    }
}

impl Links {
    /// `transport` is the secret from which the driver derives this device's key for each node.
    pub(crate) fn new(transport: Zeroizing<[u8; 32]>, limits: LinkLimits) -> Self {
        Self { links: BTreeMap::new(), transport, limits, dropped: 0 }
    }

    pub(crate) fn gauges(&self) -> [Gauge; 5] {
        let most = |count: &dyn Fn(&Link) -> usize| self.links.values().map(count).max();
        let most = |count: &dyn Fn(&Link) -> usize| most(count).unwrap_or(0);
        let unacknowledged = |link: &Link| {
            link.channels.values().filter(|channel| channel.has_unacknowledged()).count()
        };
        let packages = |link: &Link| {
            let packages = link.requests.values().map(|sent| sent.request.key_packages());
            packages.max().unwrap_or(0)
        };
        [
            Gauge::new(
                "unaccepted channels of a link",
                most(&unacknowledged),
                limits::CHANNELS_MAX,
            ),
            Gauge::new("links", self.links.len(), self.limits.links),
            Gauge::new(
                "channels of a link",
                most(&|link| link.channels.len()),
                limits::CHANNELS_MAX,
            ),
            Gauge::new(
                "requests of a link",
                most(&|link| link.requests.len()),
                self.limits.requests,
            ),
            Gauge::new("key packages of an ask", most(&packages), limits::KEY_PACKAGES_MAX),
        ]
    }

    /// Returns how many links, channels and requests there was no room for.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps a link to a node from now on.
    pub(crate) fn want(&mut self, step: &mut Step<'_>, address: &NodeAddress) {
        if self.links.len() >= self.limits.links && !self.links.contains_key(&address.node) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.links.entry(address.node).or_insert_with(|| {
            step.connect(address);
            Link::default()
        });
    }

    /// Drops the links that are not needed any more.
    pub(crate) fn keep_only(&mut self, step: &mut Step<'_>, needs: impl Fn(&NodeId) -> bool) {
        for node in self.nodes().iter().filter(|node| !needs(node)) {
            self.links.remove(node);
            step.timers().disarm(Timer::Acknowledge(*node));
            step.disconnect(node);
        }
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.links.keys().copied().collect()
    }

    /// Greets a node that was reached.
    pub(crate) fn on_connected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        let Some(link) = self.links.get_mut(node) else { return step.disconnect(node) };
        link.reset();
        step.rng().fill_bytes(&mut link.our_nonce);
        let hello = Hello { versions: VERSIONS, nonce: link.our_nonce };
        step.transmit(node, Frame::new(Body::Hello(hello)));
    }

    /// Forgets what was going on; answers will not come.
    pub(crate) fn on_disconnected(&mut self, step: &mut Step<'_>, node: &NodeId) {
        if let Some(link) = self.links.get_mut(node) {
            link.reset();
        }
        step.timers().disarm(Timer::Acknowledge(*node));
    }

    /// Takes in a node's first greeting; returns whether the link is up with it.
    pub(crate) fn on_hello(&mut self, step: &mut Step<'_>, node: &NodeId, hello: Hello) -> bool {
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

    /// The key by which this node knows this device.
    fn peer(&self, node: &NodeId) -> PublicKey {
        SigningKey::from_seed(*transport_seed(&self.transport, &PublicKey(node.0))).public()
    }

    fn refusals_mut(&mut self, node: &NodeId) -> Option<&mut BTreeMap<PendingTask, u32>> {
        Some(&mut self.links.get_mut(node)?.refusals)
    }
}

/// Requests.
impl Links {
    pub(crate) fn request(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        request: Request,
        body: Body,
    ) {
        let Some(link) = self.links.get_mut(node) else { return };
        if link.requests.len() >= self.limits.requests {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        // Drawn, so that no node can answer what was not asked yet.
        let mut number = 0;
        while number == 0 || link.requests.contains_key(&number) {
            number = step.rng().next_u32() >> (u32::BITS - REQUEST_BITS);
        }
        link.requests.insert(number, Sent { request, at: step.now() });
        step.transmit(node, Frame { request: number, body });
    }

    /// Returns whether there is room for one more append; other requests keep half for themselves.
    pub(crate) fn has_room(&self, node: &NodeId) -> bool {
        self.links.get(node).is_some_and(|link| link.requests.len() < self.limits.requests / 2)
    }

    /// Takes the request that a node answers with this number.
    pub(crate) fn take_answered(
        &mut self,
        node: &NodeId,
        number: u32,
        now: Instant,
    ) -> Option<Request> {
        let link = self.links.get_mut(node)?;
        let Sent { request, at } = link.requests.remove(&number)?;
        link.pace.record_rtt(at, now);
        Some(request)
    }

    /// Returns how many requests that fit are open.
    pub(crate) fn pending(&self, node: &NodeId, fits: impl Fn(&Request) -> bool) -> usize {
        let link = self.links.get(node);
        link.map_or(0, |link| link.requests.values().filter(|sent| fits(&sent.request)).count())
    }

    /// Returns when the last open request that fits was sent.
    pub(crate) fn requested_at(
        &self,
        node: &NodeId,
        fits: impl Fn(&Request) -> bool,
    ) -> Option<Instant> {
        let requests = self.links.get(node)?.requests.values();
        requests.filter(|sent| fits(&sent.request)).map(|sent| sent.at).max()
    }

    pub(crate) fn record_response(&mut self, node: &NodeId, now: Instant) {
        if let Some(link) = self.links.get_mut(node) {
            let oldest = link.oldest_prompt();
            link.pace.record_response(oldest, now);
        }
    }

    /// Returns since when a node has sent nothing although it was asked something.
    pub(crate) fn silent_since(&self, node: &NodeId) -> Option<Instant> {
        let link = self.links.get(node)?;
        Some(link.pace.silent_since(link.oldest_prompt()?))
    }

    /// Returns how long a node may be silent before another one takes its place.
    pub(crate) fn response_timeout(&self, node: &NodeId) -> Duration {
        self.links.get(node).map(|link| link.pace).unwrap_or_default().response_timeout()
    }

    /// Returns true if a node has never answered within a second and the other one does in a
    /// fraction of that.
    pub(crate) fn is_consistently_slower(&self, node: &NodeId, other: &NodeId) -> bool {
        let pace = |node| self.links.get(node).map(|link| link.pace).unwrap_or_default();
        pace(node).is_consistently_slower(&pace(other))
    }
}

/// Channels.
impl Links {
    /// Asks a node to open a log, unless it is open for this use with this key.
    pub(crate) fn open(&mut self, step: &mut Step<'_>, node: &NodeId, opening: OpenLog<'_>) {
        let OpenLog { log, key, used_for, genesis, tail, ranking } = opening;
        let peer = self.peer(node);
        let Some(link) = self.links.get_mut(node) else { return };
        let Some(node_nonce) = link.node_nonce else { return };
        let public = key.public();
        let is_same = |channel: &Channel| channel.writes(&log, &public) && channel.is_for(used_for);
        if link.channels.values().any(is_same) {
            return;
        }
        let is_full = link.requests.len() >= self.limits.requests;
        if link.channels.len() >= limits::CHANNELS_MAX || is_full {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        link.channels_made = link.channels_made.saturating_add(1);
        let number = link.channels_made;
        link.channels.insert(number, Channel::new(log, public, used_for));
        let message = open_proof_message(&node_nonce, &link.our_nonce, &peer, node, &log, number);
        let proof = key.sign(OPEN_CONTEXT, &message);
        let announce = used_for == ChannelUse::Log(LogUse::Have);
        let ranking = ranking.map(Box::new);
        let open =
            Open { channel: number, log, key: public, proof, genesis, tail, announce, ranking };
        self.request(step, node, Request::Open(number), Body::Open(open));
    }

    /// Closes the channels that fit, whether or not they are open yet.
    pub(crate) fn close(&mut self, step: &mut Step<'_>, fits: impl Fn(&Channel) -> bool) {
        self.close_where(step, |_, channel| fits(channel));
    }

    /// The same at one node.
    pub(crate) fn close_at(
        &mut self,
        step: &mut Step<'_>,
        node: &NodeId,
        fits: impl Fn(&Channel) -> bool,
    ) {
        self.close_where(step, |at, channel| at == node && fits(channel));
    }

    fn close_where(&mut self, step: &mut Step<'_>, fits: impl Fn(&NodeId, &Channel) -> bool) {
        for (node, link) in &mut self.links {
            link.channels.retain(|number, channel| {
                let closes = fits(node, channel);
                if closes {
                    step.transmit(node, Frame::new(Body::Close { channel: *number }));
                }
                !closes
            });
        }
    }

    pub(crate) fn on_opened(&mut self, node: &NodeId, number: u32) -> Option<Channel> {
        let channel = self.links.get_mut(node)?.channels.get_mut(&number)?;
        channel.on_opened();
        Some(*channel)
    }

    /// A node refused to open a log: the channel is forgotten.
    pub(crate) fn on_open_refused(&mut self, node: &NodeId, number: u32) -> Option<Channel> {
        self.links.get_mut(node)?.channels.remove(&number)
    }

    pub(crate) fn channel(&self, node: &NodeId, number: u32) -> Option<Channel> {
        self.links.get(node)?.channels.get(&number).copied()
    }

    /// Finds the number of an open channel that fits.
    pub(crate) fn find(&self, node: &NodeId, fits: impl Fn(&Channel) -> bool) -> Option<u32> {
        let channels = &self.links.get(node)?.channels;
        channels
            .iter()
            .find(|(_, channel)| channel.is_open() && fits(channel))
            .map(|(number, _)| *number)
    }

    /// Finds the channel on which entries of a log can be fetched from a node, and its key.
    pub(crate) fn find_fetching(&self, node: &NodeId, log: &LogId) -> Option<(u32, PublicKey)> {
        let number = self.find(node, |channel| channel.fetches(log))?;
        Some((number, self.channel(node, number)?.key()))
    }

    /// Returns whether a channel that fits is open, or soon will be.
    pub(crate) fn has(&self, node: &NodeId, fits: impl Fn(&Channel) -> bool) -> bool {
        self.links.get(node).is_some_and(|link| link.channels.values().any(fits))
    }

    /// A node delivers or announces an entry with this sequence: reports the node if that is out of
    /// order.
    pub(crate) fn check_order(&mut self, step: &mut Step<'_>, at: ChannelAt<'_>, sequence: u64) {
        let link = self.links.get_mut(at.node);
        let channel = link.and_then(|link| link.channels.get_mut(&at.number));
        if channel.is_some_and(|channel| !channel.advance(sequence)) {
            step.report(at.node, Misbehaviour::Invalid);
        }
    }

    /// Everything up to this sequence has arrived on a channel. The node is told at once if it has
    /// waited for long, else after `delay`.
    pub(crate) fn on_delivered(
        &mut self,
        step: &mut Step<'_>,
        ChannelAt { node, number }: ChannelAt<'_>,
        sequence: u64,
        delay: Duration,
    ) {
        let link = self.links.get_mut(node);
        let Some(channel) = link.and_then(|link| link.channels.get_mut(&number)) else { return };
        if channel.on_delivered(sequence) >= ACKNOWLEDGE_EVERY {
            self.acknowledge(step, node);
        } else {
            step.arm(delay, Timer::Acknowledge(*node));
        }
    }

    /// Tells a node how far its deliveries have arrived.
    pub(crate) fn acknowledge(&mut self, step: &mut Step<'_>, node: &NodeId) {
        step.require(Durability::First);
        let Some(link) = self.links.get_mut(node) else { return };
        for (number, state) in &mut link.channels {
            if let Some(sequence) = state.take_unacknowledged() {
                let channel = *number;
                step.transmit(node, Frame::new(Body::Accepted { channel, sequence }));
            }
        }
    }
}

/// Derives the seed of the key that a device uses towards one node, so that nodes can't tell that
/// they talk to the same device.
pub fn transport_seed(secret: &[u8; 32], node: &PublicKey) -> Zeroizing<[u8; 32]> {
    derive_key(secret, "transport", &node.0)
}

/// Bits of a request's number: it takes three bytes in a frame, and there are far more numbers than
/// requests.
const REQUEST_BITS: u32 = 21;
/// Deliveries after which a node is told at once, well below [`limits::DELIVER_WINDOW`].
const ACKNOWLEDGE_EVERY: u64 = 64;
