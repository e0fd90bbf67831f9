//! What a node will never take, and what nobody has: nothing that was said is lost with it, and the
//! world becomes quiet.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod world;

use std::time::Duration;

use client::{Action, Mark, Reply, view};
use proto::{AccountId, Body, Code, Frame, limits};
use world::World;

const DAY: Duration = Duration::from_secs(25 * 3600);

fn fetches(body: &Body) -> bool {
    matches!(body, Body::Fetch { .. })
}

fn appends(body: &Body) -> bool {
    matches!(body, Body::Append { .. })
}

fn send(world: &mut World, by: usize, to: AccountId, text: &str) -> Reply {
    world.tell(by, Action::Send { contact: to, text: text.to_owned().into(), reply_to: None });
    world.answer(by).unwrap()
}

/// Ada thinks that her node has something that it never got.
fn one_entry_is_nowhere(seed: u8) -> (World, AccountId, AccountId) {
    let (mut world, ada, ben) = World::acquainted(seed);
    send(&mut world, 0, ben, "nowhere");
    world.lose_all();
    let request = world.frames().into_iter().rfind(|frame| appends(&frame.body)).unwrap().request;
    world.inject(0, Frame { request, body: Body::Accepted { handle: 1, sequence: 0 } });
    (world, ada, ben)
}

#[test]
fn what_waits_itself_is_not_asked_for() {
    let (mut world, ada, ben) = one_entry_is_nowhere(1);
    for i in 0..5 {
        send(&mut world, 0, ben, &format!("{i}"));
        world.run_some(200);
    }
    assert_eq!(world.count(fetches), 1, "the one that is missing, once");
    assert!(world.texts(1, ada).is_empty());
}

#[test]
fn a_node_that_always_has_more_but_gives_nothing_is_not_believed() {
    let (mut world, _, ben) = one_entry_is_nowhere(12);
    world.lost = |frame| matches!(frame.body, Body::Page { .. });
    world.say(0, ben, "depends on it");
    for _ in 0..5 {
        let asked = world.frames().into_iter().rfind(|frame| fetches(&frame.body)).unwrap();
        let body = Body::Page { entries: Vec::new(), more: true };
        world.inject(1, Frame { request: asked.request, body });
    }
    assert_eq!(world.count(fetches), 1);
}

#[test]
fn what_nobody_has_is_asked_for_less_and_less_often() {
    let (mut world, ada, ben) = one_entry_is_nowhere(2);
    world.say(0, ben, "depends on it");
    world.pass(Duration::from_secs(3600));
    let first_hour = world.count(fetches);
    world.pass(DAY);
    let asked = world.count(fetches) - first_hour;
    // Three are the author's, who asks for what its home has signed for.
    assert!((11..=17).contains(&first_hour), "{first_hour}");
    assert!((100..=160).contains(&asked), "every ten minutes: {asked}");
    // A new connection starts anew.
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.wire.clear();
    world.pass(Duration::from_secs(16));
    assert_eq!(world.count(fetches), 3);
    assert!(world.texts(1, ada).is_empty());
}

#[test]
fn a_day_offline_loses_nothing() {
    let (mut world, ada, ben) = World::acquainted(3);
    world.say(0, ben, "before");
    world.pass(Duration::from_secs(2));
    world.set_offline(0, true);
    let old = send(&mut world, 0, ben, "written offline");
    let answered = world.reference(0, ben, "written offline");
    let text = "wirtten too".to_owned().into();
    world.tell(0, Action::Send { contact: ben, text, reply_to: Some(answered) });
    let typo = world.reference(0, ben, "wirtten too");
    let text = "written too".to_owned().into();
    world.tell(0, Action::Edit { contact: ben, target: typo, text });
    let written_at = world.messages(0, ben)[1].sent_at_s;
    world.ask(1, Action::Rekey { contact: ada }).unwrap();
    world.say(1, ada, "meanwhile");
    world.pass(DAY);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    world.say(0, ben, "after");
    world.pass(Duration::from_secs(10));
    let expected = ["before", "meanwhile", "written offline", "written too", "after"];
    for (number, contact) in [(0, ben), (1, ada)] {
        assert_eq!(world.texts(number, contact), expected, "{number}");
        let messages = world.messages(number, contact);
        assert_eq!(messages[3].reply_to, Some(messages[2].place.id));
        assert!(messages[3].edited);
        assert_eq!(messages[2].sent_at_s, written_at, "it was written then");
    }
    assert!(world.marks(0, ben).values().all(|mark| *mark == Mark::Delivered));
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
    // The names that the user was given still stand for the same messages.
    let (Reply::Envelope(old), log) = (old, world.log(0, ben)) else { panic!() };
    assert_eq!(view::mark(world.rows(0), &log, &old.reference()), Some(Mark::Delivered));
    let text = "edited later".to_owned().into();
    let edit = Action::Edit { contact: ben, target: old.reference(), text };
    world.ask(0, edit).unwrap();
    assert_eq!(world.texts(1, ada)[2], "edited later");
    world.wire.clear();
    world.pass(DAY);
    assert!(world.wire.len() < 10, "quiet: {}", world.wire.len());
}

