//! What a node will never take, and what no node has: nothing that was sent is lost with it, and
//! the world becomes quiet.

use std::time::Duration;

use client::{Action, DeliveryStatus, Reply, view};
use proto::{Body, Code, Frame, limits};

use crate::world::{Who, World};

const DAY: Duration = Duration::from_secs(25 * 3600);

fn fetches(body: &Body) -> bool {
    matches!(body, Body::Fetch { .. })
}

fn appends(body: &Body) -> bool {
    matches!(body, Body::Append { .. })
}

fn queued(world: &mut World, by: usize, text: &str) -> Reply {
    world.queue(by, text);
    world.answer(by).unwrap()
}

/// Ada thinks that her node has something that it never got.
fn one_entry_is_nowhere(seed: u8) -> World {
    let mut world = World::acquainted(seed);
    queued(&mut world, 0, "nowhere");
    world.net.lose_all();
    let request = world.frames().into_iter().rfind(|frame| appends(&frame.body)).unwrap().request;
    world.inject(0, Frame { request, body: Body::Accepted { channel: 1, sequence: 0 } });
    world
}

#[test]
fn what_waits_itself_is_not_asked_for() {
    let mut world = one_entry_is_nowhere(1);
    for i in 0..5 {
        queued(&mut world, 0, &format!("{i}"));
        world.run_some(200);
    }
    assert_eq!(world.count(fetches), 1, "the one that is missing, once");
    assert!(world.texts(1).is_empty());
}

#[test]
fn a_node_that_always_has_more_but_gives_nothing_is_not_believed() {
    let mut world = one_entry_is_nowhere(12);
    world.lose(|frame| matches!(frame.body, Body::Page { .. }));
    world.send(0, "depends on it");
    for _ in 0..5 {
        let asked = world.frames().into_iter().rfind(|frame| fetches(&frame.body)).unwrap();
        let body = Body::Page { entries: Vec::new(), more: true };
        world.inject(1, Frame { request: asked.request, body });
    }
    assert_eq!(world.count(fetches), 1);
}

#[test]
fn what_no_node_has_is_asked_for_less_and_less_often() {
    let mut world = one_entry_is_nowhere(2);
    world.send(0, "depends on it");
    world.pass(Duration::from_secs(3600));
    let first_hour = world.count(fetches);
    world.pass(DAY);
    let asked = world.count(fetches) - first_hour;
    // Three are the author's, who asks for what its home has signed for.
    assert!((11..=17).contains(&first_hour), "{first_hour}");
    assert!((100..=160).contains(&asked), "every ten minutes: {asked}");
    // A new connection resets the back-off.
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.net.sent.clear();
    world.pass(Duration::from_secs(16));
    assert_eq!(world.count(fetches), 3);
    assert!(world.texts(1).is_empty());
}

#[test]
fn a_day_offline_loses_nothing() {
    let mut world = World::acquainted(3);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.send(0, "before");
    world.pass(Duration::from_secs(2));
    world.set_offline(0, true);
    let old = queued(&mut world, 0, "written offline");
    let answered = world.reference(0, "written offline");
    let text = "wirtten too".to_owned().into();
    world.command(0, Action::Send { conversation: ben.into(), text, reply_to: Some(answered) });
    let typo = world.reference(0, "wirtten too");
    let text = "written too".to_owned().into();
    world.command(0, Action::Edit { conversation: ben.into(), target: typo, text });
    let written_at = world.messages(0)[1].sent_at_s;
    world.ask(1, Action::Rekey { conversation: ada.into() }).unwrap();
    world.send(1, "meanwhile");
    world.pass(DAY);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    world.send(0, "after");
    world.pass(Duration::from_secs(10));
    let expected = ["before", "meanwhile", "written offline", "written too", "after"];
    for number in [0, 1] {
        assert_eq!(world.texts(number), expected, "{number}");
        let messages = world.messages(number);
        assert_eq!(messages[3].reply_to, Some(messages[2].key.id));
        assert!(messages[3].edited);
        assert_eq!(messages[2].sent_at_s, written_at, "it was written then");
    }
    assert!(world.statuses(0).iter().all(|status| *status == DeliveryStatus::Delivered));
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
    // The names that the user was given still stand for the same messages.
    let Reply::Envelope(old) = old else { panic!() };
    assert_eq!(
        view::status(world.rows(0), &world.conversation(0), &old.reference()),
        Some(DeliveryStatus::Delivered)
    );
    let text = "edited later".to_owned().into();
    let edit = Action::Edit { conversation: ben.into(), target: old.reference(), text };
    world.ask(0, edit).unwrap();
    assert_eq!(world.texts(1)[2], "edited later");
    world.net.sent.clear();
    world.pass(DAY);
    assert!(world.net.sent.len() < 10, "quiet: {}", world.net.sent.len());
}

