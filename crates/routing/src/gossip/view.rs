//! The views: which nodes gossip with each other, after HyParView (Leitão, Pereira and Rodrigues,
//! "HyParView", 2007). Specified in `spec/routing.md`, section 8.
//!
//! The active view holds a few neighbours, symmetric and each over a connection; the passive view
//! holds contacts from which the active one is filled (section 4.1 of the paper). Two things are
//! added. Lost neighbours are dialled again from time to time: when a partition ends, the views no
//! longer lead to the other side, and such a neighbour does. And nodes that ask to become
//! neighbours do not displace those that this node has chosen, as long as there is another.

mod fill;
mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{Contact, Gauge, Gossip, Instant, NodeId, RateLimiter};
use rand_chacha::ChaCha20Rng;

use super::{
    output::{GossipOutput, Outputs, say},
    recent::short,
    rng,
};
use crate::record::NodeRecord;

/// Both views, and the connections wanted for them.
#[derive(Debug)]
pub(super) struct View {
    own: Contact,
    work_bits: u32,
    rng: ChaCha20Rng,
    active: BTreeMap<NodeId, Neighbour>,
    passive: Vec<Contact>,
    wanted: Vec<Wanted>,
    doors: VecDeque<Door>,
    /// Nodes that have flooded or forged, and until when they are penalised.
    penalised: VecDeque<(NodeId, Instant)>,
    /// Contacts that have refused recently.
    refused: VecDeque<u64>,
    /// Contacts that may still be asked before the next shuffle.
    tries: usize,
    /// Contacts sent in a shuffle that is not answered yet.
    given: Option<Vec<NodeId>>,
    shuffle_at: Option<Instant>,
    /// When to dial a known node again while this node has no neighbours.
    return_at: Instant,
}

/// A member of the active view.
#[derive(Debug)]
struct Neighbour {
    contact: Contact,
    /// The serial of its newest record.
    serial: u64,
    /// This node has asked it to become a neighbour.
    chosen: bool,
    words: RateLimiter,
}

/// A node to which a connection is wanted, or from which an answer is.
#[derive(Debug)]
struct Wanted {
    contact: Contact,
    why: Why,
    until: Instant,
}

#[derive(Debug)]
enum Why {
    /// To join through it.
    Join,
    /// To ask it to become a neighbour.
    Ask { urgent: bool },
    /// It was asked to. The serial is that of its record.
    Answer { serial: u64 },
    /// It joins through this node.
    Joins,
    /// It asks to become a neighbour.
    Asks { urgent: bool },
    /// To answer its shuffle.
    Shuffled(Vec<Contact>),
}

/// A node to dial again later.
#[derive(Debug)]
struct Door {
    contact: Contact,
    /// It was a neighbour; otherwise this node has joined through it.
    lost: bool,
    tries: u32,
}

impl View {
    pub(super) fn new(own: Contact, work_bits: u32, rng: ChaCha20Rng) -> Self {
        Self {
            own,
            work_bits,
            rng,
            active: BTreeMap::new(),
            passive: Vec::new(),
            wanted: Vec::new(),
            doors: VecDeque::new(),
            penalised: VecDeque::new(),
            refused: VecDeque::new(),
            tries: 0,
            given: None,
            shuffle_at: None,
            return_at: Instant::default(),
        }
    }

    pub(super) fn set_own(&mut self, own: Contact, now: Instant) {
        self.own = own;
        if self.shuffle_at.is_none() {
            self.shuffle_at = Some(now.after(rng::up_to(&mut self.rng, SHUFFLE)));
        }
    }

    pub(super) fn join(&mut self, contact: Contact, now: Instant, out: &mut Outputs) {
        if contact.node == self.own.node {
            return;
        }
        self.open_door(contact.clone(), false);
        self.want(contact, Why::Join, now, out);
    }

    /// Handles a connection. A lost neighbour is asked to become one again, and so is any node if
    /// this one has no neighbours.
    pub(super) fn connected(&mut self, record: &NodeRecord, now: Instant, out: &mut Outputs) {
        let (contact, serial) = (record.contact(), record.says().serial);
        self.renew(record);
        let doors = self.doors.len();
        self.doors.retain(|door| !door.lost || door.contact.node != contact.node);
        let is_back = self.doors.len() < doors;
        let (mine, others): (Vec<Wanted>, Vec<Wanted>) = std::mem::take(&mut self.wanted)
            .into_iter()
            .partition(|w| w.contact.node == contact.node && !matches!(w.why, Why::Answer { .. }));
        self.wanted = others;
        for wanted in mine {
            self.granted(wanted.why, &contact, serial, now, out);
        }
        if self.has(&contact.node) || self.is_penalised(&contact.node, now) || record.says().leaving
        {
            return;
        }
        // First-hand, and from another origin than shuffles.
        if self.passive.len() < PASSIVE_MAX {
            self.take(contact.clone(), &[], now);
        }
        if is_back || self.active.is_empty() {
            self.ask(contact, serial, true, now, out);
        } else if self.active.len() < ACTIVE_LOW {
            self.fill(now, out);
        }
    }

