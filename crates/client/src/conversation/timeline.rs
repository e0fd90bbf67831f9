//! The timeline: entries in the order (position, id), and what they do to each other.
//!
//! Edits, deletions and reactions are rows of their own beside their target, folded when a page is
//! read: so the order of arrival can't matter. Specified in `spec/content.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use proto::{AccountId, Content, ContentBody, Direction, LogId, Receipt, Reference, Rows, Table};

use super::frontier::Frontier;
use crate::{
    DeliveryStatus,
    entries::{self, EntryRow, ReceiptEffect},
    log,
    rows::{self, TimelineKey, join, numbered, prefix_range},
    step::Step,
};

/// Log ‖ target reference ‖ position ‖ id → nothing: edits, deletions and reactions of a message.
const ANNOTATIONS: Table = Table(12);
/// Log ‖ arrival number → position ‖ id.
const ARRIVALS: Table = Table(14);

/// An entry to be placed: who wrote it, and what.
pub(super) struct NewEntry<'a> {
    pub(super) author: AccountId,
    pub(super) content: &'a Content,
    pub(super) bytes: &'a [u8],
    /// Written on this device.
    pub(super) own: bool,
}

/// Puts an entry, all of whose dependencies are there, into its place.
pub(super) fn insert(
    step: &mut Step<'_>,
    log: &LogId,
    members: &[AccountId],
    frontier: &mut Frontier,
    key: TimelineKey,
    entry: &NewEntry<'_>,
) {
    if members.contains(&entry.author) && is_text(&entry.content.body) {
        frontier.add_unread(key, |read| count_unread(step.rows(), log, members, read));
    }
    entries::put(step, log, key, &EntryRow::new(&entry.author, entry.bytes));
    let arrival = frontier.show(key, &entry.content.dependencies.iter().collect());
    step.put(ARRIVALS, numbered(log, arrival), key.encode());
    let speaks = !matches!(entry.content.body, ContentBody::Receipt(_) | ContentBody::Unknown);
    if entry.own {
        entries::set_status(step, log, key, DeliveryStatus::Sent);
        frontier.set_owes_receipt(false);
    } else if speaks {
        frontier.set_owes_receipt(true);
    }
    frontier.save(step, log);
    if let Some(target) = target_of(&entry.content.body) {
        step.put(ANNOTATIONS, annotation_key(log, &target, key), b"");
    }
    if !entry.own {
        let mut acknowledge = |status, references: &[Reference]| {
            acknowledge(step, log, members, entry.author, status, references);
        };
        if let ContentBody::Receipt(receipt) = &entry.content.body {
            acknowledge(DeliveryStatus::Read, &receipt.read);
            acknowledge(DeliveryStatus::Delivered, &receipt.delivered);
        }
        // The author of an entry has all that it depends on.
        acknowledge(DeliveryStatus::Delivered, &entry.content.dependencies);
    }
    step.timeline_changed(log);
}

/// Counts the texts of members that the user has not read.
pub(crate) fn unread(rows: &dyn Rows, log: &LogId, members: &[AccountId]) -> u64 {
    let frontier = Frontier::load(rows, log).unwrap_or_default();
    frontier.unread(|read| count_unread(rows, log, members, read))
}

/// Counts the texts of members behind the entry up to which the user has read, one by one.
fn count_unread(rows: &dyn Rows, log: &LogId, members: &[AccountId], read: TimelineKey) -> u64 {
    let mut from = read.row_key(log);
    from.push(0);
    let mut unread = 0_u64;
    let to = prefix_range(&log.0).1;
    entries::scan(rows, log, &from, &to, Direction::Forward, &mut |_, row| {
        let is_unread = row.author().is_some_and(|author| members.contains(&author))
            && row.content().is_some_and(|content| is_text(&content.body));
        unread = unread.saturating_add(u64::from(is_unread));
        ControlFlow::Continue(())
    });
    unread
}

fn is_text(body: &ContentBody) -> bool {
    matches!(body, ContentBody::Text { .. })
}

