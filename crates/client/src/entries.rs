//! Entries: what of each log is shown here, under which name, and how far own entries have come.
//!
//! The lowest floor that conversations and logs share: a log has to know what is here already and
//! what its own entries still lack, and a conversation decides both.

use prost::Message;
use proto::{AccountId, Content, ContentBody, LogId, Reference, Rows, Table};

use crate::{
    DeliveryStatus, Event,
    rows::{self, TimelineKey, join},
    step::Step,
};

/// Log ‖ position ‖ id → [`EntryRow`]: the timeline.
const MESSAGES: Table = Table(10);
/// Log ‖ reference → position ‖ id.
const REFERENCES: Table = Table(11);
/// Log ‖ position ‖ id → [`DeliveryStatus`], one byte.
const DELIVERY: Table = Table(13);
/// Log ‖ reference of an entry that was sealed again → reference of what stands in its place.
const SUCCESSORS: Table = Table(20);

/// One entry of a timeline.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRow {
    #[prost(bytes = "vec", tag = "1")]
    author: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) content: Vec<u8>,
}

impl EntryRow {
    pub(crate) fn new(author: &AccountId, content: &[u8]) -> Self {
        Self { author: author.0.to_vec(), content: content.to_vec() }
    }

    pub(crate) fn is_by(&self, author: &AccountId) -> bool {
        self.author == author.0
    }

    pub(crate) fn author(&self) -> Option<AccountId> {
        AccountId::try_from(self.author.as_slice()).ok()
    }
}

/// Puts an entry into its place.
pub(crate) fn put(step: &mut Step<'_>, log: &LogId, key: TimelineKey, row: &EntryRow) {
    step.rows.put(MESSAGES, key.row_key(log), row.encode_to_vec());
    step.rows.put(REFERENCES, join(log, key.id.reference()), key.encode());
}

/// Takes an entry out.
pub(crate) fn delete(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    step.rows.delete(MESSAGES, key.row_key(log));
    step.rows.delete(REFERENCES, join(log, key.id.reference()));
    step.rows.delete(DELIVERY, key.row_key(log));
}

/// Reads an entry.
pub(crate) fn row(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<EntryRow> {
    rows::load(rows, MESSAGES, &key.row_key(log))
}

/// Reads what an entry says.
pub(crate) fn content(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<Content> {
    Content::decode(&row(rows, log, key)?.content).ok()
}

/// Visits entries in the order of the timeline or against it, from the key `from` up to the key
/// `to`, both of rows, until `visit` breaks.
pub(crate) fn scan(
    rows: &dyn Rows,
    log: &LogId,
    from: &[u8],
    to: &[u8],
    direction: proto::Direction,
    visit: &mut dyn FnMut(TimelineKey, EntryRow) -> std::ops::ControlFlow<()>,
) {
    rows.scan(MESSAGES, from, to, direction, &mut |key, value| {
        let key = key.get(log.0.len()..).and_then(TimelineKey::decode).unwrap_or_default();
        visit(key, EntryRow::decode(value).unwrap_or_default())
    });
}

/// Finds where an entry stands.
pub(crate) fn find(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Option<TimelineKey> {
    TimelineKey::decode(&rows.get(REFERENCES, &join(log, reference))?)
}

/// Returns whether an entry is shown.
pub(crate) fn has(rows: &dyn Rows, log: &LogId, reference: &Reference) -> bool {
    rows.get(REFERENCES, &join(log, reference)).is_some()
}

/// Returns the name that an entry has now: what was sealed again goes by another.
pub(crate) fn current(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Reference {
    let mut current = *reference;
    while let Some(next) = rows.get(SUCCESSORS, &join(log, current))
        && let Ok(next) = Reference::try_from(next.as_slice())
    {
        current = next;
    }
    current
}

/// Remembers under which name an entry was sealed again.
pub(crate) fn succeed(step: &mut Step<'_>, log: &LogId, old: Reference, new: Reference) {
    step.rows.put(SUCCESSORS, join(log, old), new.0);
}

/// Returns how far an own entry has come.
pub(crate) fn status(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<DeliveryStatus> {
    DeliveryStatus::from_byte(*rows.get(DELIVERY, &key.row_key(log))?.first()?)
}

/// Sets how far an own entry has come.
pub(crate) fn set_status(
    step: &mut Step<'_>,
    log: &LogId,
    key: TimelineKey,
    status: DeliveryStatus,
) {
    step.rows.put(DELIVERY, key.row_key(log), [status as u8]);
}

/// Sets how far an own entry has come, unless it has come further.
pub(crate) fn advance_status(
    step: &mut Step<'_>,
    log: &LogId,
    key: TimelineKey,
    status: DeliveryStatus,
) {
    if self::status(&step.rows, log, key).is_none_or(|before| before < status) {
        set_status(step, log, key, status);
        step.event(Event::Timeline(*log));
    }
}

/// Returns whether an entry is one that the contact acknowledges: receipts and changes of keys are
/// not.
pub(crate) fn is_answered(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> bool {
    content(rows, log, key).is_some_and(|content| {
        !matches!(content.body, ContentBody::Receipt(_) | ContentBody::Unknown)
    })
}
