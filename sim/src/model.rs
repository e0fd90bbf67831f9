//! The reference: what people have said, and so what must be shown, when and where. It knows
//! nothing of logs, keys or nodes.
//!
//! The world tells the model of every operation before it tells the device, of every answer, and of
//! everything a device shows, no later than anything that the device sends after showing it.
//! What is right follows `spec/content.md`. An operation whose device crashed before it answered is
//! **unsure**: it may appear or not, but whichever it is must be so on both devices. A command that
//! is given once more is another operation.

mod finish;
mod operation;
mod show;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use client::{DeliveryStatus, TimelineKey};
use proto::{AccountId, EnvelopeId, Instant, Reference};

pub(crate) use finish::Timeline;
pub(crate) use operation::{Act, Operation};
pub(crate) use words::{MARKER, holds_marker};

/// What is right.
#[derive(Debug)]
pub(crate) struct Model {
    records: Vec<Record>,
    /// By person and whom they talk with.
    sides: BTreeMap<(u32, u32), Side>,
    /// Edits, deletions and reactions by their target, in the order in which they were done.
    about: BTreeMap<Operation, Vec<Operation>>,
    named: BTreeMap<Reference, Operation>,
    people: BTreeMap<AccountId, u32>,
    excused: BTreeSet<(u32, u32)>,
    /// Since when each person's device has been running.
    up_since: BTreeMap<u32, Instant>,
    showings: Vec<Showing>,
    refused: u64,
    shown: u64,
    /// Texts that are stored, as their authors were told, and how many of them are lost.
    acknowledged: (u64, u64),
}

/// An operation and what became of it.
#[derive(Debug)]
struct Record {
    by: u32,
    to: u32,
    act: Act,
    at: Instant,
    answer: Answer,
    /// Its position is 0 until the message has been shown somewhere.
    place: Option<TimelineKey>,
    /// What its author's device newly showed between `after` and this.
    saw: Box<[Operation]>,
    /// The author's operation before it in the conversation, since their device last started.
    after: Option<Operation>,
    /// The author's device shows it.
    here: bool,
    /// The other's device shows it.
    there: bool,
    /// The other's device has shown it at some time.
    arrived: bool,
    /// The author's device has shown at some time that the other's has it.
    acknowledged: bool,
    /// What the author's device shows beside it.
    status: Option<DeliveryStatus>,
}

/// A message is shown on the other's device for the first time.
#[derive(Clone, Copy, Debug)]
struct Showing {
    said: Instant,
    shown: Instant,
    /// The device was up all the while.
    was_up: bool,
}

/// What a device answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet, or it crashed before it could: the operation is unsure.
    None,
    Taken,
    /// Taken; it is sent once the contact has accepted.
    Waits,
    Refused,
}

