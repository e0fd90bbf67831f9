//! Logs of more than two nodes: each entry goes to each node once, and gets there even if nodes
//! fail.

use proptest::prelude::*;
use proto::{Body, Code, Cursor, Frame, Input, Open};

use crate::{
    city::{peer, ranking},
    town::{Town, is_append},
    world::{Conversation, append, key_change, open_frame, refused},
};
use crypto::SigningKey;
use node::Dropped;

fn is_settled(body: &Body) -> bool {
    matches!(body, Body::Settled { .. })
}

fn send(city: &mut Town, n: usize, talk: &Conversation, position: u64, text: &str) {
    let (device, envelope) = (city.devices[n], talk.envelope(position, text.as_bytes()));
    let stored = city.worlds[n].ask(&device, append(2, &envelope));
    assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
}

fn check_all_have(city: &mut Town, talk: &Conversation, count: usize) {
    let texts = city.held(0, talk);
    assert_eq!(texts.len(), count);
    for n in 1..city.worlds.len() {
        assert_eq!(city.held(n, talk), texts, "{n}");
    }
}

#[test]
fn each_message_goes_to_each_other_node_once() {
    let (mut city, talk) = Town::sharing(4);
    for position in 1..=100 {
        send(&mut city, 0, &talk, position, &position.to_string());
        city.carry();
    }
    check_all_have(&mut city, &talk, 100);
    assert_eq!(city.count_all(is_append), 300);
    assert_eq!(city.count_all(is_settled), 300, "from the first to the others");
    city.pass(1);
    assert_eq!(city.dirty(), 0, "before anything is late");
    // Until all was compared.
    city.pass(600);
    let before = city.said.len();
    city.pass(3600);
    assert_eq!(city.said.len(), before, "an idle network is silent");
}

#[test]
fn it_does_so_when_all_write_at_once() {
    let (mut city, talk) = Town::sharing(4);
    for round in 0..50 {
        for n in 0..4 {
            send(&mut city, n, &talk, 1 + round, &format!("{n} {round}"));
            city.carry_some(1 + (round as usize + n) % 5);
        }
    }
    city.pass(1);
    check_all_have(&mut city, &talk, 200);
    assert_eq!(city.dirty(), 0);
    assert_eq!(city.count_all(is_append), 600);
}

#[test]
fn it_does_so_in_a_stream_that_never_pauses() {
    let (mut city, talk) = Town::sharing(3);
    for position in 1..=600 {
        send(&mut city, 0, &talk, position, &position.to_string());
        // As many are sent as are carried, so that some are always on the way.
        if position > 20 {
            city.carry_some(2);
        }
        let now = city.worlds[0].now.after(std::time::Duration::from_millis(20));
        for world in &mut city.worlds {
            world.now = now;
            while world.poll_timeout().is_some_and(|due| due <= now) {
                world.input(Input::Timeout);
            }
        }
    }
    city.pass(1);
    check_all_have(&mut city, &talk, 600);
    let appends = city.count_all(is_append);
    // Now and then one more, so that a node knows how far it has got.
    assert!((1200..1230).contains(&appends), "{appends}");
    assert_eq!(city.dirty(), 0);
}

#[test]
fn what_has_reached_one_reaches_all_though_the_first_one_dies() {
    for reached in 0..12 {
        let (mut city, talk) = Town::sharing(4);
        city.cut(0, 2);
        city.cut(0, 3);
        for position in 1..=100 {
            send(&mut city, 0, &talk, position, &position.to_string());
        }
        // Some of it is on its way to one of the others when the first one goes.
        for frame in city.worlds[0].take_some(peer(1), 9 * reached) {
            city.worlds[1].input(Input::Frame(peer(0), frame));
        }
        city.kill(0);
        city.pass(1);
        let texts = city.held(1, &talk);
        assert_eq!(texts.len(), (9 * reached).min(100));
        for n in [2, 3] {
            assert_eq!(city.held(n, &talk), texts, "{n}");
        }
        city.revive(0);
        city.pass(700);
        check_all_have(&mut city, &talk, 100);
        assert_eq!(city.dirty(), 0);
    }
}

#[test]
fn the_rest_is_pushed_when_the_first_one_says_nothing_for_a_while() {
    let (mut city, talk) = Town::sharing(3);
    city.cut(0, 2);
    send(&mut city, 0, &talk, 1, "lonely");
    city.bring(0, 1);
    // It is connected still, and so is the third one to the second.
    let frames = city.worlds[1].take(peer(2));
    assert!(!frames.iter().any(|frame| is_append(&frame.body)), "it waits");
    for frame in frames {
        city.worlds[2].input(Input::Frame(peer(1), frame));
    }
    city.bring(2, 1);
    city.worlds[1].pass(1);
    assert!(!city.worlds[1].take(peer(2)).iter().any(|frame| is_append(&frame.body)), "it waits");
    city.worlds[1].pass(1);
    assert!(city.worlds[1].take(peer(2)).iter().any(|frame| is_append(&frame.body)));
}

