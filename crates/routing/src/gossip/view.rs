//! The views: who gossips with whom, after HyParView (Leitão, Pereira and Rodrigues, "HyParView",
//! 2007). Specified in `spec/routing.md`, section 8.
//!
//! The active view is a handful of neighbours, each over a connection, and each the other's
//! neighbour too; the passive view is contacts from which it is filled up (section 4.1 of the
//! paper). Two things are added. A neighbour that was lost is come back to now and then: when a
//! partition ends, views no longer lead to the other side, and a neighbour that answers again does.
//! And neighbours that this node has chosen are not displaced by nodes that ask to become one, as
//! long as there is another.

mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{Contact, Gauge, Gossip, Instant, Network, NodeId};
use rand_chacha::ChaCha20Rng;

use super::{GossipOutput, Outputs, dice, facts::is_sound, recent::short};
use crate::{pace::Allowance, record::NodeRecord};

/// Both views, and who is wanted for them.
#[derive(Debug)]
pub(super) struct View {
    own: Contact,
    work_bits: u32,
    rng: ChaCha20Rng,
    active: BTreeMap<NodeId, Neighbour>,
    passive: Vec<Contact>,
    wanted: Vec<Wanted>,
    doors: VecDeque<Door>,
    /// Who has flooded or forged, until when.
    penalised: VecDeque<(NodeId, Instant)>,
    /// Contacts that were asked lately, and have no place.
    refused: VecDeque<u64>,
    /// Contacts that may still be asked before the next shuffle.
    tries: usize,
    /// What was given away in a shuffle that is not answered yet.
    given: Option<Vec<NodeId>>,
    shuffle_at: Option<Instant>,
    /// Without neighbours: when to return to a lost one.
    return_at: Instant,
}

/// A member of the active view.
#[derive(Debug)]
struct Neighbour {
    contact: Contact,
    /// Of its newest record.
    serial: u64,
    /// This node has asked for it.
    chosen: bool,
    words: Allowance,
}

/// A node to which a connection is wanted, or from which an answer.
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
    /// It was asked. The serial is that of its record.
    Answer { serial: u64 },
    /// It joins through this node.
    Joins,
    /// It asks to become a neighbour.
    Asks { urgent: bool },
    /// To answer its shuffle.
    Shuffled(Vec<Contact>),
}

