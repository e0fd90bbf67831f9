//! What devices show while the run goes on.

use std::collections::BTreeSet;

use client::{DeliveryStatus, TimelineKey, view::MessageView};
use proto::Instant;

use super::{Act, Answer, Model, Operation, Showing};
use crate::{Rule, Violation};

/// What is wrong with what one device shows of one conversation.
pub(super) struct Found {
    pub(super) person: u32,
    pub(super) with: u32,
    now: Instant,
    violations: Vec<Violation>,
}

impl Found {
    pub(super) fn new(person: u32, with: u32, now: Instant) -> Self {
        Self { person, with, now, violations: Vec::new() }
    }

    pub(super) fn add(&mut self, rule: Rule, text: impl std::fmt::Display) {
        let text = format!("person {} with {}: {text}", self.person, self.with);
        self.violations.push(Violation { rule, at: self.now, text });
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}

impl Model {
    /// A device shows more of a conversation, in the order in which it came to be shown.
    pub(crate) fn shows(
        &mut self,
        person: u32,
        with: u32,
        new: &[MessageView],
        now: Instant,
    ) -> Vec<Violation> {
        let mut found = Found::new(person, with, now);
        for view in new {
            let before = self.named.contains_key(&view.key.id.reference());
            let Some(operation) = self.recognise(view, &mut found) else { continue };
            // An entry that a node refused is sealed again, which moves it on its author's device.
            let moved = view.own && !before;
            if self.is_shown(operation, person) && !moved {
                found.add(Rule::Twice, format_args!("{operation:?} is shown again"));
                continue;
            }
            if let Some(missing) = self.missing(operation, |before| self.is_shown(before, person)) {
                found.add(
                    Rule::Dependency,
                    format_args!("{operation:?} is shown without {missing:?}"),
                );
            }
            self.show(operation, person, now);
            self.observe_status(operation, view, &mut found);
            let side = self.sides.entry((person, with)).or_default();
            // One's own operations depend on each other without being shown.
            if !view.own || operation.0 < side.since {
                side.saw.push(operation);
            }
        }
        found.into_violations()
    }

    /// A device has started again, with rows that show this of one of its conversations; whatever
    /// it had not answered stays unsure. `shows` takes what arrives after that.
    pub(crate) fn restarted(
        &mut self,
        person: u32,
        with: u32,
        timeline: &[MessageView],
        now: Instant,
    ) -> Vec<Violation> {
        let mut found = Found::new(person, with, now);
        let listed = self.check_timeline(timeline, &mut found);
        self.check_rows(&listed, &mut found);
        for operation in self.said(person, with) {
            self.rest(operation, person, listed.contains(&operation));
        }
        for operation in &listed {
            if !self.is_shown(*operation, person) {
                self.show(*operation, person, now);
            }
        }
        self.observe_statuses(timeline, &mut found);
        let saw = self.heads(&listed);
        let since = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let side = self.sides.entry((person, with)).or_default();
        (side.saw, side.last, side.since) = (saw, None, since);
        found.into_violations()
    }

    /// A device shows these marks beside its own messages.
    pub(crate) fn statuses(
        &mut self,
        person: u32,
        with: u32,
        timeline: &[MessageView],
        now: Instant,
    ) -> Vec<Violation> {
        let mut found = Found::new(person, with, now);
        self.observe_statuses(timeline, &mut found);
        found.into_violations()
    }

    pub(super) fn observe_statuses(&mut self, timeline: &[MessageView], found: &mut Found) {
        for view in timeline.iter().filter(|view| view.own) {
            if let Some(operation) = self.named.get(&view.key.id.reference()) {
                self.observe_status(*operation, view, found);
            }
        }
    }

    /// Checks a whole timeline by itself. Returns the messages that it shows.
    pub(super) fn check_timeline(
        &mut self,
        timeline: &[MessageView],
        found: &mut Found,
    ) -> BTreeSet<Operation> {
        let mut listed = BTreeSet::new();
        let (mut last_own, mut last_other, mut last_place) = (None, None, None);
        for view in timeline {
            if last_place.is_some_and(|last| last >= view.key) {
                found.add(Rule::Order, format_args!("{:?} stands too late", view.key));
            }
            last_place = Some(view.key);
            let Some(operation) = self.recognise(view, found) else { continue };
            if let Some(missing) = self.missing(operation, |before| listed.contains(&before)) {
                found
                    .add(Rule::Dependency, format_args!("{operation:?} stands before {missing:?}"));
            }
            if !listed.insert(operation) {
                found.add(Rule::Twice, format_args!("{operation:?} stands there twice"));
            }
            let last = if view.own { &mut last_own } else { &mut last_other };
            // What follows something that its node will never take gets the same position.
            if view.status != Some(DeliveryStatus::Refused)
                && self.record(operation).is_some_and(|record| record.is_bound())
                && let Some(last) = last.replace(operation).filter(|last| *last > operation)
            {
                found.add(Rule::Order, format_args!("{operation:?} was said before {last:?}"));
            }
        }
        listed
    }

