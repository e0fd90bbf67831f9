//! The messages of the views (HyParView, sections 4.2 to 4.4).

use proto::{Contact, Gossip, Instant, NodeId};

use super::{TRIES, View, Why};
use crate::gossip::{
    facts::is_sound,
    output::{GossipOutput, Outputs, say},
    rng,
};

impl View {
    /// Handles a node that joins through this one, or asks to become a neighbour. Its record
    /// follows with the connection.
    pub(in super::super) fn asked(
        &mut self,
        from: NodeId,
        urgent: Option<bool>,
        now: Instant,
        out: &mut Outputs,
    ) {
        let contact = Contact { node: from, nonce: 0, addresses: Vec::new() };
        let why = urgent.map_or(Why::Joins, |urgent| Why::Asks { urgent });
        self.want(contact, why, now, out);
    }

    /// Continues with a connection that was wanted.
    pub(super) fn granted(
        &mut self,
        why: Why,
        contact: &Contact,
        serial: u64,
        now: Instant,
        out: &mut Outputs,
    ) {
        let node = contact.node;
        match why {
            Why::Join => {
                say(out, &node, Gossip::Join(self.own.clone()));
                self.tries = TRIES;
                self.admit(contact.clone(), serial, true, now, out);
            }
            Why::Ask { urgent } => {
                if !self.has(&node) {
                    self.ask(contact.clone(), serial, urgent, now, out);
                }
            }
            Why::Joins => {
                if self.is_penalised(&node, now) {
                    return say(out, &node, Gossip::Part { leaving: false });
                }
                self.admit(contact.clone(), serial, false, now, out);
                self.forward_join(contact, out);
            }
            Why::Asks { urgent } => {
                let room = self.active.len() < super::ACTIVE_MAX;
                let accepted =
                    self.has(&node) || ((urgent || room) && !self.is_penalised(&node, now));
                say(out, &node, Gossip::NeighbourIs { accepted });
                if accepted {
                    self.admit(contact.clone(), serial, false, now, out);
                }
            }
            Why::Shuffled(contacts) => say(out, &node, Gossip::Shuffled(contacts)),
            Why::Answer { .. } => {}
        }
    }

    /// Starts the random walks of a join, one over each other neighbour, if the joining node can be
    /// dialled.
    fn forward_join(&self, contact: &Contact, out: &mut Outputs) {
        if contact.addresses.is_empty() {
            return;
        }
        for node in self.active.keys().filter(|node| **node != contact.node) {
            let word = Gossip::ForwardJoin { contact: contact.clone(), hops: WALK_HOPS };
            say(out, node, word);
        }
    }

    /// Handles a join on its random walk.
    pub(in super::super) fn join_comes_by(
        &mut self,
        from: NodeId,
        contact: Contact,
        hops: u32,
        now: Instant,
        out: &mut Outputs,
    ) {
        if contact.node == self.own.node || !is_sound(&contact, self.work_bits) {
            return;
        }
        let hops = hops.min(WALK_HOPS);
        if hops == TAKEN_AT {
            self.take(contact.clone(), &[], now);
        }
        let next = if hops == 0 { None } else { self.next_hop(&[from, contact.node]) };
        if let Some(next) = next {
            let hops = hops.saturating_sub(1);
            return say(out, &next, Gossip::ForwardJoin { contact, hops });
        }
        let wanted = self.wanted.iter().any(|wanted| wanted.contact.node == contact.node);
        let room = self.wanted.len() < super::WANTED_OF_OTHERS_MAX;
        if room && !self.has(&contact.node) && !wanted && !self.is_penalised(&contact.node, now) {
            self.want(contact, Why::Ask { urgent: true }, now, out);
        }
    }

    /// Handles a contact's answer whether it becomes a neighbour.
    pub(in super::super) fn answered(
        &mut self,
        from: NodeId,
        accepted: bool,
        now: Instant,
        out: &mut Outputs,
    ) {
        let asked = self.wanted.iter().position(|wanted| {
            wanted.contact.node == from && matches!(wanted.why, Why::Answer { .. })
        });
        let wanted = asked.map(|at| self.wanted.swap_remove(at));
        match wanted {
            Some(super::Wanted { contact, why: Why::Answer { serial }, .. }) if accepted => {
                self.admit(contact, serial, true, now, out);
            }
            Some(_) => self.note_refusal(&from),
            // It takes this node for a neighbour.
            None if accepted && !self.has(&from) => {
                say(out, &from, Gossip::Part { leaving: false });
            }
            None => {}
        }
        self.fill(now, out);
    }

