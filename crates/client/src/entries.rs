//! Entries: what of each log is shown here, under which name, and how far own entries have come.
//!
//! The lowest floor that conversations and logs share: a log has to know what is here already and
//! what its own entries still lack, and a conversation decides both.

use std::collections::BTreeMap;

use prost::Message;
use proto::{AccountId, Content, ContentBody, LogId, Reference, Rows, Table};

use crate::{
    DeliveryStatus,
    rows::{self, TimelineKey, join},
    step::Step,
};

/// Log ‖ position ‖ id → [`EntryRow`]: the timeline.
const MESSAGES: Table = Table(10);
/// Log ‖ reference → position ‖ id.
const REFERENCES: Table = Table(11);
/// Log ‖ position ‖ id → [`Delivery`].
const DELIVERY: Table = Table(13);
/// Log ‖ reference of an entry that was sealed again → reference of what stands in its place.
const SUCCESSORS: Table = Table(20);

/// One entry of a timeline.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRow {
    #[prost(bytes = "vec", tag = "1")]
    author: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
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

    pub(crate) fn len(&self) -> usize {
        self.content.len()
    }

    pub(crate) fn content(&self) -> Option<Content> {
        Content::decode(&self.content).ok()
    }
}

pub(crate) fn put(step: &mut Step<'_>, log: &LogId, key: TimelineKey, row: &EntryRow) {
    step.put(MESSAGES, key.row_key(log), row.encode_to_vec());
    step.put(REFERENCES, join(log, key.id.reference()), key.encode());
}

pub(crate) fn delete(step: &mut Step<'_>, log: &LogId, key: TimelineKey) {
    step.delete(MESSAGES, key.row_key(log));
    step.delete(REFERENCES, join(log, key.id.reference()));
    step.delete(DELIVERY, key.row_key(log));
}

