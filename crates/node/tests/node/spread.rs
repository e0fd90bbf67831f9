//! Logs of more than two nodes: each entry goes to each node once, and gets there even if nodes
//! fail.

use proptest::prelude::*;
use proto::{Body, Code, Cursor, Frame, Input, Open};

use crate::{
    neighbours::{peer, ranking},
    town::{Town, is_append},
    world::{Conversation, append, key_change, open_frame, refused},
};
use crypto::SigningKey;
use node::Dropped;

fn is_settled(body: &Body) -> bool {
    matches!(body, Body::Settled { .. })
}

fn send(town: &mut Town, n: usize, talk: &Conversation, position: u64, text: &str) {
    let (device, envelope) = (town.devices[n], talk.envelope(position, text.as_bytes()));
    let stored = town.worlds[n].ask(&device, append(2, &envelope));
    assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
}

fn check_all_have(town: &mut Town, talk: &Conversation, count: usize) {
    let texts = town.held(0, talk);
    assert_eq!(texts.len(), count);
    for n in 1..town.worlds.len() {
        assert_eq!(town.held(n, talk), texts, "{n}");
    }
}

#[test]
fn each_message_goes_to_each_other_node_once() {
    let (mut town, talk) = Town::sharing(4);
    for position in 1..=100 {
        send(&mut town, 0, &talk, position, &position.to_string());
        town.carry();
    }
    check_all_have(&mut town, &talk, 100);
    assert_eq!(town.count_all(is_append), 300);
    assert_eq!(town.count_all(is_settled), 300, "from the first to the others");
    town.pass(1);
    assert_eq!(town.dirty(), 0, "before anything is late");
    // Until all was compared.
    town.pass(600);
    let before = town.said.len();
    town.pass(3600);
    assert_eq!(town.said.len(), before, "an idle network is silent");
}

#[test]
fn it_does_so_when_all_write_at_once() {
    let (mut town, talk) = Town::sharing(4);
    for round in 0..50 {
        for n in 0..4 {
            send(&mut town, n, &talk, 1 + round, &format!("{n} {round}"));
            town.carry_some(1 + (round as usize + n) % 5);
        }
    }
    town.pass(1);
    check_all_have(&mut town, &talk, 200);
    assert_eq!(town.dirty(), 0);
    assert_eq!(town.count_all(is_append), 600);
}

#[test]
fn it_does_so_in_a_stream_that_never_pauses() {
    let (mut town, talk) = Town::sharing(3);
    for position in 1..=600 {
        send(&mut town, 0, &talk, position, &position.to_string());
        // As many are sent as are carried, so that some are always on the way.
        if position > 20 {
            town.carry_some(2);
        }
        let now = town.worlds[0].now.after(std::time::Duration::from_millis(20));
        for world in &mut town.worlds {
            world.now = now;
            while world.poll_timeout().is_some_and(|due| due <= now) {
                world.input(Input::Timeout);
            }
        }
    }
    town.pass(1);
    check_all_have(&mut town, &talk, 600);
    let appends = town.count_all(is_append);
    // Now and then one more, so that a node knows how far it has got.
    assert!((1200..1230).contains(&appends), "{appends}");
    assert_eq!(town.dirty(), 0);
}

#[test]
fn what_has_reached_one_reaches_all_though_the_first_one_dies() {
    for reached in 0..12 {
        let (mut town, talk) = Town::sharing(4);
        town.cut(0, 2);
        town.cut(0, 3);
        for position in 1..=100 {
            send(&mut town, 0, &talk, position, &position.to_string());
        }
        // Some of it is on its way to one of the others when the first one goes.
        for frame in town.worlds[0].take_some(peer(1), 9 * reached) {
            town.worlds[1].input(Input::Frame(peer(0), frame));
        }
        town.kill(0);
        town.pass(1);
        let texts = town.held(1, &talk);
        assert_eq!(texts.len(), (9 * reached).min(100));
        for n in [2, 3] {
            assert_eq!(town.held(n, &talk), texts, "{n}");
        }
        town.revive(0);
        town.pass(700);
        check_all_have(&mut town, &talk, 100);
        assert_eq!(town.dirty(), 0);
    }
}

