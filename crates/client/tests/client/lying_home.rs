//! One of two homes lies: the other one makes good for it, whichever of the two it is.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests add a few numbers and bend a few frames"
)]

mod town;

use std::{collections::VecDeque, time::Duration};

use client::{Action, Mark};
use proto::{Body, Code, Frame};
use town::{Town, Who};

/// Ada is at home at nodes 0 and 1, Ben at 2 and 3.
fn strangers(seed: u8) -> Town {
    Town::at(seed, 4, &[("Ada", vec![0, 1]), ("Ben", vec![2, 3])])
}

fn friends(seed: u8) -> Town {
    let mut town = strangers(seed).acquaint();
    town.pass(5 * SECOND);
    town
}

/// Both say something that must arrive soon, and both see the same.
fn talk(town: &mut Town, texts: [&str; 2]) {
    let before = town.texts(0).len();
    for (person, text) in texts.into_iter().enumerate() {
        town.say(person, text);
        town.pass(10 * SECOND);
    }
    assert_eq!(town.texts(0), town.texts(1));
    assert_eq!(town.texts(0).len(), before + 2, "{:?}", town.texts(0));
}

/// Whom Ada's device talks with, as its last `number` deliveries show.
fn delivers_to_ada(town: &Town, node: usize, since: usize) -> bool {
    let way = (Who::Node(node), Who::Person(0));
    let said = town.said.iter().skip(since).filter(|(from, to, _)| (*from, *to) == way);
    said.into_iter().any(|(.., frame)| matches!(frame.body, Body::Deliver { .. }))
}

#[test]
fn a_home_that_does_not_let_its_account_in_is_left_once_the_other_is_there() {
    let mut town = friends(1);
    town.refuse(0, |body| matches!(body, Body::PutBundle(_)).then_some(Code::Invalid));
    town.crash(Who::Person(0));
    town.set_cut(Who::Person(0), Who::Node(1), true);
    town.start(Who::Person(0));
    town.pass(10 * SECOND);
    town.heal();
    town.pass(10 * SECOND);
    talk(&mut town, ["in by the other door", "so I see"]);
}

#[test]
fn a_home_that_forgets_a_handle_does_not_close_the_inbox_at_the_other() {
    let mut town = strangers(2);
    town.refuse(0, |body| matches!(body, Body::PutInvite { .. }).then_some(Code::Unexpected));
    let link = town.invite(0);
    town.pass(SECOND);
    town.crash(Who::Node(0));
    town.add(1, link);
    town.pass(10 * SECOND);
    town.accept(0);
    talk(&mut town, ["welcome", "thanks"]);
}

#[test]
fn what_one_home_will_never_take_the_other_is_asked_for_as_long_as_it_takes() {
    for code in [Code::Invalid, Code::Forbidden, Code::Quota, Code::Position] {
        let mut town = friends(3);
        town.set_cut(Who::Person(0), Who::Node(1), true);
        let refused = move |body: &Body| matches!(body, Body::Append { .. }).then_some(code);
        town.lie(
            0,
            move |frame| Some(Body::Refused { code: refused(&frame.body)?, newer: Vec::new() }),
            |frame| vec![frame],
        );
        town.say(0, "is it true?");
        town.pass(60 * SECOND);
        assert_eq!(town.marks(0), [Mark::Sent], "{code:?}: nobody else has said so");
        town.heal();
        town.pass(20 * SECOND);
        assert_eq!(town.texts(1), ["is it true?"], "{code:?}");
        talk(&mut town, ["no", "good"]);
    }
}

#[test]
fn a_home_that_is_alone_for_long_is_believed_at_last() {
    let mut town = friends(4);
    town.crash(Who::Node(1));
    town.refuse(0, |body| matches!(body, Body::Append { .. }).then_some(Code::Invalid));
    town.say(0, "is it true?");
    town.pass(500 * SECOND);
    assert_eq!(town.marks(0), [Mark::Sent]);
    town.pass(500 * SECOND);
    assert_eq!(town.marks(0), [Mark::Refused]);
}