    /// Checks that rows still have what they were said to have.
    fn check_rows(&self, listed: &BTreeSet<Operation>, found: &mut Found) {
        if self.is_excused(found.person, found.with) {
            return;
        }
        for operation in self.said(found.person, found.with) {
            let Some(record) = self.record(operation).filter(|_| !listed.contains(&operation))
            else {
                continue;
            };
            if record.by == found.person && record.answer == Answer::Taken {
                found.add(Rule::Lost, format_args!("{operation:?} was safe and did not last"));
            }
            if record.by != found.person
                && record.acknowledged
                && !self.was_said_too_soon(operation, found.person)
            {
                found.add(
                    Rule::DeliveryStatus,
                    format_args!("{operation:?} was delivered and did not last"),
                );
            }
        }
    }

    /// Messages leave a device while its disk still writes (`spec/delivery.md`, section 3). One
    /// that a crash made unsure may so have told that what it depends on is delivered.
    fn was_said_too_soon(&self, operation: Operation, person: u32) -> bool {
        let Some(record) = self.record(operation) else { return false };
        let done = self.sides.get(&(person, record.by)).map_or(&[][..], |side| &side.done);
        let later = done.iter().rev().take_while(|later| **later > operation);
        later.filter_map(|later| self.record(*later)).any(|later| later.answer == Answer::None)
    }

    /// Resets what a device shows of a message to what its rows had.
    fn rest(&mut self, operation: Operation, person: u32, listed: bool) {
        let Some(record) = self.record_mut(operation) else { return };
        if !listed {
            *record.shown_on(person) = false;
        }
        if record.by == person {
            record.status = None;
            // It will be sealed again once the contact has accepted.
            if !listed && !record.arrived && record.answer == Answer::Waits {
                record.place = None;
            }
        }
    }

    /// Those of these messages on which none of them is known to depend.
    fn heads(&self, listed: &BTreeSet<Operation>) -> Vec<Operation> {
        let records = || listed.iter().filter_map(|operation| self.record(*operation));
        let mut heads = listed.clone();
        for record in records() {
            for below in &record.saw {
                heads.remove(below);
            }
            if let Some(before) = record.after
                && self.record(before).is_some_and(|before| before.must_be_shown())
            {
                heads.remove(&before);
            }
        }
        heads.into_iter().collect()
    }

    /// Finds the operation that a message is, and checks that it says what was said.
    fn recognise(&mut self, view: &MessageView, found: &mut Found) -> Option<Operation> {
        let Some(operation) = self.operation_in(view, found) else {
            found.add(Rule::Forged, format_args!("no person said {view:?}"));
            return None;
        };
        self.confirm(operation, view, found);
        for (account, emoji) in &view.reactions {
            let person = self.people.get(account);
            let is_it = |act: &Act| matches!(act, Act::React(_, given) if given == emoji);
            if !person.is_some_and(|person| self.may_have_done(operation, *person, is_it)) {
                let text =
                    format_args!("no reaction {emoji} of {account:?} was given to {operation:?}");
                found.add(Rule::Forged, text);
            }
        }
        Some(operation)
    }

    fn operation_in(&self, view: &MessageView, found: &Found) -> Option<Operation> {
        let (by, to) =
            if view.own { (found.person, found.with) } else { (found.with, found.person) };
        let said = |operation: Operation| {
            let record = self.record(operation)?;
            let right = record.by == by && record.to == to && record.answer != Answer::Refused;
            right.then_some(record)
        };
        let Some(text) = &view.text else {
            let operation = *self.named.get(&view.key.id.reference())?;
            said(operation)?;
            let is_it = |act: &Act| matches!(act, Act::Delete(_));
            return self.may_have_done(operation, by, is_it).then_some(operation);
        };
        let words = super::words::operation_of(text)?;
        let operation = match said(words)?.act {
            Act::Say => words,
            Act::Edit(target) => target,
            Act::Delete(_) | Act::React(..) => return None,
        };
        let right = said(operation)?.act == Act::Say && view.edited == (words != operation);
        right.then_some(operation)
    }