/// A node to return to.
#[derive(Debug)]
struct Door {
    contact: Contact,
    /// It was a neighbour; otherwise it was joined through.
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
            self.shuffle_at = Some(now.after(dice::up_to(&mut self.rng, SHUFFLE)));
        }
    }

    pub(super) fn join(&mut self, contact: Contact, now: Instant, out: &mut Outputs) {
        if contact.node == self.own.node {
            return;
        }
        self.open_door(contact.clone(), false);
        self.want(contact, Why::Join, now, out);
    }

    /// A connection is up. A node without neighbours accepts any node, and any node a lost
    /// neighbour.
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
        // Better than hearsay, and of another origin.
        if self.passive.len() < PASSIVE_MAX {
            self.take(contact.clone(), &[], now);
        }
        if is_back || self.active.is_empty() {
            self.ask(contact, serial, true, now, out);
        } else if self.active.len() < ACTIVE_LOW {
            self.fill(now, out);
        }
    }

    /// A connection is lost or could not be made. Returns the neighbour that was lost, with the
    /// serial of its record.
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

    /// A node says something new of itself.
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

    /// A node goes.
    pub(super) fn left(&mut self, node: &NodeId, now: Instant, out: &mut Outputs) {
        self.forget(node);
        self.doors.retain(|door| door.contact.node != *node);
        if self.active.remove(node).is_some() {
            out.push_back(GossipOutput::Release(*node));
            self.tries = TRIES;
            self.fill(now, out);
        }
    }

    /// A node is no contact any more.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.passive.retain(|contact| contact.node != *node);
    }

    /// Drops a node that has flooded or forged, and penalises it.
    pub(super) fn penalise(&mut self, node: &NodeId, now: Instant, out: &mut Outputs) {
        self.left(node, now, out);
        say(out, node, Gossip::Part { leaving: false });
        if self.penalised.len() >= PENALISED_MAX {
            self.penalised.pop_front();
        }
        self.penalised.push_back((*node, now.after(PENALISED_FOR)));
    }

    /// Says goodbye to all.
    pub(super) fn leave(&mut self, out: &mut Outputs) {
        for node in std::mem::take(&mut self.active).into_keys() {
            say(out, &node, Gossip::Part { leaving: true });
        }
        self.wanted.clear();
        self.shuffle_at = None;
    }

    /// Counts words of a neighbour. Returns false if there are too many.
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

    /// Some neighbours, drawn at random.
    pub(super) fn some(&mut self, count: usize) -> Vec<NodeId> {
        let all = self.neighbours();
        dice::some_of(&mut self.rng, all, count)
    }

    /// Those of both views, and those to come back to.
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
            self.shuffle_at = Some(now.after(SHUFFLE).after(dice::up_to(&mut self.rng, JITTER)));
            self.shuffle(out);
            self.refused.pop_front();
            if self.active.len() < ACTIVE_LOW {
                self.refused.clear();
            }
            self.tries = self.tries.max(1);
            self.fill(now, out);
            self.come_back(true, now, out);
        }
        if self.is_alone() && self.return_at <= now {
            self.fill(now, out);
            self.come_back(false, now, out);
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

    /// Asks contacts to become neighbours until there are enough, a few at a time.
    fn fill(&mut self, now: Instant, out: &mut Outputs) {
        loop {
            let asked = self.wanted.iter().filter(|wanted| wanted.is_ask()).count();
            let few = self.active.len() < ACTIVE_LOW || self.tries > 0;
            let full = self.active.len().saturating_add(asked) >= ACTIVE_MAX;
            if full || !few || asked >= ASKED_MAX || self.shuffle_at.is_none() {
                return;
            }
            let open: Vec<usize> = (0..self.passive.len())
                .filter(|at| self.passive.get(*at).is_some_and(|contact| self.is_open(contact)))
                .collect();
            let drawn = dice::one_of(&mut self.rng, &open);
            let Some(contact) = drawn.and_then(|at| self.passive.get(at)).cloned() else { return };
            self.tries = self.tries.saturating_sub(1);
            let urgent = self.active.is_empty();
            if !self.want(contact, Why::Ask { urgent }, now, out) {
                return;
            }
        }
    }

    /// Returns whether a contact was not asked lately.
    fn is_open(&self, contact: &Contact) -> bool {
        !self.refused.contains(&short(&contact.node.0))
            && !self.wanted.iter().any(|wanted| wanted.contact.node == contact.node)
    }

    /// Dials one to whom to come back.
    fn come_back(&mut self, lost_only: bool, now: Instant, out: &mut Outputs) {
        self.doors.retain(|door| !door.lost || door.tries < RETURNS_MAX);
        let usable = |door: &Door| {
            (door.lost || !lost_only)
                && !self.active.contains_key(&door.contact.node)
                && !door.contact.addresses.is_empty()
        };
        let Some(at) = self.doors.iter().position(usable) else { return };
        let Some(mut door) = self.doors.remove(at) else { return };
        door.tries = door.tries.saturating_add(1);
        let contact = door.contact.clone();
        self.doors.push_back(door);
        self.want(contact, Why::Ask { urgent: true }, now, out);
    }

    /// Drops some of the wanted nodes; a contact that can't be reached is removed.
    fn drop_wanted(&mut self, which: impl Fn(&Wanted) -> bool) -> bool {
        let (given_up, others): (Vec<Wanted>, Vec<Wanted>) =
            std::mem::take(&mut self.wanted).into_iter().partition(which);
        self.wanted = others;
        let any = !given_up.is_empty();
        for Wanted { contact, why, .. } in given_up {
            if matches!(why, Why::Ask { .. } | Why::Answer { .. }) {
                self.forget(&contact.node);
                if self.active.is_empty() {
                    self.open_door(contact, true);
                }
            }
        }
        any
    }

    /// Wants a connection. Returns false if there is no room.
    fn want(&mut self, contact: Contact, why: Why, now: Instant, out: &mut Outputs) -> bool {
        let others = matches!(why, Why::Joins | Why::Asks { .. } | Why::Shuffled(_));
        let room = self.wanted.len() < if others { WANTED_OF_OTHERS_MAX } else { WANTED_MAX };
        if room {
            out.push_back(GossipOutput::Connect(contact.clone()));
            self.wanted.push(Wanted { contact, why, until: now.after(WANTED_FOR) });
        }
        room
    }

    /// Asks a node to which a connection stands to become a neighbour.
    fn ask(
        &mut self,
        contact: Contact,
        serial: u64,
        urgent: bool,
        now: Instant,
        out: &mut Outputs,
    ) {
        let asked = |wanted: &Wanted| {
            wanted.contact.node == contact.node && matches!(wanted.why, Why::Answer { .. })
        };
        if self.wanted.len() < WANTED_MAX && !self.wanted.iter().any(asked) {
            say(out, &contact.node, Gossip::Neighbour { urgent });
            let until = now.after(ANSWERED_WITHIN);
            self.wanted.push(Wanted { contact, why: Why::Answer { serial }, until });
        }
    }

    /// Makes a node a neighbour, in place of another one if need be.
    fn admit(
        &mut self,
        contact: Contact,
        (serial, chosen): (u64, bool),
        now: Instant,
        out: &mut Outputs,
    ) {
        if self.has(&contact.node) {
            return;
        }
        while self.active.len() >= ACTIVE_MAX && self.displace(chosen, now, out) {}
        self.forget(&contact.node);
        let words = Allowance::new(WORDS_PER_S, now);
        self.active.insert(contact.node, Neighbour { contact, serial, chosen, words });
    }

    /// Parts from a neighbour for the sake of another one. It stays a contact.
    fn displace(&mut self, by_chosen: bool, now: Instant, out: &mut Outputs) -> bool {
        let mut all: Vec<NodeId> = self.neighbours();
        if !by_chosen {
            let chosen = |node: &NodeId| self.active.get(node).is_some_and(|n| n.chosen);
            if !all.iter().all(chosen) {
                all.retain(|node| !chosen(node));
            }
        }
        let Some(node) = dice::one_of(&mut self.rng, &all) else { return false };
        say(out, &node, Gossip::Part { leaving: false });
        out.push_back(GossipOutput::Release(node));
        if let Some(neighbour) = self.active.remove(&node) {
            self.take(neighbour.contact, &[], now);
        }
        true
    }

    /// Takes a contact into the passive view. When that is full, one of a network that has many
    /// places makes room, so that no node fills the view with contacts of its own; or else one of
    /// those that were given away for it.
    fn take(&mut self, contact: Contact, given: &[NodeId], now: Instant) {
        if contact.node == self.own.node
            || self.has(&contact.node)
            || self.passive.iter().any(|known| known.node == contact.node)
            || !is_sound(&contact, self.work_bits)
            || self.is_penalised(&contact.node, now)
        {
            return;
        }
        if self.passive.len() >= PASSIVE_MAX {
            let at = self
                .crowded()
                .or_else(|| self.passive.iter().position(|known| given.contains(&known.node)));
            let at = at.unwrap_or_else(|| dice::below(&mut self.rng, PASSIVE_MAX));
            self.passive.swap_remove(at);
        }
        self.passive.push(contact);
    }

    /// Where in the passive view one of the network is that has most places, if it has many.
    fn crowded(&mut self) -> Option<usize> {
        let mut places = BTreeMap::<Network, Vec<usize>>::new();
        for (at, contact) in self.passive.iter().enumerate() {
            if let Some(network) = contact.addresses.first().and_then(Network::of) {
                places.entry(network).or_default().push(at);
            }
        }
        let most = places.into_values().max_by_key(Vec::len)?;
        if most.len() > PER_NETWORK { dice::one_of(&mut self.rng, &most) } else { None }
    }

    fn open_door(&mut self, contact: Contact, lost: bool) {
        self.doors.retain(|door| door.contact.node != contact.node);
        if self.doors.len() >= DOORS_MAX {
            self.doors.pop_front();
        }
        self.doors.push_back(Door { contact, lost, tries: 0 });
    }

    /// Notes that a node has no place, so that it is not asked again soon.
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
    /// Returns whether it may become a neighbour because this node wants it.
    fn is_ask(&self) -> bool {
        matches!(self.why, Why::Join | Why::Ask { .. } | Why::Answer { .. })
    }
}

