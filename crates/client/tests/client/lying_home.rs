//! One of two home nodes lies: the other one makes up for it.

use std::{collections::VecDeque, time::Duration};

use client::{Action, DeliveryStatus};
use proto::{Body, Code, Frame};

use crate::world::{Who, World};

/// Ada is at home at nodes 0 and 1, Ben at 2 and 3.
fn strangers(seed: u8) -> World {
    World::at(seed, 4, &[("Ada", vec![0, 1]), ("Ben", vec![2, 3])])
}

fn friends(seed: u8) -> World {
    let mut world = strangers(seed).acquaint();
    world.pass(5 * SECOND);
    world
}

/// Both say something that must arrive soon, and both see the same.
fn talk(world: &mut World, texts: [&str; 2]) {
    let before = world.texts(0).len();
    for (person, text) in texts.into_iter().enumerate() {
        world.queue(person, text);
        world.pass(10 * SECOND);
    }
    assert_eq!(world.texts(0), world.texts(1));
    assert_eq!(world.texts(0).len(), before + 2, "{:?}", world.texts(0));
}

/// Whom Ada's device talks with, as its last `number` deliveries show.
fn delivers_to_ada(world: &World, node: usize, since: usize) -> bool {
    let way = (Who::Node(node), Who::Person(0));
    let said = world.said().skip(since).filter(|(from, to, _)| (*from, *to) == way);
    said.into_iter().any(|(.., frame)| matches!(frame.body, Body::Deliver { .. }))
}

#[test]
fn a_home_that_does_not_let_its_account_in_is_left_once_the_other_is_there() {
    let mut world = friends(1);
    world.refuse(0, |body| matches!(body, Body::PutBundle(_)).then_some(Code::Invalid));
    world.crash(Who::Person(0));
    world.set_cut(Who::Person(0), Who::Node(1), true);
    world.start(Who::Person(0));
    world.pass(10 * SECOND);
    world.net.heal();
    world.pass(10 * SECOND);
    talk(&mut world, ["in by the other door", "so I see"]);
}

#[test]
fn a_home_that_forgets_a_channel_does_not_close_the_inbox_at_the_other() {
    let mut world = strangers(2);
    world.refuse(0, |body| matches!(body, Body::PutInvite { .. }).then_some(Code::Unexpected));
    let link = world.invite(0);
    world.pass(SECOND);
    world.crash(Who::Node(0));
    world.add(1, link);
    world.pass(10 * SECOND);
    world.accept(0);
    talk(&mut world, ["welcome", "thanks"]);
}

#[test]
fn what_one_home_will_never_take_the_other_is_asked_for_as_long_as_it_takes() {
    for code in [Code::Invalid, Code::Forbidden, Code::Quota, Code::Position] {
        let mut world = friends(3);
        world.set_cut(Who::Person(0), Who::Node(1), true);
        let refused = move |body: &Body| matches!(body, Body::Append { .. }).then_some(code);
        world.lie(
            0,
            move |frame| Some(Body::Refused { code: refused(&frame.body)?, newer: Vec::new() }),
            |frame| vec![frame],
        );
        world.queue(0, "is it true?");
        world.pass(60 * SECOND);
        assert_eq!(
            world.statuses(0),
            [DeliveryStatus::Sent],
            "{code:?}: no other node has said so"
        );
        world.net.heal();
        world.pass(20 * SECOND);
        assert_eq!(world.texts(1), ["is it true?"], "{code:?}");
        talk(&mut world, ["no", "good"]);
    }
}

#[test]
fn a_home_that_is_alone_for_long_is_believed_at_last() {
    let mut world = friends(4);
    world.crash(Who::Node(1));
    world.refuse(0, |body| matches!(body, Body::Append { .. }).then_some(Code::Invalid));
    world.queue(0, "is it true?");
    world.pass(500 * SECOND);
    assert_eq!(world.statuses(0), [DeliveryStatus::Sent]);
    world.pass(500 * SECOND);
    assert_eq!(world.statuses(0), [DeliveryStatus::Refused]);
}

#[test]
fn what_a_home_has_signed_for_it_can_t_refuse_later() {
    let mut world = World::at(8, 2, &[("Ada", vec![0]), ("Ben", vec![1])]).acquaint();
    world.pass(5 * SECOND);
    world.set_cut(Who::Node(0), Who::Node(1), true);
    for text in ["one", "two"] {
        world.queue(0, text);
        world.pass(5 * SECOND);
    }
    assert_eq!(world.statuses(0), [DeliveryStatus::Sent; 2], "no other node has signed");
    world.refuse(0, |body| matches!(body, Body::Append { .. }).then_some(Code::Invalid));
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    world.pass(10 * SECOND);
    world.repent(0);
    world.net.heal();
    world.pass(60 * SECOND);
    assert_eq!(world.texts(1), ["one", "two"]);
    talk(&mut world, ["once", "each"]);
}