    /// Handles a connection that has ended or could not be made. Returns the lost neighbour, with
    /// the serial of its record.
    pub(super) fn disconnected(
        &mut self,
        node: &NodeId,
        now: Instant,
        out: &mut Outputs,
    ) -> Option<(Contact, u64)> {
        let was_wanted = self.drop_wanted(|wanted| wanted.contact.node == *node);
        let lost = self.active.remove(node);
        if let Some(lost) = &lost {
            self.open_door(lost.contact.clone(), true);
            self.tries = TRIES;
        }
        if was_wanted || lost.is_some() {
            self.fill(now, out);
        }
        lost.map(|lost| (lost.contact, lost.serial))
    }

    /// Updates the contact of a node from its newer record.
    pub(super) fn renew(&mut self, record: &NodeRecord) {
        let (contact, serial) = (record.contact(), record.says().serial);
        if let Some(neighbour) = self.active.get_mut(&contact.node)
            && serial >= neighbour.serial
        {
            neighbour.serial = serial;
            neighbour.contact = contact.clone();
        }
        if let Some(known) = self.passive.iter_mut().find(|known| known.node == contact.node) {
            *known = contact;
        }
        self.passive.retain(|known| !known.addresses.is_empty());
    }

    /// Removes a node that leaves.
    pub(super) fn left(&mut self, node: &NodeId, now: Instant, out: &mut Outputs) {
        self.forget(node);
        self.doors.retain(|door| door.contact.node != *node);
        if self.active.remove(node).is_some() {
            out.push_back(GossipOutput::Release(*node));
            self.tries = TRIES;
            self.fill(now, out);
        }
    }