fn say(out: &mut Outputs, to: &NodeId, word: Gossip) {
    out.push_back(GossipOutput::Say(*to, word));
}

/// Neighbours: the logarithm of 10,000 nodes, and one more (HyParView, section 5.1). When a third
/// of all die, one node of 400 loses all five, and asks its contacts.
const ACTIVE_MAX: usize = 5;
/// With fewer neighbours than this, contacts are asked until there are as many.
const ACTIVE_LOW: usize = 3;
/// Contacts to fill up from: six times the active view (HyParView, section 5.1).
const PASSIVE_MAX: usize = 30;
/// Contacts of one network that don't crowd the passive view.
const PER_NETWORK: usize = 2;
/// Contacts asked in a row after a loss, besides those needed for `ACTIVE_LOW`.
const TRIES: usize = 8;
/// Contacts asked at the same time.
const ASKED_MAX: usize = 2;
/// Connections wanted at the same time. Each takes a round trip or two, or seconds if it fails.
const WANTED_MAX: usize = 24;
/// Of these, for the sake of others: they must not keep this node from what it wants itself.
const WANTED_OF_OTHERS_MAX: usize = 16;
/// Longer than a dial takes to fail.
const WANTED_FOR: Duration = Duration::from_secs(10);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const SHUFFLE: Duration = Duration::from_secs(60);
/// So that nodes which began together don't shuffle together.
const JITTER: Duration = Duration::from_secs(6);
/// Neighbours lost, and nodes joined through, to whom this node comes back: after a partition into
/// halves, some of them are on the other side.
const DOORS_MAX: usize = 8;
/// How often one is come back to: one each minute, so for hours.
const RETURNS_MAX: u32 = 60;
const RETURN: Duration = Duration::from_secs(10);
/// A node that has flooded or forged is no neighbour for so long.
const PENALISED_FOR: Duration = Duration::from_secs(600);
const PENALISED_MAX: usize = 16;
/// All contacts there may be.
const REFUSED_MAX: usize = PASSIVE_MAX;
/// Facts and names of one neighbour a second: all that it passes on, named and said.
const WORDS_PER_S: u32 = 64;
