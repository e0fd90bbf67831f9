//! Ada and Ben talk, Cleo talks with Ada. Messages stand in the order of their operations.

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

fn id(operation: Operation) -> EnvelopeId {
    EnvelopeId([u8::try_from(operation.0).unwrap(); 32])
}

/// What no device answers. Ada does everything at 0 s, Ben at 1 s.
fn unsure(model: &mut Model, by: u32, to: u32, act: Act) -> Operation {
    model.does(by, to, act, at(u64::from(by))).0
}

fn does(model: &mut Model, by: u32, to: u32, act: Act) -> Operation {
    let operation = unsure(model, by, to, act);
    model.taken(operation, Some(id(operation)));
    operation
}

fn says(model: &mut Model, by: u32, to: u32) -> Operation {
    does(model, by, to, Act::Say)
}

/// Compares what Ada's and Ben's devices show of their conversation.
fn compare(model: &mut Model, shown: [&[MessageView]; 2], second: u64) -> Vec<Violation> {
    let [ada, ben] = shown;
    let ada = Timeline { person: ADA, messages: ada };
    model.compare(ada, Timeline { person: BEN, messages: ben }, at(second))
}

fn at(second: u64) -> Instant {
    Instant::from_secs(second)
}

/// A message as it was said.
fn view(model: &Model, operation: Operation, person: u32) -> MessageView {
    let by = model.record(operation).unwrap().by;
    let own = by == person;
    let view = MessageView {
        key: TimelineKey { position: u64::from(operation.0) + 1, id: id(operation) },
        author: AccountId([u8::try_from(by).unwrap_or(u8::MAX); 32]),
        own,
        sent_at_s: 0,
        text: Some(words::text_of(operation)),
        edited: false,
        reply_to: None,
        reactions: BTreeMap::new(),
        status: None,
        receipts: BTreeMap::new(),
        acks: Vec::new(),
    };
    with_status(view, own.then_some(DeliveryStatus::Delivered))
}

/// The same with another status, and the receipt that belongs to it.
fn with_status(mut view: MessageView, status: Option<DeliveryStatus>) -> MessageView {
    let receipt =
        status.filter(|s| (DeliveryStatus::Delivered..DeliveryStatus::Refused).contains(s));
    view.status = status;
    view.receipts = receipt.into_iter().map(|status| (AccountId([u8::MAX; 32]), status)).collect();
    view
}

fn views(model: &Model, operations: &[Operation], person: u32) -> Vec<MessageView> {
    operations.iter().map(|operation| view(model, *operation, person)).collect()
}

fn sent(view: MessageView) -> MessageView {
    with_status(view, Some(DeliveryStatus::Sent))
}

fn edited(view: MessageView, by: Operation) -> MessageView {
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
fn shows(model: &mut Model, person: u32, with: u32, operations: &[Operation]) -> Vec<Rule> {
    let new: Vec<_> = views(model, operations, person)
        .into_iter()
        .map(|view| if view.own { sent(view) } else { view })
        .collect();
    rules(&model.shows(person, with, &new, at(10)))
}

fn restarted(model: &mut Model, person: u32, with: u32, operations: &[Operation]) -> Vec<Rule> {
    let timeline: Vec<_> = views(model, operations, person)
        .into_iter()
        .map(|view| if view.own { sent(view) } else { view })
        .collect();
    rules(&model.restarted(person, with, &timeline, at(10)))
}

/// What the two between Ada and Ben show in the end, if both show these messages, changed so.
fn ends(
    model: &mut Model,
    operations: &[Operation],
    change: impl Fn(Operation, MessageView) -> MessageView,
) -> Vec<Rule> {
    let of = |model: &Model, person| -> Vec<_> {
        operations
            .iter()
            .map(|operation| change(*operation, view(model, *operation, person)))
            .collect()
    };
    let (ada, ben) = (of(model, ADA), of(model, BEN));
    rules(&compare(model, [&ada, &ben], 99))
}

fn ends_as_said(model: &mut Model, operations: &[Operation]) -> Vec<Rule> {
    ends(model, operations, |_, view| view)
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
    let change = |operation, view| {
        if operation == hello { reacted(edited(view, edit), BEN, "heart") } else { deleted(view) }
    };
    assert_eq!(ends(&mut model, &[hello, answer], change), []);
}

#[test]
fn recent_messages_are_few_and_in_order() {
    let mut model = model();
    let said: Vec<_> = (0..20).map(|_| says(&mut model, ADA, BEN)).collect();
    let answer = says(&mut model, BEN, ADA);
    let operations =
        |recent: Vec<(Operation, Reference)>| recent.into_iter().map(|(operation, _)| operation);
    assert!(operations(model.own_recent(ADA, BEN)).eq(said[12..].iter().copied()));
    assert_eq!(model.shown_recent(BEN, ADA), []);
    shows(&mut model, BEN, ADA, &said);
    shows(&mut model, BEN, ADA, &[answer]);
    let shown = said[13..].iter().copied().chain([answer]);
    assert!(operations(model.shown_recent(BEN, ADA)).eq(shown));
    assert_eq!(model.latencies_us().iter().min(), Some(&10_000_000));
}

#[test]
fn what_is_said_after_the_faults_or_to_a_stopped_device_is_not_counted_among_the_rest() {
    let mut model = model();
    model.started(BEN, at(0));
    let soon = says(&mut model, ADA, BEN);
    shows(&mut model, BEN, ADA, &[soon]);
    let (late, lost) = (says(&mut model, ADA, BEN), says(&mut model, ADA, BEN));
    model.started(BEN, at(1));
    shows(&mut model, BEN, ADA, &[late]);
    let after_faults = says(&mut model, BEN, ADA);
    assert!(lost < after_faults);
    let counted = |end| (model.latencies_to_those_who_were_up_us(end).len(), model.delivered(end));
    assert_eq!(model.latencies_us().len(), 2);
    assert_eq!(counted(None), (1, (4, 2)));
    assert_eq!(counted(Some(at(1))), (1, (3, 2)));
    assert_eq!(counted(Some(at(0))), (0, (0, 0)));
}
