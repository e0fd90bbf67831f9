//! Receipts: which nodes have signed that an own entry is on their disk. A message is stored once the
//! device has checked this for enough nodes itself; it takes no node's word for what another one holds.
//! Receipts are kept until the contact has acknowledged the entry. Specified in `spec/delivery.md`,
//! section 6.

use std::collections::BTreeSet;

use crypto::verify_held;
use proto::{
    Body, Entry, Envelope, LogId, NodeId, NodeReceipt, PublicKey, Reference, Rows, limits,
};

use crate::{
    Client, Event, Mark,
    link::{Ask, Handle, Opening, Purpose},
    machine::{Timer, pause},
    outbox::{mark_of, raise},
    schema::{self, KEPT, Outgoing, Place, RECEIPTS, place_of},
    step::{Durability, Step},
    sync,
};

/// What has left the outbox and is not stored.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    places: BTreeSet<Place>,
    /// How often in a row the stand-in was given something in vain.
    tries: u32,
}

impl Awaited {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// There is a new reason to hope.
    pub(crate) fn begin_anew(&mut self) {
        self.tries = 0;
    }
}

/// A node that has signed for an own entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who has signed.
    pub node: NodeId,
    /// What.
    pub receipt: NodeReceipt,
}

/// Who has signed for an own entry that the contact has not acknowledged yet.
pub(crate) fn holders(rows: &dyn Rows, log: &LogId, place: Place) -> Vec<Holder> {
    parse(&rows.get(RECEIPTS, &place.key(log)).unwrap_or_default())
}

/// What a node has signed for an own entry, if it has.
pub(crate) fn receipt_of(
    rows: &dyn Rows,
    log: &LogId,
    place: Place,
    node: &NodeId,
) -> Option<NodeReceipt> {
    let holders = holders(rows, log, place).into_iter();
    holders.filter(|holder| holder.node == *node).map(|holder| holder.receipt).next()
}

/// Whether a node has signed that an own entry is in the copy that it has now.
pub(crate) fn has_signed(step: &Step<'_>, node: &NodeId, log: &LogId, place: Place) -> bool {
    let incarnation = sync::cursor(&step.draft, node, log).incarnation;
    let receipt = receipt_of(&step.draft, log, place, node);
    receipt.is_some_and(|receipt| receipt.incarnation == incarnation)
}

/// The row of an entry.
pub(crate) fn parse(row: &[u8]) -> Vec<Holder> {
    let holders = row.chunks_exact(HOLDER_LEN).filter_map(|holder| {
        let (node, receipt) = holder.split_first_chunk::<32>()?;
        let (incarnation, signature) = receipt.split_first_chunk::<8>()?;
        let incarnation = u64::from_be_bytes(*incarnation);
        let receipt = NodeReceipt { incarnation, signature: signature.try_into().ok()? };
        Some(Holder { node: NodeId(*node), receipt })
    });
    holders.collect()
}

fn put(step: &mut Step<'_>, log: &LogId, place: Place, holders: &[Holder]) {
    let mut row = Vec::with_capacity(holders.len().saturating_mul(HOLDER_LEN));
    for Holder { node, receipt } in holders {
        row.extend(node.0);
        row.extend(receipt.incarnation.to_be_bytes());
        row.extend(receipt.signature);
    }
    step.draft.put(RECEIPTS, place.key(log), row);
}