/// Finds the newest entry of an author.
pub(super) fn newest_of(rows: &dyn Rows, log: &LogId, author: &AccountId) -> Option<TimelineKey> {
    let (from, to) = prefix_range(&log.0);
    let mut newest = None;
    entries::scan(rows, log, &from, &to, Direction::Backward, &mut |key, row| {
        newest = row.is_by(author).then_some(key);
        if newest.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    newest
}

/// Takes entries out, most of them own ones that no other device has: what they alone depended on
/// is at the frontier again. The one that `stays` is only shown.
pub(super) fn retreat(
    step: &mut Step<'_>,
    log: &LogId,
    frontier: &mut Frontier,
    gone: &BTreeMap<TimelineKey, Content>,
    stays: Option<TimelineKey>,
) {
    let bare = bare_dependencies(step, log, gone, stays);
    for (key, content) in gone.iter().filter(|(key, _)| stays != Some(**key)) {
        entries::delete(step, log, *key);
        log::on_withdrawn(step, log, *key);
        if let Some(target) = target_of(&content.body) {
            step.delete(ANNOTATIONS, annotation_key(log, &target, *key));
        }
    }
    forget_arrivals(step, log, gone, stays);
    frontier.retreat(|head| gone.contains_key(head), bare);
    frontier.save(step, log);
    step.timeline_changed(log);
}

/// Finds what only entries that are taken out depend on.
fn bare_dependencies(
    step: &Step<'_>,
    log: &LogId,
    gone: &BTreeMap<TimelineKey, Content>,
    stays: Option<TimelineKey>,
) -> Vec<TimelineKey> {
    let dependencies = gone.values().flat_map(|content| &content.dependencies);
    let bare = dependencies.filter_map(|d| Some((*d, entries::find(step.rows(), log, d)?)));
    let mut bare: BTreeMap<_, _> = bare.filter(|(_, key)| !gone.contains_key(key)).collect();
    let end = prefix_range(&log.0).1;
    let from = bare.values().min().map_or_else(|| end.clone(), |key| key.row_key(log));
    entries::scan(step.rows(), log, &from, &end, Direction::Forward, &mut |key, row| {
        let content = row.content().unwrap_or_default();
        let depends = content.dependencies.iter().any(|d| bare.contains_key(d));
        if stays != Some(key) && !gone.contains_key(&key) && depends {
            let status = entries::status(step.rows(), log, key);
            let is_refused = status == Some(DeliveryStatus::Refused);
            bare.retain(|reference, _| is_refused || !content.dependencies.contains(reference));
        }
        if bare.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bare.into_values().collect()
}

fn forget_arrivals(
    step: &mut Step<'_>,
    log: &LogId,
    gone: &BTreeMap<TimelineKey, Content>,
    stays: Option<TimelineKey>,
) {
    let (start, end) = prefix_range(&log.0);
    let mut arrived = Vec::new();
    step.rows().scan(ARRIVALS, &start, &end, Direction::Backward, &mut |row_key, value| {
        let key = TimelineKey::decode(value);
        if key.is_some_and(|key| stays != Some(key) && gone.contains_key(&key)) {
            arrived.push(row_key.to_vec());
        }
        let found = arrived.len().saturating_add(usize::from(stays.is_some()));
        if found < gone.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    for row_key in arrived {
        step.delete(ARRIVALS, row_key);
    }
}

/// Visits entries in the order in which they arrived here, after an arrival number, until `visit`
/// breaks.
pub(crate) fn visit_arrivals(
    rows: &dyn Rows,
    log: &LogId,
    after: u64,
    visit: &mut dyn FnMut(u64, TimelineKey) -> ControlFlow<()>,
) {
    let (from, to) = (numbered(log, after.saturating_add(1)), prefix_range(&log.0).1);
    rows.scan(ARRIVALS, &from, &to, Direction::Forward, &mut |row_key, value| {
        let number = row_key.last_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number));
        let key = TimelineKey::decode(value);
        key.map_or(ControlFlow::Continue(()), |key| visit(number, key))
    });
}

/// Visits the edits, deletions and reactions of an entry in the order of the timeline.
pub(crate) fn visit_annotations(
    rows: &dyn Rows,
    log: &LogId,
    target: &Reference,
    visit: &mut dyn FnMut(TimelineKey),
) {
    let all = rows::all(rows, ANNOTATIONS, &join(log, target));
    all.iter().filter_map(|(key, _)| TimelineKey::decode(key)).for_each(visit);
}

/// Finds an own entry and all own ones that depend on it, in their order.
pub(super) fn dependents(
    rows: &dyn Rows,
    log: &LogId,
    first: TimelineKey,
    author: &AccountId,
) -> BTreeMap<TimelineKey, Content> {
    let mut found = BTreeMap::new();
    let mut names = BTreeSet::new();
    let (from, end) = (first.row_key(log), prefix_range(&log.0).1);
    entries::scan(rows, log, &from, &end, Direction::Forward, &mut |key, row| {
        let content = row.content().unwrap_or_default();
        let depends = content.dependencies.iter().any(|d| names.contains(d));
        if key == first || depends && row.is_by(author) {
            names.insert(key.id.reference());
            found.insert(key, content);
        }
        ControlFlow::Continue(())
    });
    found
}

/// Returns whether an entry's position is 1 + the largest among its dependencies.
///
/// # Errors
/// Those of them that are missing.
pub(super) fn check_position(
    rows: &dyn Rows,
    log: &LogId,
    position: u64,
    dependencies: &[Reference],
) -> Result<bool, Vec<Reference>> {
    let mut highest = 0;
    let mut missing = Vec::new();
    for dependency in dependencies {
        match entries::find(rows, log, dependency) {
            Some(key) => highest = highest.max(key.position),
            None => missing.push(*dependency),
        }
    }
    if missing.is_empty() { Ok(position == highest.saturating_add(1)) } else { Err(missing) }
}

/// Notes that a member has these entries and all they depend on. Below an entry that the member is
/// known to have it has all, so that each entry is visited once per member and status.
fn acknowledge(
    step: &mut Step<'_>,
    log: &LogId,
    members: &[AccountId],
    by: AccountId,
    status: DeliveryStatus,
    references: &[Reference],
) {
    let mut ahead = references.to_vec();
    while let Some(reference) = ahead.pop() {
        let Some(key) = entries::find(step.rows(), log, &reference) else { continue };
        match entries::add_receipt(step, log, key, by, status, members) {
            ReceiptEffect::AlreadyKnown => continue,
            ReceiptEffect::SomeMembers => {}
            ReceiptEffect::AllMembers => log::on_acknowledged(step, log, key),
        }
        let content = entries::content(step.rows(), log, key);
        ahead.extend(content.map(|content| content.dependencies).unwrap_or_default());
    }
}

/// Returns the message that a body changes or reacts to.
fn target_of(body: &ContentBody) -> Option<Reference> {
    match body {
        ContentBody::Edit { target, .. }
        | ContentBody::Delete { target }
        | ContentBody::Reaction { target, .. } => Some(*target),
        ContentBody::Text { .. }
        | ContentBody::Receipt(_)
        | ContentBody::Accept { .. }
        | ContentBody::Unknown => None,
    }
}

/// Returns a body that speaks of the same messages under other names.
pub(super) fn renamed(body: ContentBody, name: impl Fn(&Reference) -> Reference) -> ContentBody {
    match body {
        ContentBody::Text { text, reply_to } => {
            ContentBody::Text { text, reply_to: reply_to.as_ref().map(name) }
        }
        ContentBody::Edit { target, text } => ContentBody::Edit { target: name(&target), text },
        ContentBody::Delete { target } => ContentBody::Delete { target: name(&target) },
        ContentBody::Reaction { target, emoji } => {
            ContentBody::Reaction { target: name(&target), emoji }
        }
        ContentBody::Receipt(Receipt { delivered, read }) => ContentBody::Receipt(Receipt {
            delivered: delivered.iter().map(&name).collect(),
            read: read.iter().map(&name).collect(),
        }),
        ContentBody::Accept { .. } | ContentBody::Unknown => body,
    }
}

fn annotation_key(log: &LogId, target: &Reference, key: TimelineKey) -> Vec<u8> {
    [log.0.as_slice(), &target.0, &key.encode()].concat()
}