    /// Removes a node from the passive view.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.passive.retain(|contact| contact.node != *node);
    }

    /// Parts from a node that has flooded or forged, for [`PENALISED_FOR`].
    pub(super) fn penalise(&mut self, node: &NodeId, now: Instant, out: &mut Outputs) {
        self.left(node, now, out);
        say(out, node, Gossip::Part { leaving: false });
        if self.penalised.len() >= PENALISED_MAX {
            self.penalised.pop_front();
        }
        self.penalised.push_back((*node, now.after(PENALISED_FOR)));
    }

    /// Says goodbye to all neighbours.
    pub(super) fn leave(&mut self, out: &mut Outputs) {
        for node in std::mem::take(&mut self.active).into_keys() {
            say(out, &node, Gossip::Part { leaving: true });
        }
        self.wanted.clear();
        self.shuffle_at = None;
    }

    /// Counts messages of a neighbour. Returns false if there are too many.
    pub(super) fn may_say(&mut self, from: &NodeId, count: usize, now: Instant) -> bool {
        let Some(neighbour) = self.active.get_mut(from) else { return false };
        (0..count).all(|_| neighbour.words.take(now))
    }

    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.active.contains_key(node)
    }

    pub(super) fn neighbours(&self) -> Vec<NodeId> {
        self.active.keys().copied().collect()
    }

    pub(super) fn serial(&self, node: &NodeId) -> Option<u64> {
        self.active.get(node).map(|neighbour| neighbour.serial)
    }

    /// Returns at most `count` random neighbours.
    pub(super) fn some(&mut self, count: usize) -> Vec<NodeId> {
        let all = self.neighbours();
        rng::some_of(&mut self.rng, all, count)
    }

    /// Returns the contacts of both views, and those to dial again.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        let active = self.active.values().map(|neighbour| &neighbour.contact);
        active.chain(&self.passive).chain(self.doors.iter().map(|door| &door.contact))
    }

    pub(super) fn timeout(&mut self, now: Instant, out: &mut Outputs) {
        self.penalised.retain(|(_, until)| *until > now);
        if self.drop_wanted(|wanted| wanted.until <= now) {
            self.fill(now, out);
        }
        if self.shuffle_at.is_some_and(|at| at <= now) {
            self.shuffle_at = Some(now.after(SHUFFLE).after(rng::up_to(&mut self.rng, JITTER)));
            self.shuffle(out);
            self.refused.pop_front();
            if self.active.len() < ACTIVE_LOW {
                self.refused.clear();
            }
            self.tries = self.tries.max(1);
            self.fill(now, out);
            self.reconnect(true, now, out);
        }
        if self.is_alone() && self.return_at <= now {
            self.fill(now, out);
            self.reconnect(false, now, out);
            self.return_at = now.after(RETURN);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let until = self.wanted.iter().map(|wanted| wanted.until).min();
        let can_return = self.shuffle_at.is_some() && !self.doors.is_empty();
        let alone = (self.is_alone() && can_return).then_some(self.return_at);
        [until, self.shuffle_at, alone].into_iter().flatten().min()
    }

    pub(super) fn gauges(&self) -> [Gauge; 6] {
        [
            Gauge::new("active view", self.active.len(), ACTIVE_MAX),
            Gauge::new("passive view", self.passive.len(), PASSIVE_MAX),
            Gauge::new("nodes wanted as neighbours", self.wanted.len(), WANTED_MAX),
            Gauge::new("nodes to come back to", self.doors.len(), DOORS_MAX),
            Gauge::new("nodes penalised", self.penalised.len(), PENALISED_MAX),
            Gauge::new("nodes that refused", self.refused.len(), REFUSED_MAX),
        ]
    }

    pub(super) fn state_bytes(&self) -> usize {
        let rows = [
            self.active
                .len()
                .saturating_mul(size_of::<(NodeId, Neighbour)>().saturating_mul(3) / 2),
            self.passive.capacity().saturating_mul(size_of::<Contact>()),
            self.wanted.capacity().saturating_mul(size_of::<Wanted>()),
            self.doors.capacity().saturating_mul(size_of::<Door>()),
            self.penalised.capacity().saturating_mul(size_of::<(NodeId, Instant)>()),
            self.refused.capacity().saturating_mul(size_of::<u64>()),
        ];
        let wanted = self.wanted.iter().map(|wanted| match &wanted.why {
            Why::Shuffled(contacts) => contacts.len().saturating_mul(size_of::<Contact>()),
            Why::Join | Why::Ask { .. } | Why::Answer { .. } | Why::Joins | Why::Asks { .. } => 0,
        });
        let addresses = self.contacts().map(|contact| {
            contact.addresses.capacity().saturating_mul(size_of::<std::net::SocketAddr>())
        });
        rows.into_iter().chain(wanted).chain(addresses).sum()
    }

    fn open_door(&mut self, contact: Contact, lost: bool) {
        self.doors.retain(|door| door.contact.node != contact.node);
        if self.doors.len() >= DOORS_MAX {
            self.doors.pop_front();
        }
        self.doors.push_back(Door { contact, lost, tries: 0 });
    }

    /// Notes that a node has refused, so that it is not asked again soon.
    fn note_refusal(&mut self, node: &NodeId) {
        if self.refused.len() >= REFUSED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back(short(&node.0));
    }

    fn is_penalised(&self, node: &NodeId, now: Instant) -> bool {
        self.penalised.iter().any(|(penalised, until)| penalised == node && *until > now)
    }

    fn is_alone(&self) -> bool {
        self.active.is_empty() && !self.wanted.iter().any(Wanted::is_ask)
    }
}

impl Wanted {
    /// Returns whether this node wants it to become a neighbour.
    fn is_ask(&self) -> bool {
        matches!(self.why, Why::Join | Why::Ask { .. } | Why::Answer { .. })
    }
}

/// Neighbours: the logarithm of 10,000 nodes, and one more (HyParView, section 5.1). When a third
/// of all die, one node of 400 loses all five, and asks its contacts.
const ACTIVE_MAX: usize = 5;
/// With fewer neighbours than this, contacts are asked until there are as many.
const ACTIVE_LOW: usize = 3;
/// Contacts to fill from: six times the active view (HyParView, section 5.1).
const PASSIVE_MAX: usize = 30;
/// Contacts asked in a row after a loss, besides those needed for `ACTIVE_LOW`.
const TRIES: usize = 8;
/// Connections wanted at the same time. Each takes a round trip or two, or seconds if it fails.
const WANTED_MAX: usize = 24;
/// Of these, for other nodes' requests, so that those don't block this node's own.
const WANTED_OF_OTHERS_MAX: usize = 16;
const SHUFFLE: Duration = Duration::from_secs(60);
/// So that nodes that started together don't shuffle together.
const JITTER: Duration = Duration::from_secs(6);
/// Lost neighbours and nodes joined through that are dialled again: after a partition into halves,
/// some of them are on the other side.
const DOORS_MAX: usize = 8;
const RETURN: Duration = Duration::from_secs(10);
/// How long a node that has flooded or forged is no neighbour.
const PENALISED_FOR: Duration = Duration::from_secs(600);
const PENALISED_MAX: usize = 16;
/// All contacts there may be.
const REFUSED_MAX: usize = PASSIVE_MAX;
