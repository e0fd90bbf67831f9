//! Filling the views: which nodes to ask and admit, and which contacts to hold.

use std::{collections::BTreeMap, time::Duration};

use proto::{Contact, Gossip, Instant, Network, NodeId, RateLimiter};

use super::{ACTIVE_LOW, ACTIVE_MAX, Door, Neighbour, PASSIVE_MAX, View, WANTED_MAX};
use super::{WANTED_OF_OTHERS_MAX, Wanted, Why};
use crate::gossip::{
    facts::is_sound,
    output::{GossipOutput, Outputs, say},
    recent::short,
    rng,
};

impl View {
    /// Asks contacts to become neighbours until there are enough, a few at a time.
    pub(super) fn fill(&mut self, now: Instant, out: &mut Outputs) {
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
            let drawn = rng::one_of(&mut self.rng, &open);
            let Some(contact) = drawn.and_then(|at| self.passive.get(at)).cloned() else { return };
            self.tries = self.tries.saturating_sub(1);
            let urgent = self.active.is_empty();
            if !self.want(contact, Why::Ask { urgent }, now, out) {
                return;
            }
        }
    }

    /// Returns whether a contact was not asked recently.
    fn is_open(&self, contact: &Contact) -> bool {
        !self.refused.contains(&short(&contact.node.0))
            && !self.wanted.iter().any(|wanted| wanted.contact.node == contact.node)
    }

    /// Dials one of the nodes to dial again.
    pub(super) fn reconnect(&mut self, lost_only: bool, now: Instant, out: &mut Outputs) {
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

    /// Drops wanted nodes; contacts that could not be reached leave the passive view.
    pub(super) fn drop_wanted(&mut self, which: impl Fn(&Wanted) -> bool) -> bool {
        let (dropped, others): (Vec<Wanted>, Vec<Wanted>) =
            std::mem::take(&mut self.wanted).into_iter().partition(which);
        self.wanted = others;
        let any = !dropped.is_empty();
        for Wanted { contact, why, .. } in dropped {
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
    pub(super) fn want(
        &mut self,
        contact: Contact,
        why: Why,
        now: Instant,
        out: &mut Outputs,
    ) -> bool {
        let others = matches!(why, Why::Joins | Why::Asks { .. } | Why::Shuffled(_));
        let room = self.wanted.len() < if others { WANTED_OF_OTHERS_MAX } else { WANTED_MAX };
        if room {
            out.push_back(GossipOutput::Connect(contact.clone()));
            self.wanted.push(Wanted { contact, why, until: now.after(WANTED_FOR) });
        }
        room
    }

    /// Asks a connected node to become a neighbour.
    pub(super) fn ask(
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

    /// Makes a node a neighbour, displacing another one if necessary.
    pub(super) fn admit(
        &mut self,
        contact: Contact,
        serial: u64,
        chosen: bool,
        now: Instant,
        out: &mut Outputs,
    ) {
        if self.has(&contact.node) {
            return;
        }
        while self.active.len() >= ACTIVE_MAX && self.displace(chosen, now, out) {}
        self.forget(&contact.node);
        let words = RateLimiter::new(WORDS_PER_S, now);
        self.active.insert(contact.node, Neighbour { contact, serial, chosen, words });
    }

    /// Parts from a neighbour to admit another one. It stays a contact.
    fn displace(&mut self, by_chosen: bool, now: Instant, out: &mut Outputs) -> bool {
        let mut all: Vec<NodeId> = self.neighbours();
        if !by_chosen {
            let chosen = |node: &NodeId| self.active.get(node).is_some_and(|n| n.chosen);
            if !all.iter().all(chosen) {
                all.retain(|node| !chosen(node));
            }
        }
        let Some(node) = rng::one_of(&mut self.rng, &all) else { return false };
        say(out, &node, Gossip::Part { leaving: false });
        out.push_back(GossipOutput::Release(node));
        if let Some(neighbour) = self.active.remove(&node) {
            self.take(neighbour.contact, &[], now);
        }
        true
    }

    /// Takes a contact into the passive view. If that is full, it evicts one of a network with many
    /// contacts, so that no attacker fills the view with its own; or else one of those that were
    /// sent in exchange.
    pub(super) fn take(&mut self, contact: Contact, given: &[NodeId], now: Instant) {
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
            let at = at.unwrap_or_else(|| rng::below(&mut self.rng, PASSIVE_MAX));
            self.passive.swap_remove(at);
        }
        self.passive.push(contact);
    }

    /// Returns the index of a random contact of the largest network in the passive view, if that
    /// has many.
    fn crowded(&mut self) -> Option<usize> {
        let mut places = BTreeMap::<Network, Vec<usize>>::new();
        for (at, contact) in self.passive.iter().enumerate() {
            if let Some(network) = contact.addresses.first().and_then(Network::of) {
                places.entry(network).or_default().push(at);
            }
        }
        let most = places.into_values().max_by_key(Vec::len)?;
        if most.len() > PER_NETWORK { rng::one_of(&mut self.rng, &most) } else { None }
    }
}

/// Contacts of one network that don't crowd the passive view.
const PER_NETWORK: usize = 2;
/// Contacts asked at the same time.
const ASKED_MAX: usize = 2;
/// Longer than a dial takes to fail.
const WANTED_FOR: Duration = Duration::from_secs(10);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How often a lost neighbour is dialled again: one a minute, so for hours.
const RETURNS_MAX: u32 = 60;
/// Facts and ids of one neighbour a second: all that it forwards, announced and sent.
const WORDS_PER_S: u32 = 64;
