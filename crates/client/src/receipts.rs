//! Receipts: which nodes have signed that an own entry is on their disk. A message is stored once the
//! device has checked this for enough nodes itself; it takes no node's word for what another one holds.
//! Receipts are kept until the contact has acknowledged the entry. Specified in `spec/delivery.md`,
//! section 6.

use std::collections::BTreeSet;

use crypto::{HELD_CONTEXT, held_message, verify};
use proto::{Body, Entry, Envelope, LogId, NodeId, PublicKey, Reference, Rows, limits};

use crate::{
    Client, Event, Mark,
    link::{Ask, Handle, Opening, Purpose},
    machine::{PAUSE_MIN, Timer},
    outbox::{mark_of, raise},
    schema::{self, KEPT, Outgoing, Place, RECEIPTS, place_of},
    step::{Durability, Step},
};

/// What has left the outbox and is not stored.
#[derive(Debug, Default)]
pub(crate) struct Awaited(BTreeSet<Place>);

impl Awaited {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A node's word for an own entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who has signed.
    pub node: NodeId,
    /// Over log and entry; see `spec/frames.md`, section 5.
    pub signature: [u8; 64],
}

/// The receipts for an own entry that the contact has not acknowledged yet.
pub(crate) fn receipts(rows: &dyn Rows, log: &LogId, place: Place) -> Vec<Receipt> {
    let row = rows.get(RECEIPTS, &place.key(log)).unwrap_or_default();
    let receipts = row.chunks_exact(RECEIPT_LEN).filter_map(|receipt| {
        let (node, signature) = receipt.split_first_chunk::<32>()?;
        Some(Receipt { node: NodeId(*node), signature: signature.try_into().ok()? })
    });
    receipts.collect()
}

fn keep(step: &mut Step<'_>, log: &LogId, place: Place, receipt: Receipt) {
    let mut row = step.draft.get(RECEIPTS, &place.key(log)).unwrap_or_default();
    row.extend(receipt.node.0);
    row.extend(receipt.signature);
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
        let mark = mark_of(&step.draft, &log, place);
        let known = receipts(&step.draft, &log, place);
        if !matches!(mark, Some(Mark::Sent | Mark::Stored))
            || known.len() >= limits::RANKING_MAX
            || known.iter().any(|receipt| receipt.node == holder)
        {
            return;
        }
        let message = held_message(&log, &place.id);
        match verify(&PublicKey(holder.0), HELD_CONTEXT, &message, signature) {
            Ok(()) => {
                keep(step, &log, place, Receipt { node: holder, signature: *signature });
                step.event(Event::Timeline(log));
                let is_stored = mark == Some(Mark::Sent) && self.has_enough(step, &log, place);
                if !is_stored {
                    // It could be had again.
                    step.durability = Durability::Later;
                }
            }
            // What it only passes on it need not have checked.
            Err(_) if holder != *node => self.count_dropped(),
            Err(_) => self.caught(step.now, node),
        }
    }

    /// Another node has signed for an own entry: if they are enough, it is stored from now on. Who was
    /// named when it was said and is no more does not count.
    fn has_enough(&mut self, step: &mut Step<'_>, log: &LogId, place: Place) -> bool {
        let (Some(me), Some(conversation)) = (&self.me, self.conversations.get_mut(log)) else {
            return false;
        };
        let holders = conversation.ranking.nodes.iter().chain(me.extra_homes());
        let holders: BTreeSet<NodeId> = holders.map(|holder| holder.node).collect();
        let receipts = receipts(&step.draft, log, place).into_iter();
        let count = receipts.filter(|receipt| conversation.may_hold(&receipt.node)).count();
        let enough = count >= me.receipts().min(holders.len());
        if enough {
            conversation.awaited.0.remove(&place);
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
        awaited.0.insert(place);
        while awaited.len() > AWAITED_MAX {
            // Sent again on the next connection.
            awaited.0.pop_first();
        }
        let patience = self.links.patience(node);
        self.arm(step.now.after(patience), Timer::Hedge(*log));
    }

    /// Too few nodes hold what the home has accepted: the stand-in is given it as well.
    pub(crate) fn hedge(&mut self, step: &mut Step<'_>, log: &LogId) {
        let Some(conversation) = self.conversations.get_mut(log) else { return };
        let awaited = &mut conversation.awaited;
        awaited.0.retain(|place| mark_of(&step.draft, log, *place) == Some(Mark::Sent));
        let places: Vec<Place> = awaited.0.iter().copied().collect();
        let Some(node) = conversation.stand_in() else { return };
        if places.is_empty() || !self.links.is_up(&node) {
            return;
        }
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

/// Node and signature.
const RECEIPT_LEN: usize = 32 + 64;
/// Entries of a conversation that wait for receipts: as many as may wait for one peer.
pub(crate) const AWAITED_MAX: usize = limits::QUEUE_FRAMES_MAX;
/// Entries that are given to the stand-in at a time.
const HEDGED_MAX: usize = 64;