#[test]
fn what_was_read_and_felt_offline_is_told_a_day_later() {
    let (mut world, ada, ben) = World::acquainted(10);
    world.say(1, ada, "question");
    world.pass(Duration::from_secs(2));
    world.set_offline(0, true);
    let question = world.reference(0, ben, "question");
    world.ask(0, Action::MarkRead { contact: ben }).unwrap();
    let reaction = Action::React { contact: ben, target: question, emoji: "👍".into() };
    world.ask(0, reaction).unwrap();
    world.ask(1, Action::Rekey { contact: ada }).unwrap();
    world.pass(DAY);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.marks(1, ada)["question"], Mark::Read);
    assert_eq!(world.messages(1, ada)[0].reactions[&ada], "👍");
    assert_eq!(world.messages(0, ben)[0].reactions[&ada], "👍");
}

#[test]
fn a_day_offline_with_fresh_keys_on_both_sides_loses_nothing() {
    let (mut world, ada, ben) = World::acquainted(4);
    world.set_offline(0, true);
    send(&mut world, 0, ben, "old keys");
    world.tell(0, Action::Rekey { contact: ben });
    send(&mut world, 0, ben, "new keys");
    for _ in 0..2 {
        world.ask(1, Action::Rekey { contact: ada }).unwrap();
        world.say(1, ada, "other new keys");
        world.pass(DAY);
    }
    // A crash of either side in between changes nothing.
    world.set_offline(0, false);
    world.run_some(12);
    world.kill_device(0);
    world.start_device(0);
    world.devices[0].dies_before_commit = true;
    world.pass(Duration::from_secs(10));
    world.say(1, ada, "still here");
    world.say(0, ben, "me too");
    let expected =
        ["other new keys", "other new keys", "old keys", "new keys", "still here", "me too"];
    assert_eq!(world.texts(0, ben), expected);
    assert_eq!(world.texts(1, ada), expected);
}