#[test]
fn what_was_read_and_felt_offline_is_told_a_day_later() {
    let mut world = World::acquainted(10);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.send(1, "question");
    world.pass(Duration::from_secs(2));
    world.set_offline(0, true);
    let question = world.reference(0, "question");
    world.ask(0, Action::MarkRead { conversation: ben.into() }).unwrap();
    let reaction =
        Action::React { conversation: ben.into(), target: question, emoji: "👍".into() };
    world.ask(0, reaction).unwrap();
    world.ask(1, Action::Rekey { conversation: ada.into() }).unwrap();
    world.pass(DAY);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.status(1, "question"), DeliveryStatus::Read);
    assert_eq!(world.messages(1)[0].reactions[&ada], "👍");
    assert_eq!(world.messages(0)[0].reactions[&ada], "👍");
}

#[test]
fn a_day_offline_with_fresh_keys_on_both_sides_loses_nothing() {
    let mut world = World::acquainted(4);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.set_offline(0, true);
    queued(&mut world, 0, "old keys");
    world.command(0, Action::Rekey { conversation: ben.into() });
    queued(&mut world, 0, "new keys");
    for _ in 0..2 {
        world.ask(1, Action::Rekey { conversation: ada.into() }).unwrap();
        world.send(1, "other new keys");
        world.pass(DAY);
    }
    // A crash of either side in between changes nothing.
    world.set_offline(0, false);
    world.run_some(12);
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    world.host(Who::Person(0)).dies_before_commit = true;
    world.pass(Duration::from_secs(10));
    world.send(1, "still here");
    world.send(0, "me too");
    let expected =
        ["other new keys", "other new keys", "old keys", "new keys", "still here", "me too"];
    assert_eq!(world.texts(0), expected);
    assert_eq!(world.texts(1), expected);
}

