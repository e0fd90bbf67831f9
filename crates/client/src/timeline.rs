//! The timeline: entries in the order (position, id), and what they do to each other.
//!
//! Edits, deletions and reactions are rows of their own beside their target, folded when a page is
//! read: so the order of arrival can't matter. Specified in `spec/content.md`.

use std::collections::BTreeSet;

use prost::Message;
use proto::{AccountId, Content, ContentBody, LogId, Reference, Rows};

use crate::{
    Event, Mark,
    conversation::Conversation,
    schema::{
        self, ANNOTATIONS, ARRIVALS, MARKS, MESSAGES, MessageRow, Place, REFERENCES, join,
        numbered, place_of,
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

fn annotation_key(log: &LogId, target: &Reference, place: Place) -> Vec<u8> {
    [log.0.as_slice(), &target.0, &place.encode()].concat()
}