#[test]
fn what_is_refused_for_good_is_shown_so_and_nothing_depends_on_it() {
    let (mut world, ada, ben) = World::acquainted(5);
    world.say(1, ada, "question");
    send(&mut world, 0, ben, "refused");
    send(&mut world, 0, ben, "behind it");
    world.lose_all();
    let frames = world.frames().into_iter().filter(|frame| appends(&frame.body));
    let mut requests: Vec<_> = frames.map(|frame| frame.request).collect();
    let (behind, refused) = (requests.pop().unwrap(), requests.pop().unwrap());
    let refusal = |request| Frame {
        request,
        body: Body::Refused { code: Code::Malformed, newer: Vec::new() },
    };
    world.inject(0, refusal(refused));
    assert_eq!(world.marks(0, ben)["refused"], Mark::Sent, "the other may have been stored");
    let accepted = Body::Accepted { handle: 1, sequence: 0 };
    world.inject(0, Frame { request: behind, body: accepted });
    world.pass(Duration::from_secs(2));
    assert_eq!(world.texts(1, ada), ["question", "behind it"]);
    assert_eq!(world.marks(0, ben)["refused"], Mark::Refused);
    assert_eq!(world.marks(0, ben)["behind it"], Mark::Delivered);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn a_refusal_of_what_others_have_is_not_believed() {
    let (mut world, ada, ben) = World::acquainted(11);
    world.lost = |frame| matches!(frame.body, Body::Accepted { .. });
    world.say(0, ben, "question");
    world.say(1, ada, "answer");
    world.lost = |_| false;
    let mut frames = world.frames().into_iter().filter(|frame| appends(&frame.body));
    let question = frames
        .rfind(|frame| matches!(&frame.body, Body::Append { entry, .. } if entry.position == 3));
    let body = Body::Refused { code: Code::Malformed, newer: Vec::new() };
    world.inject(0, Frame { request: question.unwrap().request, body });
    world.pass(Duration::from_secs(2));
    world.say(0, ben, "so what");
    let expected = ["question", "answer", "so what"];
    assert_eq!(world.texts(0, ben), expected);
    assert_eq!(world.texts(1, ada), expected);
    assert_eq!(world.marks(0, ben)["question"], Mark::Delivered);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn a_refusal_that_does_not_hold_is_forgotten() {
    let (mut world, ada, ben) = World::acquainted(6);
    send(&mut world, 0, ben, "refused once");
    world.refuse_append(0, Code::Forbidden);
    send(&mut world, 0, ben, "behind it");
    world.pass(Duration::from_secs(6));
    assert_eq!(world.texts(0, ben), ["refused once", "behind it"]);
    assert_eq!(world.texts(1, ada), ["refused once", "behind it"]);
}

#[test]
fn a_receipt_that_is_refused_is_dropped() {
    let (mut world, ada, ben) = World::acquainted(7);
    world.say(1, ada, "question");
    world.wire.clear();
    while world.count(appends) == 0 {
        assert!(world.fire(world.now.after(Duration::from_secs(2))));
    }
    world.refuse_append(0, Code::Malformed);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.marks(1, ada)["question"], Mark::Stored);
    world.say(0, ben, "answer");
    assert_eq!(world.texts(1, ada), ["question", "answer"]);
    assert_eq!(world.marks(1, ada)["question"], Mark::Delivered);
}

#[test]
fn keys_that_the_node_refuses_are_undone() {
    for code in [Code::Forbidden, Code::Invalid] {
        let (mut world, ada, ben) = World::acquainted(8);
        world.tell(0, Action::Rekey { contact: ben });
        send(&mut world, 0, ben, "behind it");
        world.refuse_append(0, code);
        world.pass(Duration::from_secs(6));
        world.say(0, ben, "after");
        world.wire.clear();
        world.pass(Duration::from_secs(3600));
        assert!(world.wire.len() < 10, "quiet: {}", world.wire.len());
        world.kill_device(0);
        world.start_device(0);
        world.set_offline(0, true);
        world.set_offline(0, false);
        world.say(1, ada, "from ben");
        world.ask(0, Action::Rekey { contact: ben }).unwrap();
        world.say(0, ben, "newer keys");
        let expected = ["behind it", "after", "from ben", "newer keys"];
        assert_eq!(world.texts(0, ben), expected, "{code:?}");
        assert_eq!(world.texts(1, ada), expected, "{code:?}");
    }
}

#[test]
fn a_node_that_refuses_for_ever_is_asked_less_and_less_often() {
    let (mut world, ada, ben) = World::acquainted(9);
    send(&mut world, 0, ben, "never taken");
    let mut pauses = Vec::new();
    for _ in 0..10 {
        world.refuse_append(0, Code::Forbidden);
        world.wire.clear();
        let refused_at = world.now;
        while world.count(appends) == 0 {
            assert!(world.fire(world.now.after(DAY)));
        }
        pauses.push(world.now.since(refused_at).as_secs());
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    assert_eq!(world.marks(0, ben)["never taken"], Mark::Sent, "there is hope");
    world.set_offline(0, true);
    world.set_offline(0, false);
    world.run();
    assert_eq!(world.texts(1, ada), ["never taken"]);
}

#[test]
fn what_was_sealed_with_keys_that_are_forgotten_since_is_sealed_anew() {
    let (mut world, ada, ben) = World::acquainted(13);
    world.set_offline(0, true);
    send(&mut world, 0, ben, "old keys");
    world.tell(0, Action::Rekey { contact: ben });
    send(&mut world, 0, ben, "own keys");
    for _ in 0..limits::EPOCHS_OPEN_MAX + 5 {
        world.ask(1, Action::Rekey { contact: ada }).unwrap();
    }
    world.say(1, ada, "newest keys");
    // The node has no room before all of it was delivered, and knows no handle after that.
    world.refused = |frame| matches!(frame.body, Body::Append { .. }).then_some(Code::Busy);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(60));
    world.refused = |_| None;
    world.set_offline(0, true);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(60));
    let expected = ["newest keys", "old keys", "own keys"];
    assert_eq!(world.texts(0, ben), expected);
    assert_eq!(world.texts(1, ada), expected);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn keys_that_the_node_knows_are_never_forgotten() {
    let (mut world, ada, ben) = World::acquainted(14);
    world.set_offline(0, true);
    let changed: Vec<_> = (0..limits::EPOCHS_OPEN_MAX + 5)
        .map(|_| {
            world.tell(0, Action::Rekey { contact: ben });
            world.answer(0).is_ok()
        })
        .collect();
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 16);
    send(&mut world, 0, ben, "newest keys");
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    world.say(1, ada, "same here");
    assert_eq!(world.texts(0, ben), ["newest keys", "same here"]);
    assert_eq!(world.texts(1, ada), ["newest keys", "same here"]);
}