#[test]
fn what_is_permanently_refused_is_shown_so_and_nothing_depends_on_it() {
    let mut world = World::acquainted(5);
    world.send(1, "question");
    queued(&mut world, 0, "refused");
    queued(&mut world, 0, "behind it");
    world.net.lose_all();
    let frames = world.frames().into_iter().filter(|frame| appends(&frame.body));
    let mut requests: Vec<_> = frames.map(|frame| frame.request).collect();
    let (behind, refused) = (requests.pop().unwrap(), requests.pop().unwrap());
    let refusal = |request| Frame {
        request,
        body: Body::Refused { code: Code::Malformed, newer: Vec::new() },
    };
    world.inject(0, refusal(refused));
    assert_eq!(world.status(0, "refused"), DeliveryStatus::Sent, "the other may have been stored");
    let accepted = Body::Accepted { channel: 1, sequence: 0 };
    world.inject(0, Frame { request: behind, body: accepted });
    world.pass(Duration::from_secs(2));
    assert_eq!(world.texts(1), ["question", "behind it"]);
    assert_eq!(world.status(0, "refused"), DeliveryStatus::Refused);
    assert_eq!(world.status(0, "behind it"), DeliveryStatus::Delivered);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn a_refusal_of_what_others_have_is_not_believed() {
    let mut world = World::acquainted(11);
    world.lose(|frame| matches!(frame.body, Body::Accepted { .. }));
    world.send(0, "question");
    world.send(1, "answer");
    world.lose(|_| false);
    let mut frames = world.frames().into_iter().filter(|frame| appends(&frame.body));
    let question = frames
        .rfind(|frame| matches!(&frame.body, Body::Append { entry, .. } if entry.position == 3));
    let body = Body::Refused { code: Code::Malformed, newer: Vec::new() };
    world.inject(0, Frame { request: question.unwrap().request, body });
    world.pass(Duration::from_secs(2));
    world.send(0, "so what");
    let expected = ["question", "answer", "so what"];
    assert_eq!(world.texts(0), expected);
    assert_eq!(world.texts(1), expected);
    assert_eq!(world.status(0, "question"), DeliveryStatus::Delivered);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn a_refusal_that_does_not_hold_is_forgotten() {
    let mut world = World::acquainted(6);
    queued(&mut world, 0, "refused once");
    world.refuse_append(0, Code::Forbidden);
    queued(&mut world, 0, "behind it");
    world.pass(Duration::from_secs(6));
    assert_eq!(world.texts(0), ["refused once", "behind it"]);
    assert_eq!(world.texts(1), ["refused once", "behind it"]);
}

#[test]
fn a_receipt_that_is_refused_is_dropped() {
    let mut world = World::acquainted(7);
    world.send(1, "question");
    world.net.sent.clear();
    while world.count(appends) == 0 {
        assert!(world.net.fire(world.now().after(Duration::from_secs(2))));
    }
    world.refuse_append(0, Code::Malformed);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.status(1, "question"), DeliveryStatus::Stored);
    world.send(0, "answer");
    assert_eq!(world.texts(1), ["question", "answer"]);
    assert_eq!(world.status(1, "question"), DeliveryStatus::Delivered);
}

#[test]
fn keys_that_the_node_refuses_are_undone() {
    for code in [Code::Forbidden, Code::Invalid] {
        let mut world = World::acquainted(8);
        let ben = world.friend(0);
        world.command(0, Action::Rekey { conversation: ben.into() });
        queued(&mut world, 0, "behind it");
        world.refuse_append(0, code);
        world.pass(Duration::from_secs(6));
        world.send(0, "after");
        world.net.sent.clear();
        world.pass(Duration::from_secs(3600));
        assert!(world.net.sent.len() < 10, "quiet: {}", world.net.sent.len());
        world.crash(Who::Person(0));
        world.start(Who::Person(0));
        world.set_offline(0, true);
        world.set_offline(0, false);
        world.send(1, "from ben");
        world.ask(0, Action::Rekey { conversation: ben.into() }).unwrap();
        world.send(0, "newer keys");
        let expected = ["behind it", "after", "from ben", "newer keys"];
        assert_eq!(world.texts(0), expected, "{code:?}");
        assert_eq!(world.texts(1), expected, "{code:?}");
    }
}

#[test]
fn a_node_that_always_refuses_is_asked_less_and_less_often() {
    let mut world = World::acquainted(9);
    queued(&mut world, 0, "never taken");
    let mut pauses = Vec::new();
    for _ in 0..10 {
        world.refuse_append(0, Code::Forbidden);
        world.net.sent.clear();
        let refused_at = world.now();
        while world.count(appends) == 0 {
            assert!(world.net.fire(world.now().after(DAY)));
        }
        pauses.push(world.now().since(refused_at).as_secs());
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    assert_eq!(world.status(0, "never taken"), DeliveryStatus::Sent, "there is hope");
    world.set_offline(0, true);
    world.set_offline(0, false);
    world.run();
    assert_eq!(world.texts(1), ["never taken"]);
}

#[test]
fn what_was_sealed_with_keys_that_are_forgotten_since_is_sealed_again() {
    let mut world = World::acquainted(13);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.set_offline(0, true);
    queued(&mut world, 0, "old keys");
    world.command(0, Action::Rekey { conversation: ben.into() });
    queued(&mut world, 0, "own keys");
    for _ in 0..limits::EPOCHS_OPEN_MAX + 5 {
        world.ask(1, Action::Rekey { conversation: ada.into() }).unwrap();
    }
    world.send(1, "newest keys");
    // The node has no room before all of it was delivered, and knows no handle after that.
    world.refuse(0, |body| matches!(body, Body::Append { .. }).then_some(Code::Busy));
    world.set_offline(0, false);
    world.pass(Duration::from_secs(60));
    world.repent(0);
    world.set_offline(0, true);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(60));
    let expected = ["newest keys", "old keys", "own keys"];
    assert_eq!(world.texts(0), expected);
    assert_eq!(world.texts(1), expected);
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn keys_that_the_node_knows_are_never_forgotten() {
    let mut world = World::acquainted(14);
    let ben = world.friend(0);
    world.set_offline(0, true);
    let changed: Vec<_> = (0..limits::EPOCHS_OPEN_MAX + 5)
        .map(|_| {
            world.command(0, Action::Rekey { conversation: ben.into() });
            world.answer(0).is_ok()
        })
        .collect();
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 16);
    queued(&mut world, 0, "newest keys");
    world.set_offline(0, false);
    world.pass(Duration::from_secs(10));
    world.send(1, "same here");
    assert_eq!(world.texts(0), ["newest keys", "same here"]);
    assert_eq!(world.texts(1), ["newest keys", "same here"]);
}