#[test]
fn a_node_that_crashes_while_it_waits_pushes_when_it_is_back() {
    // Before it has opened the log at the third one, after that, and after it has pushed something
    // else.
    for further in 0..3 {
        let (mut city, talk) = Town::sharing(3);
        city.cut(0, 2);
        send(&mut city, 0, &talk, 1, "lonely");
        city.bring(0, 1);
        let mut expected = vec!["lonely"];
        if further == 2 {
            send(&mut city, 1, &talk, 2, "later");
            expected.push("later");
        }
        for _ in 0..3 * further {
            city.bring(1, 2);
            city.bring(2, 1);
        }
        assert_eq!(city.held(2, &talk), expected[1..], "{further}");
        city.kill(0);
        city.kill(1);
        city.revive(1);
        city.pass(1);
        assert_eq!(city.held(2, &talk), expected, "{further}");
    }
}

#[test]
fn all_is_said_of_what_all_have_and_of_nothing_else() {
    let (mut city, talk) = Town::sharing(3);
    send(&mut city, 1, &talk, 1, "first");
    city.bring(1, 0);
    city.bring(1, 2);
    city.bring(0, 1);
    send(&mut city, 0, &talk, 2, "waits at the second");
    city.bring(0, 1);
    // It goes to the third one out of turn, and not to the first, who has the one before.
    send(&mut city, 1, &talk, 3, "second");
    city.bring(1, 2);
    city.bring(2, 1);
    city.bring(1, 2);
    city.worlds[1].take(peer(0));
    city.kill(1);
    city.pass(1);
    assert_eq!(city.held(0, &talk), ["first", "waits at the second", "second"]);
    assert_eq!(city.held(2, &talk), ["first", "waits at the second", "second"]);
}

#[test]
fn all_is_not_said_of_what_one_has_refused() {
    for refuses in [false, true] {
        let (mut city, talk) = Town::sharing(3);
        send(&mut city, 0, &talk, 1, "for all?");
        city.bring(0, 1);
        city.bring(1, 0);
        for frame in city.worlds[0].take(peer(2)) {
            let is_wanted = !(refuses && is_append(&frame.body));
            if is_wanted {
                city.worlds[2].input(Input::Frame(peer(0), frame));
            } else {
                let answer = Frame { request: frame.request, body: refused(Code::Forbidden) };
                city.worlds[0].input(Input::Frame(peer(2), answer));
            }
        }
        city.bring(2, 0);
        let says_so = city.worlds[0].take(peer(1)).iter().any(|frame| is_settled(&frame.body));
        assert_eq!(says_so, !refuses);
    }
}

#[test]
fn one_that_never_had_to_push_knows_about_how_far_others_have_got() {
    let (mut city, talk) = Town::sharing(3);
    for position in 1..=600 {
        send(&mut city, 0, &talk, position, &position.to_string());
        city.carry();
    }
    let before = city.count_all(is_append);
    assert!((1200..1230).contains(&before), "{before}");
    // All connections are new, and there is one more entry, of which the third node has not heard.
    city.cut(1, 2);
    city.cut(0, 2);
    send(&mut city, 0, &talk, 601, "601");
    city.bring(0, 1);
    city.kill(0);
    city.pass(10);
    assert_eq!(city.held(2, &talk).len(), 601);
    let again = city.count_all(is_append) - before;
    assert!(again < 150, "{again}");
}

#[test]
fn a_change_of_keys_does_not_wait() {
    let (mut city, talk) = Town::sharing(3);
    let next = SigningKey::from_seed([77; 32]);
    let (device, change) = (city.devices[0], key_change(&talk.key, talk.log, 1, &next));
    city.worlds[0].ask(&device, append(2, &change));
    // The second node has it, the third one not yet; and a device at the second uses the new key.
    city.bring(0, 1);
    let device = city.devices[1];
    let renewed = Conversation { key: next, ..talk.clone() };
    let open = open_frame(&device, 3, talk.log, &renewed.key, None, None);
    assert!(matches!(city.worlds[1].ask(&device, Body::Open(open)), Body::Opened { .. }));
    city.worlds[1].ask(&device, append(3, &renewed.envelope(2, b"in the new epoch")));
    city.bring(1, 2);
    for frame in city.worlds[2].take(peer(1)) {
        assert!(!matches!(frame.body, Body::Refused { .. }), "{frame:?}");
        city.worlds[1].input(Input::Frame(peer(2), frame));
    }
    city.bring(1, 2);
    for frame in city.worlds[2].take(peer(1)) {
        assert!(!matches!(frame.body, Body::Refused { .. }), "{frame:?}");
    }
    assert_eq!(city.held(2, &talk), ["commit", "in the new epoch"]);
}