    /// Handles a neighbour that parts.
    pub(in super::super) fn parted(
        &mut self,
        from: &NodeId,
        leaving: bool,
        now: Instant,
        out: &mut Outputs,
    ) {
        if leaving {
            return self.left(from, now, out);
        }
        let Some(neighbour) = self.active.remove(from) else { return };
        out.push_back(GossipOutput::Release(*from));
        self.take(neighbour.contact, &[], now);
        // It has just displaced this node.
        self.note_refusal(from);
        self.tries = TRIES;
        self.fill(now, out);
    }

    /// Exchanges some contacts with a random node (section 4.4).
    pub(super) fn shuffle(&mut self, out: &mut Outputs) {
        let all = self.neighbours();
        let Some(to) = rng::one_of(&mut self.rng, &all) else { return };
        let active = self
            .active
            .values()
            .map(|neighbour| neighbour.contact.clone())
            .filter(|contact| contact.node != to && !contact.addresses.is_empty())
            .collect();
        let mut contacts = rng::some_of(&mut self.rng, active, SHUFFLED_ACTIVE);
        let passive = rng::some_of(&mut self.rng, self.passive.clone(), SHUFFLED_PASSIVE);
        self.given = Some(passive.iter().map(|contact| contact.node).collect());
        contacts.extend(passive);
        // Only a neighbour could answer a node without addresses.
        let hops = if self.own.addresses.is_empty() { 0 } else { WALK_HOPS };
        say(out, &to, Gossip::Shuffle { origin: self.own.clone(), contacts, hops });
    }

    /// Handles a shuffle, which continues its walk or ends here.
    pub(in super::super) fn shuffle_comes_by(
        &mut self,
        from: NodeId,
        origin: Contact,
        mut contacts: Vec<Contact>,
        hops: u32,
        now: Instant,
        out: &mut Outputs,
    ) {
        let is_dialable = is_sound(&origin, self.work_bits);
        if origin.node == self.own.node || (origin.node != from && !is_dialable) {
            return;
        }
        contacts.truncate(SHUFFLED_MAX);
        let hops = hops.min(WALK_HOPS);
        let next = if hops == 0 { None } else { self.next_hop(&[from, origin.node]) };
        if let Some(next) = next {
            let hops = hops.saturating_sub(1);
            return say(out, &next, Gossip::Shuffle { origin, contacts, hops });
        }
        let count = contacts.len().max(1);
        let others = self.passive.iter().filter(|contact| contact.node != origin.node).cloned();
        let reply = rng::some_of(&mut self.rng, others.collect(), count);
        let given: Vec<NodeId> = reply.iter().map(|contact| contact.node).collect();
        if origin.node == from {
            say(out, &from, Gossip::Shuffled(reply));
        } else {
            self.want(origin.clone(), Why::Shuffled(reply), now, out);
        }
        for contact in contacts.into_iter().chain([origin]) {
            self.take(contact, &given, now);
        }
        self.fill(now, out);
    }

    /// Handles the answer to a shuffle. Unsolicited ones are dropped.
    pub(in super::super) fn shuffled(
        &mut self,
        contacts: Vec<Contact>,
        now: Instant,
        out: &mut Outputs,
    ) {
        let Some(given) = self.given.take() else { return };
        for contact in contacts.into_iter().take(SHUFFLED_MAX) {
            self.take(contact, &given, now);
        }
        self.fill(now, out);
    }

    fn next_hop(&mut self, except: &[NodeId]) -> Option<NodeId> {
        let others: Vec<NodeId> =
            self.active.keys().filter(|node| !except.contains(node)).copied().collect();
        rng::one_of(&mut self.rng, &others)
    }
}

/// Hops of joins and shuffles: far enough to end anywhere (HyParView, section 5.1: 6).
const WALK_HOPS: u32 = 6;
/// Hops left at which a join leaves its contact in a passive view (HyParView, section 5.1: 3).
const TAKEN_AT: u32 = 3;
/// Contacts of the active and of the passive view in a shuffle (HyParView, section 5.1: 3 and 4).
const SHUFFLED_ACTIVE: usize = 3;
const SHUFFLED_PASSIVE: usize = 4;
const SHUFFLED_MAX: usize = SHUFFLED_ACTIVE + SHUFFLED_PASSIVE + 1;