pub(crate) fn row(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<EntryRow> {
    rows::load(rows, MESSAGES, &key.row_key(log))
}

pub(crate) fn content(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<Content> {
    row(rows, log, key)?.content()
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

pub(crate) fn find(rows: &dyn Rows, log: &LogId, reference: &Reference) -> Option<TimelineKey> {
    TimelineKey::decode(&rows.get(REFERENCES, &join(log, reference))?)
}

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
    step.put(SUCCESSORS, join(log, old), new.0);
}

/// How far an entry has come: folded over all members, and with each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Delivery {
    status: Option<DeliveryStatus>,
    receipts: BTreeMap<AccountId, DeliveryStatus>,
}

impl Delivery {
    /// Takes a member's receipt. Returns whether it says more than what was known of the member.
    fn add_receipt(&mut self, by: AccountId, status: DeliveryStatus) -> bool {
        let is_news = self.receipts.get(&by).is_none_or(|before| *before < status);
        if is_news {
            self.receipts.insert(by, status);
        }
        is_news
    }

    /// Folds the receipts of `members`: the entry has come as far as with the last of them.
    /// Returns whether that is further than before.
    fn fold(&mut self, members: &[AccountId]) -> bool {
        let last = members.iter().map(|member| self.receipts.get(member).copied()).min();
        let folded = last.flatten().filter(|last| self.status.is_none_or(|before| before < *last));
        self.status = folded.or(self.status);
        folded.is_some()
    }

    /// The status, one byte, 0 for none; then for each member its account and one byte.
    fn encode(&self) -> Vec<u8> {
        let mut row = vec![self.status.map_or(0, |status| status as u8)];
        for (member, status) in &self.receipts {
            row.extend(member.0);
            row.push(*status as u8);
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (status, receipts) = row.split_first()?;
        let receipts = receipts.as_chunks::<33>().0.iter().filter_map(|receipt| {
            let (status, member) = receipt.split_last()?;
            Some((AccountId::try_from(member).ok()?, DeliveryStatus::try_from(*status).ok()?))
        });
        Some(Self { status: DeliveryStatus::try_from(*status).ok(), receipts: receipts.collect() })
    }
}

/// Returns how far an entry has come, folded over all members.
pub(crate) fn status(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Option<DeliveryStatus> {
    delivery(rows, log, key).status
}

/// Returns which members have an entry, and whether they have read it.
pub(crate) fn receipts(
    rows: &dyn Rows,
    log: &LogId,
    key: TimelineKey,
) -> BTreeMap<AccountId, DeliveryStatus> {
    delivery(rows, log, key).receipts
}

fn delivery(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> Delivery {
    let row = rows.get(DELIVERY, &key.row_key(log));
    row.and_then(|row| Delivery::decode(&row)).unwrap_or_default()
}

/// Sets how far an own entry has come; no member has it.
pub(crate) fn set_status(
    step: &mut Step<'_>,
    log: &LogId,
    key: TimelineKey,
    status: DeliveryStatus,
) {
    put_delivery(step, log, key, &Delivery { status: Some(status), receipts: BTreeMap::new() });
}

fn put_delivery(step: &mut Step<'_>, log: &LogId, key: TimelineKey, delivery: &Delivery) {
    step.put(DELIVERY, key.row_key(log), delivery.encode());
}

/// What a receipt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiptEffect {
    /// Nothing: the member was known to have the entry.
    AlreadyKnown,
    /// The member has it, others don't yet.
    SomeMembers,
    /// All members have it.
    AllMembers,
}

/// Notes that a member has an entry, or has read it.
pub(crate) fn add_receipt(
    step: &mut Step<'_>,
    log: &LogId,
    key: TimelineKey,
    by: AccountId,
    status: DeliveryStatus,
    members: &[AccountId],
) -> ReceiptEffect {
    let mut delivery = delivery(step.rows(), log, key);
    let is_refused = delivery.status == Some(DeliveryStatus::Refused);
    if is_refused || !delivery.add_receipt(by, status) {
        return ReceiptEffect::AlreadyKnown;
    }
    let is_of_all = delivery.fold(members);
    put_delivery(step, log, key, &delivery);
    if is_of_all { ReceiptEffect::AllMembers } else { ReceiptEffect::SomeMembers }
}

/// Sets how far an own entry has come, unless it has come further.
pub(crate) fn advance_status(
    step: &mut Step<'_>,
    log: &LogId,
    key: TimelineKey,
    status: DeliveryStatus,
) {
    let mut delivery = delivery(step.rows(), log, key);
    if delivery.status.is_none_or(|before| before < status) {
        delivery.status = Some(status);
        put_delivery(step, log, key, &delivery);
        step.timeline_changed(log);
    }
}

/// Returns whether an entry is one that the contact acknowledges: receipts and changes of keys are
/// not.
pub(crate) fn is_answered(rows: &dyn Rows, log: &LogId, key: TimelineKey) -> bool {
    content(rows, log, key).is_some_and(|content| {
        !matches!(content.body, ContentBody::Receipt(_) | ContentBody::Unknown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [AccountId; 3] = [AccountId([1; 32]), AccountId([2; 32]), AccountId([3; 32])];

    fn stored() -> Delivery {
        Delivery { status: Some(DeliveryStatus::Stored), receipts: BTreeMap::new() }
    }

    #[test]
    fn an_entry_has_come_as_far_as_with_the_last_member() {
        let mut delivery = stored();
        let mut receive = |by: usize, status| {
            let is_news = delivery.add_receipt(MEMBERS[by], status);
            (is_news, delivery.fold(&MEMBERS), delivery.status)
        };
        let (stored, delivered) = (Some(DeliveryStatus::Stored), Some(DeliveryStatus::Delivered));
        assert_eq!(receive(0, DeliveryStatus::Read), (true, false, stored));
        assert_eq!(receive(1, DeliveryStatus::Delivered), (true, false, stored));
        assert_eq!(receive(2, DeliveryStatus::Delivered), (true, true, delivered));
        assert_eq!(receive(0, DeliveryStatus::Delivered), (false, false, delivered));
        assert_eq!(receive(1, DeliveryStatus::Read), (true, false, delivered));
        assert_eq!(receive(2, DeliveryStatus::Read), (true, true, Some(DeliveryStatus::Read)));
    }

    #[test]
    fn who_is_no_member_holds_nothing_up() {
        let mut delivery = stored();
        assert!(delivery.add_receipt(AccountId([9; 32]), DeliveryStatus::Read));
        assert!(!delivery.fold(&MEMBERS[..1]), "the member has said nothing");
        assert!(delivery.add_receipt(MEMBERS[0], DeliveryStatus::Delivered));
        assert!(delivery.fold(&MEMBERS[..1]));
        assert!(!delivery.fold(&[]), "there is no member");
    }

    #[test]
    fn rows_keep_the_status_of_each_member() {
        let mut delivery = stored();
        for (member, status) in
            MEMBERS.iter().zip([DeliveryStatus::Read, DeliveryStatus::Delivered])
        {
            delivery.add_receipt(*member, status);
        }
        let row = delivery.encode();
        assert_eq!(row.len(), 1 + 2 * 33);
        assert_eq!(Delivery::decode(&row), Some(delivery));
        assert_eq!(Delivery::decode(&row[..40]).unwrap().receipts.len(), 1, "cut off");
        assert_eq!(Delivery::decode(&[]), None);
        assert_eq!(Delivery::decode(&[0]), Some(Delivery::default()));
    }
}
