//! The timeline: entries in the order (position, id), and what they do to each other.
//!
//! Edits, deletions and reactions are rows of their own beside their target, folded when a page is
//! read: so the order of arrival can't matter. Specified in `spec/content.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use prost::Message;
use proto::{AccountId, Content, ContentBody, Direction, LogId, Receipt, Reference, Rows};

use crate::{
    Event, Mark,
    conversation::Conversation,
    schema::{
        self, ANNOTATIONS, ARRIVALS, KEPT, MARKS, MESSAGES, MessageRow, Place, RECEIPTS,
        REFERENCES, join, numbered, place_of, prefix_range,
    },
    step::Step,
};

/// Who wrote an entry, and what.
pub(crate) struct Written<'a> {
    pub(crate) author: AccountId,
    pub(crate) content: &'a Content,
    pub(crate) bytes: &'a [u8],
    /// Written on this device.
    pub(crate) own: bool,
}

/// Puts an entry, all of whose dependencies are there, into its place.
pub(crate) fn insert(
    step: &mut Step<'_>,
    conversation: &mut Conversation,
    place: Place,
    written: &Written<'_>,
) {
    let log = conversation.log;
    let (contact, read) = (conversation.contact, conversation.frontier.read);
    if written.author == contact && place > read && is_text(&written.content.body) {
        let before = conversation.frontier.unread;
        let before = before.unwrap_or_else(|| count_unread(&step.draft, &log, &contact, read));
        conversation.frontier.unread = Some(before.saturating_add(1));
    }
    let row = MessageRow { author: written.author.0.to_vec(), content: written.bytes.to_vec() };
    step.draft.put(MESSAGES, place.key(&log), row.encode_to_vec());
    step.draft.put(REFERENCES, join(&log, place.id.reference()), place.encode());

    let frontier = &mut conversation.frontier;
    frontier.show(place, &written.content.dependencies.iter().collect::<BTreeSet<_>>());
    step.draft.put(ARRIVALS, numbered(&log, frontier.arrivals), place.encode());
    let speaks = !matches!(written.content.body, ContentBody::Receipt(_) | ContentBody::Unknown);
    if written.own {
        step.draft.put(MARKS, place.key(&log), [Mark::Sent as u8]);
        frontier.unacknowledged = false;
    } else if speaks {
        frontier.unacknowledged = true;
    }
    conversation.save_frontier(step);

    if let Some(target) = target_of(&written.content.body) {
        step.draft.put(ANNOTATIONS, annotation_key(&log, &target, place), b"");
    }
    if !written.own {
        if let ContentBody::Receipt(receipt) = &written.content.body {
            mark(step, &log, &receipt.read, Mark::Read);
            mark(step, &log, &receipt.delivered, Mark::Delivered);
        }
        // Whoever depends on an entry has it.
        mark(step, &log, &written.content.dependencies, Mark::Delivered);
    }
    step.event(Event::Timeline(log));
}

/// Texts of a contact that lie behind the place up to which the user has read, counted one by one.
pub(crate) fn count_unread(rows: &dyn Rows, log: &LogId, contact: &AccountId, read: Place) -> u64 {
    let mut from = read.key(log);
    from.push(0);
    let mut unread = 0_u64;
    let to = prefix_range(&log.0).1;
    rows.scan(MESSAGES, &from, &to, Direction::Forward, &mut |_, value| {
        let row = MessageRow::decode(value).unwrap_or_default();
        let is_unread = row.author == contact.0
            && Content::decode(&row.content).is_ok_and(|content| is_text(&content.body));
        unread = unread.saturating_add(u64::from(is_unread));
        ControlFlow::Continue(())
    });
    unread
}

fn is_text(body: &ContentBody) -> bool {
    matches!(body, ContentBody::Text { .. })
}