    /// Returns whether a person has done something like this to a message, or may have.
    fn may_have_done(&self, target: Operation, person: u32, is_it: impl Fn(&Act) -> bool) -> bool {
        let about = self.about.get(&target).map_or(&[][..], |about| about);
        about.iter().filter_map(|operation| self.record(*operation)).any(|record| {
            record.by == person && record.answer != Answer::Refused && is_it(&record.act)
        })
    }

    /// One operation has one place, wherever it is shown.
    fn confirm(&mut self, operation: Operation, view: &MessageView, found: &mut Found) {
        let named = *self.named.entry(view.key.id.reference()).or_insert(operation);
        if named != operation {
            found.add(Rule::Forged, format_args!("{operation:?} stands where {named:?} does"));
        }
        let Some(record) = self.record_mut(operation) else { return };
        match record.place {
            // No other device has seen it at its old place.
            Some(place) if place.id != view.key.id && !record.arrived => {
                record.place = Some(view.key);
                record.status = None;
            }
            Some(place) if place.id != view.key.id => {
                found.add(
                    Rule::Twice,
                    format_args!("{operation:?} is at {place:?}, {:?}", view.key),
                );
            }
            Some(place) if place.position != 0 && place != view.key => {
                found.add(
                    Rule::Order,
                    format_args!("{operation:?} is at {place:?}, {:?}", view.key),
                );
            }
            Some(_) | None => record.place = Some(view.key),
        }
    }

    /// A device reports the new place of one of its own messages that was sealed again.
    pub(crate) fn moved(&mut self, operation: Operation, place: TimelineKey) {
        self.named.entry(place.id.reference()).or_insert(operation);
        if let Some(record) = self.record_mut(operation).filter(|record| !record.arrived) {
            record.place = Some(place);
            record.status = None;
            // It is about to be shown there.
            record.here = false;
        }
    }

    fn is_shown(&self, operation: Operation, person: u32) -> bool {
        self.record(operation).is_some_and(|record| record.is_shown_on(person))
    }

    fn show(&mut self, operation: Operation, person: u32, now: Instant) {
        let Some(record) = self.records.get_mut(operation.0 as usize) else { return };
        *record.shown_on(person) = true;
        if record.by == person {
            return;
        }
        self.shown = self.shown.saturating_add(1);
        if !record.arrived {
            record.arrived = true;
            let said = record.at;
            let was_up = self.up_since.get(&person).is_some_and(|since| *since <= said);
            self.showings.push(Showing { said, shown: now, was_up });
        }
    }

    fn observe_status(&mut self, operation: Operation, view: &MessageView, found: &mut Found) {
        let status = view.status;
        if !is_folded(view) {
            found.add(
                Rule::DeliveryStatus,
                format_args!("{operation:?} is {status:?}, its receipts are {:?}", view.receipts),
            );
        }
        let Some(record) = self.record_mut(operation) else { return };
        if record.by != found.person {
            if status.is_some() {
                found.add(
                    Rule::DeliveryStatus,
                    format_args!("{operation:?} is not one's own, yet {status:?}"),
                );
            }
            return;
        }
        if record.status > status {
            found.add(
                Rule::DeliveryStatus,
                format_args!("{operation:?} went from {:?} to {status:?}", record.status),
            );
        }
        record.status = status;
        if matches!(status, Some(DeliveryStatus::Delivered | DeliveryStatus::Read)) {
            record.acknowledged = true;
            if !record.arrived {
                found.add(
                    Rule::DeliveryStatus,
                    format_args!("{operation:?} is {status:?}, but was never shown"),
                );
            }
        }
    }
}

/// Returns whether the status is that of the last member: the contact is the only one.
fn is_folded(view: &MessageView) -> bool {
    let last = view.receipts.values().min().copied();
    let is_received = matches!(view.status, Some(DeliveryStatus::Delivered | DeliveryStatus::Read));
    view.status == Some(DeliveryStatus::Refused)
        || if is_received { view.status == last } else { last.is_none() }
}