#[test]
fn what_is_no_answer_to_a_question_leaves_nothing_undone() {
    let kinds: [fn(&Body) -> bool; 3] = [
        |body| matches!(body, Body::Open(_)),
        |body| matches!(body, Body::Append { .. }),
        |body| matches!(body, Body::PutBundle(_)),
    ];
    for kind in kinds {
        let mut world = friends(5);
        let page = || Body::Page { entries: Vec::new(), more: false };
        world.lie(0, move |frame| kind(&frame.body).then(page), |frame| vec![frame]);
        world.crash(Who::Person(0));
        world.start(Who::Person(0));
        world.pass(10 * SECOND);
        talk(&mut world, ["go on", "yes"]);
    }
}

#[test]
fn who_is_caught_lying_is_no_home_while_the_other_is_there() {
    let twice = |frame: Frame| match frame.body {
        Body::Deliver { .. } => vec![frame.clone(), frame],
        _ => vec![frame],
    };
    let never_asked = |frame: Frame| {
        let answer = Frame { request: u32::MAX, body: Body::BundleIs(vec![0; 9]) };
        vec![frame, answer]
    };
    let lies: [fn(Frame) -> Vec<Frame>; 2] = [twice, never_asked];
    for lie in lies {
        let mut world = friends(6);
        world.lie(0, |_| None, lie);
        talk(&mut world, ["one", "two"]);
        let since = world.net.sent.len();
        for _ in 0..5 {
            talk(&mut world, ["three", "four"]);
        }
        assert!(delivers_to_ada(&world, 1, since) && !delivers_to_ada(&world, 0, since));
        // It serves while no other home is up, and is left again afterwards.
        world.crash(Who::Node(1));
        talk(&mut world, ["five", "six"]);
        assert!(delivers_to_ada(&world, 0, since));
        world.start(Who::Node(1));
        world.pass(10 * SECOND);
        let since = world.net.sent.len();
        talk(&mut world, ["seven", "eight"]);
        assert!(delivers_to_ada(&world, 1, since) && !delivers_to_ada(&world, 0, since));
    }
}

#[test]
fn deliveries_in_any_order_end_up_in_the_right_one() {
    let mut world = friends(7);
    let mut held = VecDeque::new();
    world.lie(
        0,
        |_| None,
        move |frame| {
            if matches!(frame.body, Body::Deliver { .. } | Body::NodeAck { .. }) {
                held.push_front(frame);
                return if held.len() > 3 { held.drain(..).collect() } else { Vec::new() };
            }
            vec![frame]
        },
    );
    for number in 0..5 {
        talk(&mut world, [&format!("{number}"), &format!("{number}?")]);
    }
}

#[test]
fn what_the_home_withholds_unannounced_is_fetched_from_the_secondary_home() {
    let mut world = friends(8);
    let mut left = 1;
    world.lie(
        0,
        |_| None,
        move |mut frame| match &mut frame.body {
            Body::Deliver { .. } if left > 0 => {
                left -= 1;
                Vec::new()
            }
            Body::Page { entries, .. } => {
                entries.clear();
                vec![frame]
            }
            _ => vec![frame],
        },
    );
    world.delay(Who::Node(1), Who::Person(0), |body| matches!(body, Body::Announce { .. }));
    world.queue(1, "withheld");
    world.pass(SECOND);
    world.queue(1, "depends on it");
    world.pass(20 * SECOND);
    assert_eq!(world.texts(0), ["withheld", "depends on it"]);
}

#[test]
fn a_request_is_kept_for_a_home_that_would_not_take_it_at_first() {
    // The home may be busy, or have yet to hear of the invite.
    for code in [Code::Busy, Code::Forbidden] {
        let mut world = strangers(9);
        let link = world.invite(0);
        world.pass(SECOND);
        let dropped = |frame: &Frame| match &frame.body {
            Body::Append { channel, .. } => Some(Body::Accepted { channel: *channel, sequence: 0 }),
            _ => None,
        };
        world.lie(0, dropped, |frame| vec![frame]);
        let mut times = 2;
        world.lie(
            1,
            move |frame| {
                let asked = match &frame.body {
                    Body::Append { .. } => code == Code::Busy,
                    Body::Open(_) => code == Code::Forbidden,
                    _ => false,
                };
                let refuses = asked && times > 0;
                times -= i32::from(refuses);
                refuses.then(|| Body::Refused { code, newer: Vec::new() })
            },
            |frame| vec![frame],
        );
        world.add(1, link);
        world.pass(60 * SECOND);
        let contact = world.friend(0);
        world.ask(0, Action::Accept { contact }).unwrap();
    }
}

const SECOND: Duration = Duration::from_secs(1);