/// Takes entries out, most of them own ones that nobody else has: what they alone depended on is at
/// the edge again. Those that are to stay are only shown.
pub(crate) fn retreat(
    step: &mut Step<'_>,
    conversation: &mut Conversation,
    gone: &BTreeMap<Place, Content>,
    stays: Option<Place>,
) {
    let log = conversation.log;
    let dependencies = gone.values().flat_map(|content| &content.dependencies);
    let bare = dependencies.filter_map(|d| Some((*d, place_of(&step.draft, &log, d)?)));
    let mut bare: BTreeMap<_, _> = bare.filter(|(_, place)| !gone.contains_key(place)).collect();
    for (place, content) in gone.iter().filter(|(place, _)| stays != Some(**place)) {
        step.draft.delete(MESSAGES, place.key(&log));
        step.draft.delete(REFERENCES, join(&log, place.id.reference()));
        step.draft.delete(MARKS, place.key(&log));
        step.draft.delete(RECEIPTS, place.key(&log));
        if let Some(target) = target_of(&content.body) {
            step.draft.delete(ANNOTATIONS, annotation_key(&log, &target, *place));
        }
    }
    let (start, end) = prefix_range(&log.0);
    let from = bare.values().min().map_or_else(|| end.clone(), |place| place.key(&log));
    step.draft.scan(MESSAGES, &from, &end, Direction::Forward, &mut |key, value| {
        let (place, content) = entry(&log, key, value);
        if stays != Some(place) && content.dependencies.iter().any(|d| bare.contains_key(d)) {
            let refused = step.draft.get(MARKS, key).is_some_and(|m| m == [Mark::Refused as u8]);
            bare.retain(|reference, _| refused || !content.dependencies.contains(reference));
        }
        if bare.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let mut arrived = Vec::new();
    step.draft.scan(ARRIVALS, &start, &end, Direction::Backward, &mut |key, value| {
        let place = Place::decode(value);
        if place.is_some_and(|place| stays != Some(place) && gone.contains_key(&place)) {
            arrived.push(key.to_vec());
        }
        let found = arrived.len().saturating_add(usize::from(stays.is_some()));
        if found < gone.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    for key in arrived {
        step.draft.delete(ARRIVALS, key);
    }
    conversation.frontier.heads.retain(|head| !gone.contains_key(head));
    conversation.frontier.add_heads(bare.into_values());
    conversation.save_frontier(step);
    step.event(Event::Timeline(log));
}

/// An entry of one's own and all of one's own that depend on it, in their order.
pub(crate) fn dependents(
    rows: &dyn Rows,
    log: &LogId,
    (place, author): (Place, &AccountId),
) -> BTreeMap<Place, Content> {
    let mut found = BTreeMap::new();
    let mut names = BTreeSet::new();
    let end = prefix_range(&log.0).1;
    rows.scan(MESSAGES, &place.key(log), &end, Direction::Forward, &mut |key, value| {
        let (at, content) = entry(log, key, value);
        let depends = content.dependencies.iter().any(|d| names.contains(d));
        let own = || MessageRow::decode(value).is_ok_and(|row| row.author == author.0);
        if at == place || depends && own() {
            names.insert(at.id.reference());
            found.insert(at, content);
        }
        ControlFlow::Continue(())
    });
    found
}

/// The key and value of a row of the timeline.
fn entry(log: &LogId, key: &[u8], value: &[u8]) -> (Place, Content) {
    let place = key.get(log.0.len()..).and_then(Place::decode).unwrap_or_default();
    let row = MessageRow::decode(value).unwrap_or_default();
    (place, Content::decode(&row.content).unwrap_or_default())
}

/// Tells whether an entry's position is 1 + the largest among its dependencies; `None` while
/// some of them, which are listed, are missing.
pub(crate) fn check_position(
    rows: &dyn Rows,
    log: &LogId,
    position: u64,
    dependencies: &[Reference],
) -> Result<bool, Vec<Reference>> {
    let mut highest = 0;
    let mut missing = Vec::new();
    for dependency in dependencies {
        match place_of(rows, log, dependency) {
            Some(place) => highest = highest.max(place.position),
            None => missing.push(*dependency),
        }
    }
    if missing.is_empty() { Ok(position == highest.saturating_add(1)) } else { Err(missing) }
}

/// Raises the mark of these entries and of all they depend on. Below an entry that has the mark
/// already everything has it, so that each entry is visited once per mark.
pub(crate) fn mark(step: &mut Step<'_>, log: &LogId, references: &[Reference], mark: Mark) {
    let mut ahead = references.to_vec();
    while let Some(reference) = ahead.pop() {
        let Some(place) = place_of(&step.draft, log, &reference) else { continue };
        let key = place.key(log);
        let before = step.draft.get(MARKS, &key).and_then(|mark| mark.first().copied());
        if before.and_then(Mark::from_byte).is_some_and(|before| before >= mark) {
            continue;
        }
        step.draft.put(MARKS, key.clone(), [mark as u8]);
        for table in [KEPT, RECEIPTS] {
            if step.draft.get(table, &key).is_some() {
                step.draft.delete(table, key.clone());
            }
        }
        let row: Option<MessageRow> = schema::load(&step.draft, MESSAGES, &key);
        let content = row.and_then(|row| Content::decode(&row.content).ok());
        ahead.extend(content.map(|content| content.dependencies).unwrap_or_default());
    }
}

/// The message that a body changes or reacts to.
pub(crate) fn target_of(body: &ContentBody) -> Option<Reference> {
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

/// A body that speaks of the same messages under other names.
pub(crate) fn renamed(body: ContentBody, name: impl Fn(&Reference) -> Reference) -> ContentBody {
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

fn annotation_key(log: &LogId, target: &Reference, place: Place) -> Vec<u8> {
    [log.0.as_slice(), &target.0, &place.encode()].concat()
}