#[test]
fn what_a_home_has_signed_for_it_can_t_refuse_later() {
    let mut town = Town::at(8, 2, &[("Ada", vec![0]), ("Ben", vec![1])]).acquaint();
    town.pass(5 * SECOND);
    town.set_cut(Who::Node(0), Who::Node(1), true);
    for text in ["one", "two"] {
        town.say(0, text);
        town.pass(5 * SECOND);
    }
    assert_eq!(town.marks(0), [Mark::Sent; 2], "nobody else has signed");
    town.refuse(0, |body| matches!(body, Body::Append { .. }).then_some(Code::Invalid));
    town.crash(Who::Person(0));
    town.start(Who::Person(0));
    town.pass(10 * SECOND);
    town.repent(0);
    town.heal();
    town.pass(60 * SECOND);
    assert_eq!(town.texts(1), ["one", "two"]);
    talk(&mut town, ["once", "each"]);
}

#[test]
fn what_is_no_answer_to_a_question_leaves_nothing_undone() {
    let kinds: [fn(&Body) -> bool; 3] = [
        |body| matches!(body, Body::Open(_)),
        |body| matches!(body, Body::Append { .. }),
        |body| matches!(body, Body::PutBundle(_)),
    ];
    for kind in kinds {
        let mut town = friends(5);
        let page = || Body::Page { entries: Vec::new(), more: false };
        town.lie(0, move |frame| kind(&frame.body).then(page), |frame| vec![frame]);
        town.crash(Who::Person(0));
        town.start(Who::Person(0));
        town.pass(10 * SECOND);
        talk(&mut town, ["go on", "yes"]);
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
        let mut town = friends(6);
        town.lie(0, |_| None, lie);
        talk(&mut town, ["one", "two"]);
        let since = town.said.len();
        for _ in 0..5 {
            talk(&mut town, ["three", "four"]);
        }
        assert!(delivers_to_ada(&town, 1, since) && !delivers_to_ada(&town, 0, since));
        // In need it is better than nobody, and when the need is over it goes.
        town.crash(Who::Node(1));
        talk(&mut town, ["five", "six"]);
        assert!(delivers_to_ada(&town, 0, since));
        town.start(Who::Node(1));
        town.pass(10 * SECOND);
        let since = town.said.len();
        talk(&mut town, ["seven", "eight"]);
        assert!(delivers_to_ada(&town, 1, since) && !delivers_to_ada(&town, 0, since));
    }
}

#[test]
fn deliveries_in_any_order_end_up_in_the_right_one() {
    let mut town = friends(7);
    let mut held = VecDeque::new();
    town.lie(
        0,
        |_| None,
        move |frame| {
            if matches!(frame.body, Body::Deliver { .. } | Body::Held { .. }) {
                held.push_front(frame);
                return if held.len() > 3 { held.drain(..).collect() } else { Vec::new() };
            }
            vec![frame]
        },
    );
    for number in 0..5 {
        talk(&mut town, [&format!("{number}"), &format!("{number}?")]);
    }
}

#[test]
fn what_the_home_keeps_and_nobody_names_is_fetched_from_the_stand_in() {
    let mut town = friends(8);
    let mut left = 1;
    town.lie(
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
    town.delay(Who::Node(1), Who::Person(0), |body| matches!(body, Body::Brief { .. }));
    town.say(1, "withheld");
    town.pass(SECOND);
    town.say(1, "depends on it");
    town.pass(20 * SECOND);
    assert_eq!(town.texts(0), ["withheld", "depends on it"]);
}

#[test]
fn a_request_is_kept_for_a_home_that_would_not_take_it_at_first() {
    // The home may be busy, or have yet to hear of the invite.
    for code in [Code::Busy, Code::Forbidden] {
        let mut town = strangers(9);
        let link = town.invite(0);
        town.pass(SECOND);
        let dropped = |frame: &Frame| match &frame.body {
            Body::Append { handle, .. } => Some(Body::Accepted { handle: *handle, sequence: 0 }),
            _ => None,
        };
        town.lie(0, dropped, |frame| vec![frame]);
        let mut times = 2;
        town.lie(
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
        town.add(1, link);
        town.pass(60 * SECOND);
        let contact = town.friend(0);
        town.ask(0, Action::Accept { contact }).unwrap();
    }
}

const SECOND: Duration = Duration::from_secs(1);
