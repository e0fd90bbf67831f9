//! The rows of what leaves: entries that no node has accepted yet, those that the contact has not
//! acknowledged, and the changes of keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use prost::Message;
use proto::{Direction, Envelope, Kind, LogId, PublicKey, Rows, Table};

use super::{acks, deferred};
use crate::{
    DeliveryStatus, entries,
    rows::{self, TimelineKey, join, numbered, prefix_range},
    step::Step,
};

/// Log ‖ number → [`Outgoing`].
const OUTBOX: Table = Table(17);
/// Log ‖ position ‖ id → [`Outgoing`]: own envelopes that a home holds and that the contact has not
/// acknowledged. Another home is given them once more.
const UNACKED: Table = Table(22);
/// Log ‖ commit → [`Outgoing`]: the envelope of the change that led to that epoch. A node that has
/// no copy of the log learns from it which keys may write.
const CHANGES: Table = Table(23);

/// An envelope that its node has not accepted yet.
#[derive(Clone, PartialEq, Message)]
struct Outgoing {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
}

/// What goes into the outbox once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// What the contact has not acknowledged, and all changes of keys, by any member.
    All,
    /// Only the changes of keys.
    Changes,
    /// Only what is not known to be held by enough nodes.
    Unsettled,
}

fn row(envelope: &Envelope) -> Vec<u8> {
    Outgoing { envelope: envelope.encode() }.encode_to_vec()
}

fn decode(row: &[u8]) -> Option<Envelope> {
    Envelope::decode(&Outgoing::decode(row).ok()?.envelope).ok()
}

/// Returns the last number in use, 0 if the outbox of this log is empty.
pub(super) fn last_number(rows: &dyn Rows, log: &LogId) -> u64 {
    let mut last = 0;
    let (from, to) = prefix_range(&log.0);
    rows.scan(OUTBOX, &from, &to, Direction::Backward, &mut |key, _| {
        last = key.last_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
        ControlFlow::Break(())
    });
    last
}

pub(super) fn put(step: &mut Step<'_>, log: &LogId, number: u64, envelope: &Envelope) {
    step.put(OUTBOX, numbered(log, number), row(envelope));
}

pub(super) fn get(rows: &dyn Rows, log: &LogId, number: u64) -> Option<Envelope> {
    decode(&rows.get(OUTBOX, &numbered(log, number))?)
}

pub(super) fn has(rows: &dyn Rows, log: &LogId, number: u64) -> bool {
    rows.get(OUTBOX, &numbered(log, number)).is_some()
}

pub(super) fn delete(step: &mut Step<'_>, log: &LogId, number: u64) {
    step.delete(OUTBOX, numbered(log, number));
}