#[test]
fn no_node_waits_for_one_that_may_not_know_all_nodes() {
    let (mut city, talk) = Town::sharing(4);
    // The first three of them had agreed before, and only the second one has heard of the fourth.
    let tell = |city: &mut Town, n: usize, version, nodes: &[usize]| {
        let device = city.devices[n];
        let open = Open {
            ranking: Some(Box::new(ranking(version, nodes))),
            ..open_frame(&device, 2, talk.log, &talk.key, None, Some(Cursor::default()))
        };
        let opened = city.worlds[n].ask(&device, Body::Open(open));
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    };
    (0..3).for_each(|n| tell(&mut city, n, 2, &[0, 1, 2]));
    city.pass(60);
    tell(&mut city, 1, 3, &[0, 1, 2, 3]);
    tell(&mut city, 3, 3, &[0, 1, 2, 3]);
    city.carry();
    send(&mut city, 0, &talk, 1, "for three");
    city.carry();
    assert_eq!(city.held(3, &talk), ["for three"]);
}

#[test]
fn a_word_of_one_that_pushes_nothing_here_is_dropped() {
    let (mut city, _) = Town::sharing(3);
    let device = city.devices[0];
    let world = &mut city.worlds[0];
    for channel in [0, 2, 99] {
        world.tell(&device, Body::Settled { channel, sequence: 1 });
    }
    world.input(Input::Frame(peer(1), Frame::new(Body::Settled { channel: 99, sequence: 1 })));
    assert_eq!(world.machine().counters().dropped[&Dropped::Unasked], 4);
    assert!(!world.take(device.peer).iter().any(|f| f.body == refused(Code::Unexpected)));
}

/// What may happen to three nodes.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Change(usize),
    Carry(usize),
    Crash(usize),
    Cut(usize, usize),
    Sync(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..3_usize;
    prop_oneof![
        8 => node().prop_map(Step::Append),
        1 => node().prop_map(Step::Change),
        8 => (1..20_usize).prop_map(Step::Carry),
        1 => node().prop_map(Step::Crash),
        1 => (node(), node()).prop_filter("two", |(a, b)| a != b).prop_map(|(a, b)| Step::Cut(a, b)),
        6 => node().prop_map(Step::Sync),
        2 => (1..4_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever was accepted is at all nodes in the end, once, and no node thinks that another
    /// lacks it.
    #[test]
    fn all_have_what_any_has_accepted(steps in proptest::collection::vec(step(), 1..100)) {
        let (mut city, talk) = Town::sharing(3);
        let (mut number, mut accepted) = (0_u64, Vec::new());
        city.worlds.iter_mut().for_each(|world| world.syncs = false);
        for step in steps {
            match step {
                Step::Append(n) => {
                    number += 1;
                    let text = format!("{number}");
                    let (device, envelope) = (city.devices[n], talk.envelope(number, text.as_bytes()));
                    if let Some(Body::Accepted { .. }) =
                        city.worlds[n].try_ask(&device, append(2, &envelope))
                    {
                        accepted.push(text);
                    }
                }
                Step::Change(n) => {
                    let next = SigningKey::from_seed([number as u8; 32]);
                    let (device, change) =
                        (city.devices[n], key_change(&talk.key, talk.log, number + 1, &next));
                    city.worlds[n].try_ask(&device, append(2, &change));
                }
                Step::Carry(most) => {
                    city.carry_some(most);
                }
                Step::Crash(n) => {
                    city.kill(n);
                    city.revive(n);
                    city.join(n, &talk);
                }
                Step::Cut(a, b) => city.cut(a, b),
                Step::Sync(n) => city.worlds[n].sync(),
                Step::Pass(seconds) => {
                    city.worlds.iter_mut().for_each(|world| world.pass(seconds));
                }
            }
        }
        for world in &mut city.worlds {
            world.syncs = true;
            world.sync();
        }
        city.pass(1200);
        let texts = city.held(0, &talk);
        for n in [1, 2] {
            prop_assert_eq!(&texts, &city.held(n, &talk), "{}", n);
        }
        for text in accepted {
            prop_assert_eq!(texts.iter().filter(|other| **other == text).count(), 1);
        }
        prop_assert_eq!(city.dirty(), 0);
        let said = city.said.len();
        city.pass(3600);
        prop_assert_eq!(city.said.len(), said, "all is quiet");
    }
}