#[test]
fn the_rest_is_pushed_when_the_first_one_says_nothing_for_a_while() {
    let (mut town, talk) = Town::sharing(3);
    town.cut(0, 2);
    send(&mut town, 0, &talk, 1, "lonely");
    town.bring(0, 1);
    // It is connected still, and so is the third one to the second.
    let frames = town.worlds[1].take(peer(2));
    assert!(!frames.iter().any(|frame| is_append(&frame.body)), "it waits");
    for frame in frames {
        town.worlds[2].input(Input::Frame(peer(1), frame));
    }
    town.bring(2, 1);
    town.worlds[1].pass(1);
    assert!(!town.worlds[1].take(peer(2)).iter().any(|frame| is_append(&frame.body)), "it waits");
    town.worlds[1].pass(1);
    assert!(town.worlds[1].take(peer(2)).iter().any(|frame| is_append(&frame.body)));
}

#[test]
fn a_node_that_crashes_while_it_waits_pushes_when_it_is_back() {
    // Before it has opened the log at the third one, after that, and after it has pushed something
    // else.
    for further in 0..3 {
        let (mut town, talk) = Town::sharing(3);
        town.cut(0, 2);
        send(&mut town, 0, &talk, 1, "lonely");
        town.bring(0, 1);
        let mut expected = vec!["lonely"];
        if further == 2 {
            send(&mut town, 1, &talk, 2, "later");
            expected.push("later");
        }
        for _ in 0..3 * further {
            town.bring(1, 2);
            town.bring(2, 1);
        }
        assert_eq!(town.held(2, &talk), expected[1..], "{further}");
        town.kill(0);
        town.kill(1);
        town.revive(1);
        town.pass(1);
        assert_eq!(town.held(2, &talk), expected, "{further}");
    }
}

#[test]
fn all_is_said_of_what_all_have_and_of_nothing_else() {
    let (mut town, talk) = Town::sharing(3);
    send(&mut town, 1, &talk, 1, "first");
    town.bring(1, 0);
    town.bring(1, 2);
    town.bring(0, 1);
    send(&mut town, 0, &talk, 2, "waits at the second");
    town.bring(0, 1);
    // It goes to the third one out of turn, and not to the first, who has the one before.
    send(&mut town, 1, &talk, 3, "second");
    town.bring(1, 2);
    town.bring(2, 1);
    town.bring(1, 2);
    town.worlds[1].take(peer(0));
    town.kill(1);
    town.pass(1);
    assert_eq!(town.held(0, &talk), ["first", "waits at the second", "second"]);
    assert_eq!(town.held(2, &talk), ["first", "waits at the second", "second"]);
}

#[test]
fn all_is_not_said_of_what_one_has_refused() {
    for refuses in [false, true] {
        let (mut town, talk) = Town::sharing(3);
        send(&mut town, 0, &talk, 1, "for all?");
        town.bring(0, 1);
        town.bring(1, 0);
        for frame in town.worlds[0].take(peer(2)) {
            let is_wanted = !(refuses && is_append(&frame.body));
            if is_wanted {
                town.worlds[2].input(Input::Frame(peer(0), frame));
            } else {
                let answer = Frame { request: frame.request, body: refused(Code::Forbidden) };
                town.worlds[0].input(Input::Frame(peer(2), answer));
            }
        }
        town.bring(2, 0);
        let says_so = town.worlds[0].take(peer(1)).iter().any(|frame| is_settled(&frame.body));
        assert_eq!(says_so, !refuses);
    }
}

#[test]
fn one_that_never_had_to_push_knows_about_how_far_others_have_got() {
    let (mut town, talk) = Town::sharing(3);
    for position in 1..=600 {
        send(&mut town, 0, &talk, position, &position.to_string());
        town.carry();
    }
    let before = town.count_all(is_append);
    assert!((1200..1230).contains(&before), "{before}");
    // All connections are new, and there is one more entry, of which the third node has not heard.
    town.cut(1, 2);
    town.cut(0, 2);
    send(&mut town, 0, &talk, 601, "601");
    town.bring(0, 1);
    town.kill(0);
    town.pass(10);
    assert_eq!(town.held(2, &talk).len(), 601);
    let again = town.count_all(is_append) - before;
    assert!(again < 150, "{again}");
}