/// A conversation as one of the two has it.
#[derive(Debug, Default)]
struct Side {
    done: Vec<Operation>,
    /// What the device has newly shown since the last operation.
    saw: Vec<Operation>,
    /// The last operation since the device started.
    last: Option<Operation>,
    /// The first operation of all that can have been done since the device started.
    since: u32,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            sides: BTreeMap::new(),
            about: BTreeMap::new(),
            named: BTreeMap::new(),
            people: BTreeMap::new(),
            excused: BTreeSet::new(),
            up_since: BTreeMap::new(),
            showings: Vec::new(),
            refused: 0,
            shown: 0,
            acknowledged: (0, 0),
        }
    }

    /// Records which account is a person's; reactions of other accounts are wrong.
    pub(crate) fn names(&mut self, person: u32, account: AccountId) {
        self.people.insert(account, person);
    }

    /// A person's device starts.
    pub(crate) fn started(&mut self, person: u32, now: Instant) {
        self.up_since.insert(person, now);
    }

    /// `by` is about to do something in the conversation with `to`. Says which operation it is, and
    /// the text to send for `Say` and `Edit`.
    pub(crate) fn does(&mut self, by: u32, to: u32, act: Act, now: Instant) -> (Operation, String) {
        let operation = Operation(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        let text = match &act {
            Act::Say | Act::Edit(_) => words::text_of(operation),
            Act::Delete(_) | Act::React(..) => String::new(),
        };
        if let Act::Edit(target) | Act::Delete(target) | Act::React(target, _) = &act {
            self.about.entry(*target).or_default().push(operation);
        }
        let side = self.sides.entry((by, to)).or_default();
        side.done.push(operation);
        self.records.push(Record {
            by,
            to,
            act,
            at: now,
            answer: Answer::None,
            place: None,
            saw: std::mem::take(&mut side.saw).into_boxed_slice(),
            after: side.last.replace(operation),
            here: false,
            there: false,
            arrived: false,
            acknowledged: false,
            status: None,
        });
        (operation, text)
    }

    /// The device has taken an operation in: it is bound to be carried out. With its envelope,
    /// unless it waits for the contact to accept.
    pub(crate) fn taken(&mut self, operation: Operation, envelope: Option<EnvelopeId>) {
        let Some(record) = self.record_mut(operation) else { return };
        let Some(id) = envelope else {
            record.answer = Answer::Waits;
            return;
        };
        record.answer = Answer::Taken;
        if record.place.is_none_or(|place| place.id != id) {
            record.place = Some(TimelineKey { position: 0, id });
        }
        if record.act == Act::Say {
            self.named.entry(id.reference()).or_insert(operation);
        }
    }

    /// The device has refused an operation: it is never carried out.
    pub(crate) fn refused(&mut self, operation: Operation) {
        let Some(record) = self.record_mut(operation) else { return };
        record.answer = Answer::Refused;
        self.refused = self.refused.saturating_add(1);
    }

    /// Excuses the conversation of two people: its messages need not arrive any more, because its
    /// node is malicious or one of the two has left permanently. What is shown must still be right.
    pub(crate) fn excuse(&mut self, a: u32, b: u32) {
        self.excused.insert((a.min(b), a.max(b)));
    }

    /// A person's last few messages in a conversation: what they may edit or delete.
    pub(crate) fn own_recent(&self, by: u32, to: u32) -> Vec<(Operation, Reference)> {
        self.recent(by, to, |record| record.here || record.answer == Answer::Taken)
    }

    /// The last few messages that a device shows in a conversation, the oldest first: what its
    /// user may react to.
    pub(crate) fn shown_recent(&self, person: u32, with: u32) -> Vec<(Operation, Reference)> {
        let mut recent = self.recent(person, with, |record| record.here);
        recent.extend(self.recent(with, person, |record| record.there));
        recent.sort_unstable();
        recent.drain(..recent.len().saturating_sub(RECENT));
        recent
    }

    /// A person's messages that the other's device has not shown yet, as they were named when they
    /// were said.
    pub(crate) fn on_the_way(&self, by: u32, to: u32) -> Vec<(Operation, Reference)> {
        let records = self.said(by, to).into_iter().filter_map(|operation| {
            let record =
                self.record(operation).filter(|record| record.by == by && !record.arrived)?;
            Some((operation, record.place?.id.reference()))
        });
        records.collect()
    }

    /// Returns whether a message is known by this name.
    pub(crate) fn knows(&self, reference: &Reference) -> bool {
        self.named.contains_key(reference)
    }

    /// What devices have taken to say since `since` and the other's has not shown: by whom and to
    /// whom.
    pub(crate) fn unseen(&self, since: Instant) -> Vec<(u32, u32)> {
        let unseen = self.records.iter().rev().take_while(|record| record.at >= since);
        let unseen = unseen.filter(|record| {
            record.act == Act::Say && record.answer != Answer::Refused && !record.there
        });
        unseen.map(|record| (record.by, record.to)).collect()
    }

    /// Things done that were not refused.
    pub(crate) fn said_count(&self) -> u64 {
        (self.records.len() as u64).saturating_sub(self.refused)
    }

    /// Returns how often a message of another person was shown.
    pub(crate) fn shown_count(&self) -> u64 {
        self.shown
    }

    /// In the end: texts that their authors were told are stored, and how many of them the other
    /// one does not have.
    pub(crate) fn acknowledged(&self) -> (u64, u64) {
        self.acknowledged
    }

    /// From saying to first showing on the other's device, in the order of showing.
    pub(crate) fn latencies_us(&self) -> Vec<u64> {
        self.showings.iter().map(Showing::latency_us).collect()
    }

    /// As [`Self::latencies_us`], of what was said before `end` to people whose device was up from
    /// then until it was shown.
    pub(crate) fn latencies_to_those_who_were_up_us(&self, end: Option<Instant>) -> Vec<u64> {
        let counts =
            |showing: &&Showing| showing.was_up && end.is_none_or(|end| showing.said < end);
        self.showings.iter().filter(counts).map(Showing::latency_us).collect()
    }

    /// Texts that were taken before `end` and must arrive, and those of them that have.
    pub(crate) fn delivered(&self, end: Option<Instant>) -> (u64, u64) {
        let texts = self.records.iter().filter(|record| {
            record.act == Act::Say
                && record.is_bound()
                && end.is_none_or(|end| record.at < end)
                && !self.is_excused(record.by, record.to)
        });
        let arrived = texts.clone().filter(|record| record.arrived);
        (texts.count() as u64, arrived.count() as u64)
    }

    fn recent(&self, by: u32, to: u32, fits: fn(&Record) -> bool) -> Vec<(Operation, Reference)> {
        let done = self.sides.get(&(by, to)).map_or(&[][..], |side| &side.done);
        let named = done.iter().rev().take(LOOKED_BACK).filter_map(|operation| {
            let record = self.record(*operation).filter(|record| record.act == Act::Say)?;
            let place =
                record.place.filter(|_| fits(record) && record.answer != Answer::Refused)?;
            Some((*operation, place.id.reference()))
        });
        let mut recent: Vec<_> = named.take(RECENT).collect();
        recent.reverse();
        recent
    }

    fn record(&self, operation: Operation) -> Option<&Record> {
        self.records.get(operation.0 as usize)
    }

    fn record_mut(&mut self, operation: Operation) -> Option<&mut Record> {
        self.records.get_mut(operation.0 as usize)
    }

    /// All that both have said in a conversation.
    fn said(&self, a: u32, b: u32) -> Vec<Operation> {
        let sides = [(a, b), (b, a)].into_iter().filter_map(|key| self.sides.get(&key));
        let done = sides.flat_map(|side| side.done.iter().copied());
        done.filter(|operation| {
            self.record(*operation).is_some_and(|record| record.act == Act::Say)
        })
        .collect()
    }

    fn is_excused(&self, a: u32, b: u32) -> bool {
        self.excused.contains(&(a.min(b), a.max(b)))
    }

    /// Returns a message that had to be shown before this one and is not. The dependencies of a
    /// shown message were checked when that was shown; those of an own message that the home
    /// refused permanently are demanded in its place.
    fn missing(
        &self,
        operation: Operation,
        shown: impl Fn(Operation) -> bool,
    ) -> Option<Operation> {
        let mut next = vec![operation];
        while let Some(record) = next.pop().and_then(|operation| self.record(operation)) {
            for saw in &record.saw {
                if self.record(*saw).is_some_and(|saw| saw.by == record.by && saw.is_refused()) {
                    next.push(*saw);
                } else if !shown(*saw) {
                    return Some(*saw);
                }
            }
            let Some(before) = record.after else { continue };
            if !self.record(before).is_some_and(Record::must_be_shown) {
                next.push(before);
            } else if !shown(before) {
                return Some(before);
            }
        }
        None
    }
}

impl Showing {
    fn latency_us(&self) -> u64 {
        u64::try_from(self.shown.since(self.said).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Record {
    /// Returns whether it is a message whose author was told that it is safe, and was not told that
    /// the node refused it permanently: in that case what follows was sealed again without it.
    fn must_be_shown(&self) -> bool {
        self.act == Act::Say && self.is_bound() && !self.is_refused()
    }

    /// Its author's device says that the home will never take it, so nothing depends on it.
    fn is_refused(&self) -> bool {
        self.status == Some(DeliveryStatus::Refused)
    }

    fn is_bound(&self) -> bool {
        matches!(self.answer, Answer::Taken | Answer::Waits)
    }

    fn shown_on(&mut self, person: u32) -> &mut bool {
        if self.by == person { &mut self.here } else { &mut self.there }
    }

    fn is_shown_on(&self, person: u32) -> bool {
        if self.by == person { self.here } else { self.there }
    }
}

/// How many messages there are to choose from for edits, deletions and reactions.
const RECENT: usize = 8;
/// How many operations are looked at for those.
const LOOKED_BACK: usize = 64;
