//! Ada and Ben talk, Cleo talks with Ada. Messages stand in the order of their deeds.

mod finish;
mod show;

use std::collections::BTreeMap;

use client::view::MessageView;

use super::*;
use crate::{Rule, Violation};

const ADA: u32 = 0;
const BEN: u32 = 1;
const CLEO: u32 = 2;

fn model() -> Model {
    let mut model = Model::new();
    for person in [ADA, BEN, CLEO] {
        model.names(person, account(person));
    }
    model
}

fn account(person: u32) -> AccountId {
    AccountId([u8::try_from(person).unwrap(); 32])
}

fn id(deed: Deed) -> EnvelopeId {
    EnvelopeId([u8::try_from(deed.0).unwrap(); 32])
}

/// What no device answers. Ada does everything at 0 s, Ben at 1 s.
fn unsure(model: &mut Model, by: u32, to: u32, act: Act) -> Deed {
    model.does(by, to, act, at(u64::from(by))).0
}

fn does(model: &mut Model, by: u32, to: u32, act: Act) -> Deed {
    let deed = unsure(model, by, to, act);
    model.taken(deed, Some(id(deed)));
    deed
}

fn says(model: &mut Model, by: u32, to: u32) -> Deed {
    does(model, by, to, Act::Say)
}

fn at(second: u64) -> Instant {
    Instant::from_secs(second)
}

/// A message as it was said.
fn view(model: &Model, deed: Deed, person: u32) -> MessageView {
    let own = model.record(deed).unwrap().by == person;
    MessageView {
        place: Place { position: u64::from(deed.0) + 1, id: id(deed) },
        own,
        sent_at_s: 0,
        text: Some(words::text_of(deed)),
        edited: false,
        reply_to: None,
        reactions: BTreeMap::new(),
        mark: own.then_some(Mark::Delivered),
        holders: Vec::new(),
    }
}

fn views(model: &Model, deeds: &[Deed], person: u32) -> Vec<MessageView> {
    deeds.iter().map(|deed| view(model, *deed, person)).collect()
}

fn sent(mut view: MessageView) -> MessageView {
    view.mark = Some(Mark::Sent);
    view
}

fn edited(view: MessageView, by: Deed) -> MessageView {
    MessageView { text: Some(words::text_of(by)), edited: true, ..view }
}

fn deleted(view: MessageView) -> MessageView {
    MessageView { text: None, ..view }
}

fn reacted(mut view: MessageView, by: u32, emoji: &str) -> MessageView {
    view.reactions.insert(account(by), emoji.into());
    view
}

fn rules(violations: &[Violation]) -> Vec<Rule> {
    violations.iter().map(|violation| violation.rule).collect()
}

/// Shows messages as they were said, those of one's own as just sent.
fn shows(model: &mut Model, person: u32, with: u32, deeds: &[Deed]) -> Vec<Rule> {
    let new: Vec<_> = views(model, deeds, person)
        .into_iter()
        .map(|view| if view.own { sent(view) } else { view })
        .collect();
    rules(&model.shows(person, with, &new, at(10)))
}

fn restarted(model: &mut Model, person: u32, with: u32, deeds: &[Deed]) -> Vec<Rule> {
    let timeline: Vec<_> = views(model, deeds, person)
        .into_iter()
        .map(|view| if view.own { sent(view) } else { view })
        .collect();
    rules(&model.restarted(person, with, &timeline, at(10)))
}

/// What the two between Ada and Ben show in the end, if both show these messages, changed so.
fn ends(
    model: &mut Model,
    deeds: &[Deed],
    change: impl Fn(Deed, MessageView) -> MessageView,
) -> Vec<Rule> {
    let of = |model: &Model, person| -> Vec<_> {
        deeds.iter().map(|deed| change(*deed, view(model, *deed, person))).collect()
    };
    let (ada, ben) = (of(model, ADA), of(model, BEN));
    rules(&model.compare((ADA, BEN), [&ada, &ben], at(99)))
}

fn ends_as_said(model: &mut Model, deeds: &[Deed]) -> Vec<Rule> {
    ends(model, deeds, |_, view| view)
}

#[test]
fn what_is_right_is_passed_over_in_silence() {
    let mut model = model();
    let hello = says(&mut model, ADA, BEN);
    assert_eq!(shows(&mut model, ADA, BEN, &[hello]), []);
    assert_eq!(shows(&mut model, BEN, ADA, &[hello]), []);
    let answer = says(&mut model, BEN, ADA);
    assert_eq!(shows(&mut model, BEN, ADA, &[answer]), []);
    let edit = does(&mut model, ADA, BEN, Act::Edit(hello));
    let heart = does(&mut model, BEN, ADA, Act::React(hello, "heart".into()));
    assert_eq!(shows(&mut model, ADA, BEN, &[answer]), []);
    let gone = does(&mut model, BEN, ADA, Act::Delete(answer));
    assert!(edit < heart && heart < gone);

    assert_eq!(model.shown_recent(ADA, BEN), [hello, answer].map(|d| (d, id(d).reference())));
    assert_eq!(model.own_recent(BEN, ADA), [(answer, id(answer).reference())]);
    assert_eq!((model.said_count(), model.shown_count()), (5, 2));
    assert_eq!(model.latencies_us(), [10_000_000, 9_000_000]);
    let change = |deed, view| {
        if deed == hello { reacted(edited(view, edit), BEN, "heart") } else { deleted(view) }
    };
    assert_eq!(ends(&mut model, &[hello, answer], change), []);
}

#[test]
fn recent_messages_are_few_and_in_order() {
    let mut model = model();
    let said: Vec<_> = (0..20).map(|_| says(&mut model, ADA, BEN)).collect();
    let answer = says(&mut model, BEN, ADA);
    let deeds = |recent: Vec<(Deed, Reference)>| recent.into_iter().map(|(deed, _)| deed);
    assert!(deeds(model.own_recent(ADA, BEN)).eq(said[12..].iter().copied()));
    assert_eq!(model.shown_recent(BEN, ADA), []);
    shows(&mut model, BEN, ADA, &said);
    shows(&mut model, BEN, ADA, &[answer]);
    let shown = said[13..].iter().copied().chain([answer]);
    assert!(deeds(model.shown_recent(BEN, ADA)).eq(shown));
    assert_eq!(model.latencies_us().iter().min(), Some(&10_000_000));
}

#[test]
fn what_is_said_in_peace_or_to_who_is_away_is_not_counted_among_the_rest() {
    let mut model = model();
    model.started(BEN, at(0));
    let soon = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[soon]);
    let (late, lost) = (says(&mut model, ADA, BEN), says(&mut model, ADA, BEN));
    model.started(BEN, at(1));
    shows(&mut model, BEN, ADA, &[late]);
    let in_peace = says(&mut model, BEN, ADA);
    assert!(lost < in_peace);
    let counted = |end| (model.latencies_to_those_who_were_up_us(end).len(), model.delivered(end));
    assert_eq!(model.latencies_us().len(), 2);
    assert_eq!(counted(None), (1, (4, 2)));
    assert_eq!(counted(Some(at(1))), (1, (3, 2)));
    assert_eq!(counted(Some(at(0))), (0, (0, 0)));
}