/// Returns the first envelope in the outbox, and its number.
pub(super) fn first(rows: &dyn Rows, log: &LogId) -> Option<(u64, Envelope)> {
    let mut first = None;
    rows::each(rows, OUTBOX, &log.0, &mut |key, row| {
        first = numbered_envelope(key, row);
        if first.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    first
}

pub(crate) fn outgoing(rows: &dyn Rows, log: &LogId) -> Vec<(u64, Envelope)> {
    let all = rows::all(rows, OUTBOX, &log.0).into_iter();
    all.filter_map(|(key, row)| numbered_envelope(&key, &row)).collect()
}

fn numbered_envelope(key: &[u8], row: &[u8]) -> Option<(u64, Envelope)> {
    Some((u64::from_be_bytes(*key.last_chunk::<8>()?), decode(row)?))
}

fn all(rows: &dyn Rows, table: Table, log: &LogId) -> Vec<Envelope> {
    rows::all(rows, table, &log.0).iter().filter_map(|(_, row)| decode(row)).collect()
}

/// Counts the envelopes of a log that no node has accepted.
pub(crate) fn count_outgoing(rows: &dyn Rows, log: &LogId) -> usize {
    rows::count(rows, OUTBOX, &log.0)
}

/// Counts the envelopes of a log that the contact has not acknowledged.
pub(crate) fn count_unacked(rows: &dyn Rows, log: &LogId) -> usize {
    rows::count(rows, UNACKED, &log.0).saturating_add(count_outgoing(rows, log))
}

/// Returns an own entry that the contact has not acknowledged.
pub(crate) fn unacked(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<Envelope> {
    decode(&rows.get(UNACKED, &key.row_key(log))?)
}

/// Keeps an own envelope that its node holds until the contact has acknowledged it.
pub(super) fn keep(step: &mut Step<'_>, log: &LogId, envelope: &Envelope) {
    let key = TimelineKey::of(envelope);
    let status = entries::status(step.rows(), log, key);
    if status.is_none_or(|status| status <= DeliveryStatus::Stored) {
        step.put(UNACKED, key.row_key(log), row(envelope));
    }
}

/// Drops the oldest of too many envelopes that are kept: most likely they have arrived.
pub(super) fn sweep(step: &mut Step<'_>, log: &LogId) {
    let kept = rows::all(step.rows(), UNACKED, &log.0);
    let excess = kept.len().saturating_sub(UNACKED_MAX);
    for key in kept.iter().take(excess).filter_map(|(key, _)| TimelineKey::decode(key)) {
        on_acknowledged(step, log, key);
    }
}

/// The contact has an own entry: no home needs to be given it again.
pub(crate) fn on_acknowledged(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    let row_key = key.row_key(log);
    if step.rows().get(UNACKED, &row_key).is_some() {
        step.delete(UNACKED, row_key);
    }
    acks::forget_if_there(step, log, key);
}

/// An own entry was taken out: what was acknowledged of it is worth nothing.
pub(crate) fn on_withdrawn(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    acks::forget(step, log, key);
}

/// Keeps the envelope of the change that led to an epoch.
pub(crate) fn keep_change(step: &mut Step<'_>, log: &LogId, commit: &[u8; 32], change: &Envelope) {
    step.put(CHANGES, join(log, commit), row(change));
}

/// Forgets the change that led to an epoch.
pub(crate) fn forget_change(step: &mut Step<'_>, log: &LogId, commit: &[u8; 32]) {
    step.delete(CHANGES, join(log, commit));
}

/// Takes what is to be sent once more out of its table, in an order in which each key is announced
/// before it is used. Empty if there is nothing but what is in the outbox, unless all is wanted.
pub(super) fn take_refill(
    step: &mut Step<'_>,
    log: &LogId,
    which: Refill,
) -> Option<BTreeMap<TimelineKey, Envelope>> {
    let tables = match which {
        Refill::All => &[CHANGES, UNACKED][..],
        Refill::Changes => &[CHANGES],
        Refill::Unsettled => &[UNACKED],
    };
    let mut envelopes = BTreeMap::new();
    for envelope in tables.iter().flat_map(|table| all(step.rows(), *table, log)) {
        let key = TimelineKey::of(&envelope);
        let is_sent = || entries::status(step.rows(), log, key) == Some(DeliveryStatus::Sent);
        if which != Refill::Unsettled || is_sent() {
            envelopes.insert(key, envelope);
        }
    }
    if envelopes.is_empty() && which != Refill::All {
        return None;
    }
    for (number, envelope) in outgoing(step.rows(), log) {
        delete(step, log, number);
        envelopes.insert(TimelineKey::of(&envelope), envelope);
    }
    for key in envelopes.keys() {
        step.delete(UNACKED, key.row_key(log));
    }
    Some(envelopes)
}

/// Returns the write keys that own commits announce and apparently no other device has: they are in
/// the outbox, or too few nodes have acknowledged them.
pub(crate) fn announced_keys(rows: &dyn Rows, log: &LogId) -> BTreeSet<PublicKey> {
    let outgoing = outgoing(rows, log).into_iter().map(|(_, envelope)| envelope);
    let all = outgoing.chain(all(rows, UNACKED, log));
    let changes = all.filter(|envelope| envelope.head.kind == Kind::KeyChange);
    let unseen = changes.filter(|change| {
        let status = entries::status(rows, log, TimelineKey::of(change));
        status.is_some_and(|status| status <= DeliveryStatus::Sent)
    });
    unseen.filter_map(|envelope| envelope.head.extension.announced_key()).collect()
}

/// Erases what waits in and for a log. Changes of keys are their epochs' and go with those.
pub(crate) fn erase(step: &mut Step<'_>, log: &LogId) {
    deferred::erase(step, log);
    for table in [OUTBOX, UNACKED] {
        step.erase(table, &log.0);
    }
    acks::erase(step, log);
}

/// Own envelopes of a log that are kept because the contact has not acknowledged them: more than
/// anyone writes to who is away.
const UNACKED_MAX: usize = 4096;
