//! What must be so in the end, when all is quiet.

use std::collections::BTreeSet;

use client::{DeliveryStatus, view::MessageView};
use proto::Instant;

use super::{Act, Answer, Model, Operation, show::Found, words};
use crate::{Rule, Violation};

/// A conversation as one person's device shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline<'a> {
    pub(crate) person: u32,
    pub(crate) messages: &'a [MessageView],
}

impl Model {
    /// Checks a conversation in the end, from what the devices of both show.
    pub(crate) fn compare(
        &mut self,
        one: Timeline<'_>,
        other: Timeline<'_>,
        now: Instant,
    ) -> Vec<Violation> {
        let (a, of_a) = (one.person, one.messages);
        let (b, of_b) = (other.person, other.messages);
        let mut at_a = Found::new(a, b, now);
        let mut at_b = Found::new(b, a, now);
        let listed_a = self.check_timeline(of_a, &mut at_a);
        let listed_b = self.check_timeline(of_b, &mut at_b);
        for (person, listed) in [(a, &listed_a), (b, &listed_b)] {
            for operation in listed {
                let Some(record) = self.record_mut(*operation) else { continue };
                record.arrived |= record.by != person;
            }
        }
        self.observe_statuses(of_a, &mut at_a);
        self.observe_statuses(of_b, &mut at_b);
        if !self.is_excused(a, b) {
            self.count_acknowledged(a, b, [&listed_a, &listed_b]);
            for (timeline, listed, found) in
                [(of_a, &listed_a, &mut at_a), (of_b, &listed_b, &mut at_b)]
            {
                self.check_complete(listed, found);
                self.check_folded(timeline, found);
            }
            check_same(of_a, of_b, &mut at_a);
        }
        [at_a.into_violations(), at_b.into_violations()].concat()
    }

    /// Counts what authors were told is stored, and what of it the other one does not have.
    fn count_acknowledged(&mut self, a: u32, b: u32, listed: [&BTreeSet<Operation>; 2]) {
        let [at_a, at_b] = listed;
        let (mut all, mut lost) = self.acknowledged;
        for operation in self.said(a, b) {
            let Some(record) = self.record(operation) else { continue };
            if matches!(
                record.status,
                Some(DeliveryStatus::Stored | DeliveryStatus::Delivered | DeliveryStatus::Read)
            ) {
                let there = if record.by == a { at_b } else { at_a };
                all = all.saturating_add(1);
                lost = lost.saturating_add(u64::from(!there.contains(&operation)));
            }
        }
        self.acknowledged = (all, lost);
    }

    fn check_complete(&self, listed: &BTreeSet<Operation>, found: &mut Found) {
        for operation in self.said(found.person, found.with) {
            let Some(record) = self.record(operation) else { continue };
            if !listed.contains(&operation) {
                if record.is_bound() {
                    found.add(Rule::Lost, format_args!("{operation:?} is not there"));
                } else if record.is_shown_on(found.person) {
                    found.add(Rule::Lost, format_args!("{operation:?} was shown and is gone"));
                }
            } else if record.by == found.person
                && !matches!(record.status, Some(DeliveryStatus::Delivered | DeliveryStatus::Read))
            {
                found.add(
                    Rule::DeliveryStatus,
                    format_args!("{operation:?} is still {:?}", record.status),
                );
            }
        }
    }

    /// Checks that each message shows the last that was said about it.
    fn check_folded(&self, timeline: &[MessageView], found: &mut Found) {
        for view in timeline {
            let Some(operation) = self.named.get(&view.key.id.reference()) else { continue };
            let Some(record) = self.record(*operation) else { continue };
            if let Some(text) = &view.text {
                let deletions =
                    self.outcomes(*operation, record.by, |act| matches!(act, Act::Delete(_)));
                if !deletions.contains(&None) {
                    found.add(Rule::Lost, format_args!("{operation:?} was deleted and is shown"));
                }
                let edits = self.outcomes(*operation, record.by, |act| matches!(act, Act::Edit(_)));
                let edit = words::operation_of(text).filter(|edit| edit != operation);
                if !edits.contains(&edit) {
                    let text = format_args!("{operation:?} shows {edit:?} instead of {edits:?}");
                    found.add(Rule::Lost, text);
                }
            }
            for person in [found.person, found.with] {
                let given = self.reaction(view, person);
                let reactions =
                    self.outcomes(*operation, person, |act| matches!(act, Act::React(..)));
                if !reactions.iter().any(|reaction| self.emoji(*reaction) == given) {
                    let text = format_args!(
                        "{operation:?} shows \"{given}\" by {person} instead of {reactions:?}"
                    );
                    found.add(Rule::Lost, text);
                }
            }
        }
    }

    /// What may be the last thing of a kind that a person has done about a message: the last that
    /// was taken, if any, or one that is unsure. Of those before a crash even the older may win:
    /// a device that lost it does not depend on it, so it may stand behind the newer.
    fn outcomes(
        &self,
        target: Operation,
        person: u32,
        is_it: impl Fn(&Act) -> bool,
    ) -> BTreeSet<Option<Operation>> {
        let mut last = None;
        let mut outcomes = BTreeSet::new();
        for operation in self.about.get(&target).into_iter().flatten() {
            let record = self.record(*operation).filter(|record| record.by == person);
            let Some(record) = record.filter(|record| is_it(&record.act)) else { continue };
            match record.answer {
                Answer::Taken | Answer::Waits => last = Some(*operation),
                Answer::None => _ = outcomes.insert(Some(*operation)),
                Answer::Refused => {}
            }
        }
        outcomes.insert(last);
        outcomes
    }

    fn reaction<'a>(&self, view: &'a MessageView, person: u32) -> &'a str {
        let mut reactions = view.reactions.iter();
        let theirs = reactions.find(|(account, _)| self.people.get(account) == Some(&person));
        theirs.map_or("", |(_, emoji)| emoji)
    }

    fn emoji(&self, reaction: Option<Operation>) -> &str {
        match reaction.and_then(|operation| self.record(operation)).map(|record| &record.act) {
            Some(Act::React(_, emoji)) => emoji,
            Some(Act::Say | Act::Edit(_) | Act::Delete(_)) | None => "",
        }
    }
}

/// Checks that both devices show the same; tells of the first difference.
fn check_same(ours: &[MessageView], theirs: &[MessageView], found: &mut Found) {
    let same = |(a, b): &(&MessageView, &MessageView)| {
        a.key == b.key
            && a.text == b.text
            && a.edited == b.edited
            && a.reactions == b.reactions
            && a.reply_to == b.reply_to
            && a.sent_at_s == b.sent_at_s
    };
    if let Some((a, b)) = ours.iter().zip(theirs).find(|pair| !same(pair)) {
        found.add(Rule::Order, format_args!("here {a:?}, there {b:?}"));
    } else if ours.len() != theirs.len() {
        let text = format_args!("{} messages here, {} there", ours.len(), theirs.len());
        found.add(Rule::Order, text);
    }
}
