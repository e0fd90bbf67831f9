//! Receipts: which nodes have an own entry on disk. A message is stored once the device has checked this
//! for enough nodes itself; it takes no node's word for what another one holds. Specified in
//! `spec/delivery.md`, section 6.

use std::collections::{BTreeMap, BTreeSet};

use crypto::{HELD_CONTEXT, held_message, verify};
use proto::{Body, Entry, Envelope, LogId, NodeId, PublicKey, Reference, limits};

use crate::{
    Client, Mark,
    link::{Ask, Handle, Opening, Purpose},
    machine::{PAUSE_MIN, Timer},
    outbox::{mark_of, raise},
    schema::{self, KEPT, Outgoing, Place, place_of},
    step::Step,
};

/// Who holds what has left the outbox and is not stored.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    holders: BTreeMap<Place, BTreeSet<NodeId>>,
}

impl Receipts {
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}

impl Client {
    /// A node says that it, or another one, holds an entry.
    pub(crate) fn held(
        &mut self,
        step: &mut Step<'_>,
        (node, number): (&NodeId, u32),
        reference: &Reference,
        holder: Option<NodeId>,
        signature: &[u8; 64],
    ) {
        let holder = holder.unwrap_or(*node);
        let log = self.links.handle(node, number).map(|handle| handle.log);
        let place = log.and_then(|log| Some((log, place_of(&step.draft, &log, reference)?)));
        let Some((log, place)) = place else { return self.count_dropped() };
        let Some(conversation) = self.conversations.get(&log) else { return };
        if !conversation.may_hold(&holder) {
            return self.count_dropped();
        }
        if mark_of(&step.draft, &log, place) != Some(Mark::Sent) {
            return;
        }
        let message = held_message(&log, &place.id);
        match verify(&PublicKey(holder.0), HELD_CONTEXT, &message, signature) {
            Ok(()) => self.holds(step, &log, place, holder),
            // What it only passes on it need not have checked.
            Err(_) if holder != *node => self.count_dropped(),
            Err(_) => self.caught(step.now, node),
        }
    }

    /// A node holds an own entry: enough of them, and it is stored.
    pub(crate) fn holds(&mut self, step: &mut Step<'_>, log: &LogId, place: Place, holder: NodeId) {
        if mark_of(&step.draft, log, place) != Some(Mark::Sent) {
            return;
        }
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let enough = WRITES.min(conversation.ranking.nodes.len());
        let all = &mut conversation.receipts.holders;
        let holders = all.entry(place).or_default();
        holders.insert(holder);
        if holders.len() >= enough {
            all.remove(&place);
            return raise(step, log, place, Mark::Stored);
        }
        while all.len() > RECEIPTS_MAX {
            // Sent again on the next connection.
            all.pop_first();
        }
        let patience = self.links.patience(&holder);
        self.arm(step.now.after(patience), Timer::Hedge(*log));
    }

    /// Too few nodes hold what the home has accepted: the stand-in is given it as well.
    pub(crate) fn hedge(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let holders = &mut conversation.receipts.holders;
        holders.retain(|place, _| mark_of(&step.draft, log, *place) == Some(Mark::Sent));
        let Some(node) = conversation.stand_in() else { return };
        if conversation.receipts.len() == 0 || !self.links.is_up(&node) {
            return;
        }
        let places: Vec<Place> = conversation.receipts.holders.keys().copied().collect();
        for place in places.into_iter().take(HEDGED_MAX) {
            let row: Option<Outgoing> = schema::load(&step.draft, KEPT, &place.key(log));
            let envelope = row.and_then(|row| Envelope::decode(&row.envelope).ok());
            let Some(envelope) = envelope else { continue };
            let key = envelope.head.write_key;
            let fits = |handle: &Handle| handle.log == *log && handle.key == key;
            let Some(handle) = self.links.find(&node, fits) else {
                self.open_to_hedge(step, &node, log, &key);
                break;
            };
            let asks =
                |ask: &Ask| matches!(ask, Ask::Hedge(at, asked) if at == log && *asked == place);
            if self.links.awaited(&node, asks) == 0 {
                let entry = Entry::from_envelope(&envelope, 0, key);
                let body = Body::Append { handle, entry, signature: envelope.signature };
                self.links.ask(step, &node, Ask::Hedge(*log, place), body);
            }
        }
        self.arm(step.now.after(PAUSE_MIN), Timer::Hedge(*log));
    }
}

impl Client {
    /// Opens a log at the stand-in with the write key of an entry that it is to be given.
    fn open_to_hedge(&mut self, step: &mut Step<'_>, node: &NodeId, log: &LogId, key: &PublicKey) {
        let of_another_key = |handle: &Handle| {
            handle.log == *log && handle.purpose == Purpose::Write && handle.key != *key
        };
        self.links.close_at(step, node, of_another_key);
        let conversation = self.conversations.get(log);
        let Some(key) = conversation.and_then(|conversation| conversation.key(key)) else { return };
        let (purpose, log) = (Purpose::Write, *log);
        let (genesis, tail, brief, ranking) = (None, None, false, None);
        let opening = Opening { log, key, purpose, genesis, tail, brief, ranking };
        self.links.open(step, node, opening);
    }
}

/// Nodes that have to hold an entry before it is called stored: any one of them may then be lost.
const WRITES: usize = 2;
/// Entries of a conversation that wait for receipts: as many as may wait for one peer.
pub(crate) const RECEIPTS_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that are given to the stand-in at a time.
const HEDGED_MAX: usize = 64;