impl Client {
    /// A node says that it, or another one, holds an entry.
    pub(crate) fn held(
        &mut self,
        step: &mut Step<'_>,
        (node, number): (&NodeId, u32),
        reference: &Reference,
        holder: Option<NodeId>,
        receipt: NodeReceipt,
    ) {
        let holder = holder.unwrap_or(*node);
        let log = self.links.handle(node, number).map(|handle| handle.log);
        let place = log.and_then(|log| Some((log, place_of(&step.draft, &log, reference)?)));
        let Some((log, place)) = place else { return self.count_dropped() };
        let Some(conversation) = self.conversations.get(&log) else { return };
        if !conversation.may_hold(&holder) {
            return self.count_dropped();
        }
        let mark = mark_of(&step.draft, &log, place);
        let mut known = holders(&step.draft, &log, place);
        let is_said = |known: &Holder| {
            (known.node, known.receipt.incarnation) == (holder, receipt.incarnation)
        };
        if !matches!(mark, Some(Mark::Sent | Mark::Stored)) || known.iter().any(is_said) {
            return;
        }
        let is_good = self.is_of_its_copy(step, &holder, &log, receipt.incarnation)
            && verify_held(&holder, &log, &place.id, &receipt).is_ok();
        if !is_good {
            // What it only passes on it need not have checked.
            if holder == *node {
                self.caught(step.now, node);
            } else {
                self.count_dropped();
            }
            return;
        }
        // What it has signed for an older copy is worth nothing any more.
        known.retain(|known| known.node != holder);
        known.truncate(limits::RANKING_MAX.saturating_sub(1));
        known.push(Holder { node: holder, receipt });
        put(step, &log, place, &known);
        self.signed(step, &log, place);
        step.event(Event::Timeline(log));
        let is_stored = mark == Some(Mark::Sent) && self.has_enough(step, &log, place);
        if !is_stored {
            // It could be had again.
            step.durability = Durability::Later;
        }
    }

    /// Whether a node may sign for that copy of a log: one that this device talks with has said which it has.
    fn is_of_its_copy(
        &self,
        step: &Step<'_>,
        node: &NodeId,
        log: &LogId,
        incarnation: u64,
    ) -> bool {
        let has_it_open = self.links.find(node, |handle| handle.fetches(log)).is_some();
        let said = sync::cursor(&step.draft, node, log).incarnation;
        incarnation != 0 && (!has_it_open || incarnation == said)
    }

    /// Another node has signed for an own entry: if they are enough, it is stored from now on. Who was
    /// named when it was said and is no more does not count.
    fn has_enough(&mut self, step: &mut Step<'_>, log: &LogId, place: Place) -> bool {
        let (Some(me), Some(conversation)) = (&self.me, self.conversations.get_mut(log)) else {
            return false;
        };
        let all = conversation.ranking.nodes.iter().chain(me.extra_homes());
        let trust = &self.standing.trust;
        let may_hold = |node: &NodeId| conversation.may_hold(node) && !trust.is_convicted(node);
        let all: BTreeSet<NodeId> =
            all.map(|holder| holder.node).filter(|node| !trust.is_convicted(node)).collect();
        let signed = holders(&step.draft, log, place);
        let count = signed.iter().filter(|holder| may_hold(&holder.node)).count();
        let enough = count >= me.receipts().min(all.len().max(1));
        if enough {
            conversation.awaited.places.remove(&place);
            raise(step, log, place, Mark::Stored);
        }
        enough
    }

    /// A node has accepted an own entry. If not enough nodes sign for it soon, another one is given it.
    pub(crate) fn await_receipts(
        &mut self,
        step: &Step<'_>,
        log: &LogId,
        place: Place,
        node: &NodeId,
    ) {
        if mark_of(&step.draft, log, place) != Some(Mark::Sent) {
            return;
        }
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let awaited = &mut conversation.awaited;
        awaited.places.insert(place);
        awaited.begin_anew();
        while awaited.len() > AWAITED_MAX {
            // Sent again on the next connection.
            awaited.places.pop_first();
        }
        let patience = self.links.patience(node);
        self.arm_by(step.now.after(patience), Timer::Hedge(*log));
    }

    /// Too few nodes hold what the home has accepted: the stand-in is given it as well.
    pub(crate) fn hedge(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let stand_in = conversation.stand_in();
        let awaited = &mut conversation.awaited;
        awaited.places.retain(|place| mark_of(&step.draft, log, *place) == Some(Mark::Sent));
        let Some(node) = stand_in.filter(|node| self.links.is_up(node)) else { return };
        // What it has signed for it need not be given: others have to.
        let lacks = |place: &&Place| !has_signed(step, &node, log, **place);
        let places: Vec<Place> = awaited.places.iter().filter(lacks).copied().collect();
        if places.is_empty() {
            return;
        }
        let later = pause(awaited.tries);
        awaited.tries = awaited.tries.saturating_add(1);
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
        self.arm(step.now.after(later), Timer::Hedge(*log));
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

/// Node, incarnation and signature.
const HOLDER_LEN: usize = 32 + 8 + 64;
/// Entries of a conversation that wait for receipts: as many as may wait for one peer.
pub(crate) const AWAITED_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that are given to the stand-in at a time.
const HEDGED_MAX: usize = 64;