#[test]
fn a_change_of_keys_does_not_wait() {
    let (mut town, talk) = Town::sharing(3);
    let next = SigningKey::from_seed([77; 32]);
    let (device, change) = (town.devices[0], key_change(&talk.key, talk.log, 1, &next));
    town.worlds[0].ask(&device, append(2, &change));
    // The second node has it, the third one not yet; and a device at the second uses the new key.
    town.bring(0, 1);
    let device = town.devices[1];
    let renewed = Conversation { key: next, ..talk.clone() };
    let open = open_frame(&device, 3, talk.log, &renewed.key, None, None);
    assert!(matches!(town.worlds[1].ask(&device, Body::Open(open)), Body::Opened { .. }));
    town.worlds[1].ask(&device, append(3, &renewed.envelope(2, b"in the new epoch")));
    town.bring(1, 2);
    for frame in town.worlds[2].take(peer(1)) {
        assert!(!matches!(frame.body, Body::Refused { .. }), "{frame:?}");
        town.worlds[1].input(Input::Frame(peer(2), frame));
    }
    town.bring(1, 2);
    for frame in town.worlds[2].take(peer(1)) {
        assert!(!matches!(frame.body, Body::Refused { .. }), "{frame:?}");
    }
    assert_eq!(town.held(2, &talk), ["commit", "in the new epoch"]);
}

#[test]
fn no_node_waits_for_one_that_may_not_know_all_nodes() {
    let (mut town, talk) = Town::sharing(4);
    // The first three of them had agreed before, and only the second one has heard of the fourth.
    let tell = |town: &mut Town, n: usize, version, nodes: &[usize]| {
        let device = town.devices[n];
        let open = Open {
            ranking: Some(Box::new(ranking(version, nodes))),
            ..open_frame(&device, 2, talk.log, &talk.key, None, Some(Cursor::default()))
        };
        let opened = town.worlds[n].ask(&device, Body::Open(open));
        assert!(matches!(opened, Body::Opened { .. }), "{opened:?}");
    };
    (0..3).for_each(|n| tell(&mut town, n, 2, &[0, 1, 2]));
    town.pass(60);
    tell(&mut town, 1, 3, &[0, 1, 2, 3]);
    tell(&mut town, 3, 3, &[0, 1, 2, 3]);
    town.carry();
    send(&mut town, 0, &talk, 1, "for three");
    town.carry();
    assert_eq!(town.held(3, &talk), ["for three"]);
}

#[test]
fn a_word_of_one_that_pushes_nothing_here_is_dropped() {
    let (mut town, _) = Town::sharing(3);
    let device = town.devices[0];
    let world = &mut town.worlds[0];
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
        let (mut town, talk) = Town::sharing(3);
        let (mut number, mut accepted) = (0_u64, Vec::new());
        town.worlds.iter_mut().for_each(|world| world.syncs = false);
        for step in steps {
            match step {
                Step::Append(n) => {
                    number += 1;
                    let text = format!("{number}");
                    let (device, envelope) = (town.devices[n], talk.envelope(number, text.as_bytes()));
                    if let Some(Body::Accepted { .. }) =
                        town.worlds[n].try_ask(&device, append(2, &envelope))
                    {
                        accepted.push(text);
                    }
                }
                Step::Change(n) => {
                    let next = SigningKey::from_seed([number as u8; 32]);
                    let (device, change) =
                        (town.devices[n], key_change(&talk.key, talk.log, number + 1, &next));
                    town.worlds[n].try_ask(&device, append(2, &change));
                }
                Step::Carry(most) => {
                    town.carry_some(most);
                }
                Step::Crash(n) => {
                    town.kill(n);
                    town.revive(n);
                    town.join(n, &talk);
                }
                Step::Cut(a, b) => town.cut(a, b),
                Step::Sync(n) => town.worlds[n].sync(),
                Step::Pass(seconds) => {
                    town.worlds.iter_mut().for_each(|world| world.pass(seconds));
                }
            }
        }
        for world in &mut town.worlds {
            world.syncs = true;
            world.sync();
        }
        town.pass(1200);
        let texts = town.held(0, &talk);
        for n in [1, 2] {
            prop_assert_eq!(&texts, &town.held(n, &talk), "{}", n);
        }
        for text in accepted {
            prop_assert_eq!(texts.iter().filter(|other| **other == text).count(), 1);
        }
        prop_assert_eq!(town.dirty(), 0);
        let said = town.said.len();
        town.pass(3600);
        prop_assert_eq!(town.said.len(), said, "all is quiet");
    }
}
