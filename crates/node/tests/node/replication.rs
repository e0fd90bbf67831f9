//! Two nodes that hold the same logs: each gets what the other has, whatever happens in between.

use proptest::prelude::*;
use proto::{Body, Code, Cursor, Entry, Frame, Input, LogGenesis, Replicate, limits};

use crate::{
    town::{OTHER, Town, is_append, ranking},
    world::{Conversation, NODE, envelope, key_change, refused},
};
use crypto::SigningKey;
use node::{NodeCommand, NodeConfig, NodeEvent};

#[test]
fn what_one_node_takes_the_other_delivers() {
    let (mut town, talk) = Town::acquainted();
    for (side, text) in [(0, "from a"), (1, "from b"), (0, "again")] {
        let stored = town.append(side, 2, &talk.envelope(1, text.as_bytes()));
        assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
        town.carry();
        let device = town.devices[1 - side];
        let delivered = town.worlds[1 - side].delivered(&device);
        let [(2, entry)] = delivered.as_slice() else { panic!("{delivered:?}") };
        assert_eq!(entry.ciphertext, text.as_bytes());
    }
    assert_eq!(town.texts(0, 2, &talk), town.texts(1, 2, &talk));
    assert_eq!((town.count(0, is_append), town.count(1, is_append)), (2, 1), "nothing goes back");
    assert_eq!(town.worlds[0].machine().counters().replicated, 2);
    // Until all was compared.
    town.pass(600);
    let before = town.said.len();
    town.pass(3600);
    assert_eq!(town.said.len(), before, "an idle pair is silent");
}

#[test]
fn both_may_write_at_once() {
    let (mut town, talk) = Town::acquainted();
    for round in 0..50 {
        for side in [0, 1] {
            town.append(side, 2, &talk.envelope(round + 1, format!("{side} {round}").as_bytes()));
        }
        if round % 7 == 0 {
            town.carry_some(3);
        }
    }
    town.carry();
    let texts = town.texts(0, 2, &talk);
    assert_eq!(texts.len(), 100);
    assert_eq!(texts, town.texts(1, 2, &talk));
}

#[test]
fn a_copy_that_comes_later_gets_all() {
    let mut town = Town::new();
    let talk = Conversation::new(60);
    town.open(0, 2, &talk);
    town.link();
    for position in 1..=300 {
        town.append(0, 2, &talk.envelope(position, b"early"));
    }
    town.carry();
    let asked = town.count(0, |body| matches!(body, Body::Replicate(_)));
    assert_eq!(asked, 1, "the other has no copy, and will call when it has");
    town.pass(7200);
    assert_eq!(town.count(0, |body| matches!(body, Body::Replicate(_))), 1);
    town.open(1, 2, &talk);
    town.carry();
    assert_eq!(town.texts(1, 2, &talk).len(), 300);
}

#[test]
fn a_copy_that_comes_while_the_other_hears_that_there_is_none_gets_all() {
    let mut town = Town::new();
    let talk = Conversation::new(60);
    town.open(0, 2, &talk);
    town.append(0, 2, &talk.envelope(1, b"early"));
    town.link();
    // Hellos, then the question, whose answer stays on its way.
    town.carry_some(1);
    let (a, b) = (town.name(0), town.name(1));
    for frame in town.worlds[0].take(b) {
        town.worlds[1].input(Input::Frame(a, frame));
    }
    let answer = town.worlds[1].take(a);
    assert!(answer.iter().any(|frame| frame.body == refused(Code::NotFound)), "{answer:?}");
    town.open(1, 2, &talk);
    town.carry();
    for frame in answer {
        town.worlds[0].input(Input::Frame(b, frame));
    }
    town.carry();
    assert_eq!(town.texts(1, 2, &talk), ["early"]);
}

#[test]
fn a_node_that_was_away_for_long_gets_all_in_small_portions() {
    let (mut town, talk) = Town::acquainted();
    town.cut(0, 1);
    for position in 1..=3000 {
        town.append(0, 2, &talk.envelope(position, b"meanwhile"));
    }
    assert_eq!(copies_behind(&mut town), 1);
    town.link();
    town.carry_some(1);
    town.carry_some(1);
    town.carry_some(1);
    let other = town.name(1);
    let on_the_way = town.worlds[0].take_some(other, usize::MAX);
    assert!(on_the_way.len() <= limits::QUEUE_FRAMES_MAX, "{}", on_the_way.len());
    // They are lost, with the connection.
    town.cut(0, 1);
    town.link();
    town.carry();
    assert_eq!(town.entries(1, 2, &talk).len(), 3000);
    assert_eq!(town.entries(0, 2, &talk), town.entries(1, 2, &talk));
    assert_eq!(copies_behind(&mut town), 0);
}

fn copies_behind(town: &mut Town) -> u64 {
    let world = &mut town.worlds[0];
    world.input(Input::Command(NodeCommand::Status(1)));
    match world.events.last() {
        Some(NodeEvent::Status { status, .. }) => status.copies_behind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_busy_logs_take_turns() {
    let (mut town, talk) = Town::acquainted();
    let other = Conversation::new(61);
    town.open(0, 3, &other);
    town.open(1, 3, &other);
    town.carry();
    town.cut(0, 1);
    for position in 1..=1000 {
        town.append(0, 2, &talk.envelope(position, b"much"));
    }
    town.append(0, 3, &other.envelope(1, b"little"));
    town.link();
    let little = |town: &mut Town| town.entries(1, 3, &other).len();
    while little(&mut town) == 0 {
        assert!(town.carry_some(8) > 0);
    }
    assert!(town.entries(1, 2, &talk).len() < 500, "one does not wait for all of the other");
}

#[test]
fn a_closed_key_still_counts_for_what_another_node_has_taken() {
    let (mut town, talk) = Town::acquainted();
    let next = SigningKey::from_seed([77; 32]);
    town.append(0, 2, &key_change(&talk.key, talk.log, 1, &next));
    town.carry();
    town.cut(0, 1);
    // Within the grace there, but late here.
    town.worlds[1].pass(limits::WRITE_KEY_GRACE_S - 10);
    assert!(matches!(town.append(1, 2, &talk.envelope(2, b"in time")), Body::Accepted { .. }));
    town.worlds.iter_mut().for_each(|world| world.pass(limits::WRITE_KEY_GRACE_S));
    assert_eq!(town.append(0, 2, &talk.envelope(2, b"too late")), refused(Code::Forbidden));
    town.link();
    town.carry();
    assert_eq!(town.texts(0, 2, &talk), ["commit", "in time"]);
    assert_eq!(town.append(0, 2, &talk.envelope(3, b"too late")), refused(Code::Forbidden));
    // And a key that was not announced is no key.
    let stranger = SigningKey::from_seed([78; 32]);
    let forged = envelope(&stranger, talk.log, 3, b"forged");
    assert_eq!(push(&mut town, 9, &forged), refused(Code::Forbidden));
}

/// The second node appends something to the first one's copy that it does not have itself.
fn push(town: &mut Town, sequence: u64, envelope: &proto::Envelope) -> Body {
    let b = town.name(1);
    let head = Cursor { incarnation: 5, sequence };
    let replicate = Replicate { channel: 99, log: envelope.head.log, head };
    let ask = |town: &mut Town, body| {
        town.worlds[0].input(Input::Frame(b, Frame { request: 4_000_000, body }));
        let answers = town.worlds[0].take(b);
        let answer = answers.into_iter().find(|frame| frame.request == 4_000_000);
        answer.map(|frame| frame.body)
    };
    let opened = ask(town, Body::Replicate(replicate));
    assert!(matches!(opened, Some(Body::Opened { .. })), "{opened:?}");
    let key = envelope.head.write_key;
    let entry = Entry::from_envelope(envelope, sequence, key);
    let entry = Entry { write_key: Some(key), ..entry };
    ask(town, Body::Append { channel: 99, entry, signature: envelope.signature }).unwrap()
}

#[test]
fn replicated_entries_are_checked_as_others_are() {
    let (mut town, talk) = Town::acquainted();
    let good = talk.envelope(1, b"good");
    let mut bent = good.clone();
    bent.signature[3] ^= 1;
    assert_eq!(push(&mut town, 1, &bent), refused(Code::BadSignature));
    assert_eq!(push(&mut town, 1, &talk.envelope(0, b"nowhere")), refused(Code::Position));
    let change = key_change(&talk.key, talk.log, 1, &talk.key);
    assert_eq!(push(&mut town, 1, &change), refused(Code::Invalid));
    assert_eq!(push(&mut town, 1, &good), Body::Accepted { channel: 99, sequence: 1 });
    assert_eq!(push(&mut town, 2, &good), Body::Accepted { channel: 99, sequence: 2 }, "again");
    // What lies between may have expired there.
    let far = talk.envelope(1_000_000, b"far");
    assert_eq!(push(&mut town, 3, &far), Body::Accepted { channel: 99, sequence: 3 });
    assert_eq!(town.texts(0, 2, &talk), ["good", "far"]);
}

#[test]
fn a_full_node_is_tried_again_and_loses_nothing_in_between() {
    let small = NodeConfig { log_quota_bytes: 4096, ..NodeConfig::new(OTHER) };
    let mut town = Town::with([NodeConfig::new(NODE), small]);
    let talk = Conversation::new(60);
    town.open(0, 2, &talk);
    town.open(1, 2, &talk);
    town.link();
    for position in 1..=30 {
        town.append(0, 2, &talk.envelope(position, &vec![b'x'; 100 + position as usize]));
    }
    town.carry();
    let held = town.texts(1, 2, &talk);
    assert_eq!(held, town.texts(0, 2, &talk)[..held.len()], "from the beginning, without a gap");
    let before = town.said.len();
    town.pass(60);
    let tries = town.said.len() - before;
    assert!((4..60).contains(&tries), "{tries}");
    // Room again: the node comes back with another setting.
    town.worlds[1].config.log_quota_bytes = 1 << 20;
    town.crash(1);
    town.open(1, 2, &talk);
    town.link();
    town.carry();
    assert_eq!(town.texts(0, 2, &talk), town.texts(1, 2, &talk));
}

#[test]
fn signals_go_to_the_other_node_and_no_further() {
    let (mut town, _) = Town::acquainted();
    let device = town.devices[0];
    town.worlds[0].tell(&device, Body::Signal { channel: 2, ciphertext: b"typing".to_vec() });
    town.carry();
    let there = town.devices[1].peer;
    let frames = town.worlds[1].take(there);
    let expected = Body::Signal { channel: 2, ciphertext: b"typing".to_vec() };
    assert_eq!(frames.into_iter().map(|frame| frame.body).collect::<Vec<_>>(), [expected]);
    assert_eq!(town.count(1, |body| matches!(body, Body::Signal { .. })), 0, "no echo");
    assert!(town.worlds[0].take(device.peer).is_empty());
}

#[test]
fn a_node_that_lost_its_disk_gets_its_copy_back() {
    let (mut town, talk) = Town::acquainted();
    for side in [0, 1] {
        town.append(side, 2, &talk.envelope(1, format!("{side}").as_bytes()));
    }
    town.carry();
    town.worlds[1].store = store::Memory::new();
    town.crash(1);
    let (world, account) = (&mut town.worlds[1], &town.accounts[1]);
    world.register(&town.devices[1], account);
    town.open(1, 2, &talk);
    town.link();
    town.carry();
    assert_eq!(town.texts(0, 2, &talk).len(), 2);
    assert_eq!(town.texts(0, 2, &talk), town.texts(1, 2, &talk));
}

#[test]
fn the_newer_ranking_counts_and_whom_it_leaves_out_is_left_alone() {
    let (mut town, talk) = Town::acquainted();
    town.append(0, 2, &talk.envelope(1, b"both"));
    town.carry();
    town.open_as(0, 2, &talk, &ranking(2, &[NODE]));
    town.open_as(0, 2, &talk, &ranking(1, &[NODE, OTHER]));
    town.append(0, 2, &talk.envelope(2, b"alone"));
    town.append(1, 2, &talk.envelope(2, b"refused"));
    town.carry();
    assert_eq!(town.texts(0, 2, &talk), ["both", "alone"]);
    assert_eq!(town.texts(1, 2, &talk), ["both", "refused"]);
    let other = town.name(1);
    assert!(town.worlds[0].wanted.contains_key(&other));
    town.worlds[0].pass(61);
    assert!(!town.worlds[0].wanted.contains_key(&other), "no log needs it any more");
    // And back again.
    town.open_as(0, 2, &talk, &ranking(3, &[NODE, OTHER]));
    town.cut(0, 1);
    town.link();
    town.carry();
    assert_eq!(town.texts(0, 2, &talk), town.texts(1, 2, &talk));
    assert_eq!(town.texts(0, 2, &talk).len(), 3);
}

#[test]
fn a_ranking_is_told_by_who_may_write_and_names_each_node_once() {
    let (mut town, talk) = Town::acquainted();
    let invalid = [ranking(9, &[OTHER]), ranking(9, &[NODE, OTHER, OTHER])];
    for ranking in invalid {
        assert_eq!(town.try_open(0, 2, &talk, &ranking), refused(Code::Invalid));
    }
    let next = SigningKey::from_seed([77; 32]);
    town.append(0, 2, &key_change(&talk.key, talk.log, 1, &next));
    town.worlds[0].pass(limits::WRITE_KEY_GRACE_S);
    // Who holds a closed key may read, but not say who else may.
    let more = ranking(9, &[NODE, OTHER, proto::NodeId([0xCC; 32])]);
    town.open_as(0, 2, &talk, &more);
    assert_eq!(town.worlds[0].wanted.len(), 1);
}

#[test]
fn a_ranking_that_is_refused_changes_nothing() {
    let room = 24_000 + 320 + 3_000;
    let config = NodeConfig { account_quota_bytes: room, ..NodeConfig::new(NODE) };
    let mut town = Town::with([config, NodeConfig::new(OTHER)]);
    let talk = Conversation::new(60);
    let before = town.worlds[0].dump();
    assert_eq!(town.try_open(0, 2, &talk, &ranking(1, &[OTHER])), refused(Code::Invalid));
    assert_eq!(town.try_open(0, 2, &talk, &ranking(1, &[NODE, OTHER])), refused(Code::Quota));
    assert_eq!(town.worlds[0].dump(), before);
    let device = town.devices[0];
    town.worlds[0].create(&device, 2, 60);
    assert_eq!(town.try_open(0, 2, &talk, &ranking(1, &[NODE, OTHER])), refused(Code::Quota));
    let stored = town.append(0, 2, &talk.envelope(1, b"still open"));
    assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
}

#[test]
fn an_inbox_is_not_ranked_by_who_opens_it() {
    let mut town = Town::new();
    let inbox = LogGenesis::Inbox(town.accounts[0].id()).id();
    let (b, account) = (town.name(1), town.accounts[0].device.clone());
    let open = proto::Open {
        ranking: Some(Box::new(ranking(1, &[NODE, OTHER]))),
        ..crate::world::open_frame(&town.devices[0], 3, inbox, &account, None, None)
    };
    let device = town.devices[0];
    assert!(matches!(town.worlds[0].ask(&device, Body::Open(open)), Body::Opened { .. }));
    assert!(town.worlds[0].wanted.is_empty());
    town.worlds[0].input(Input::Connected(b, None));
    let hello = proto::Hello { versions: proto::VERSIONS, nonce: [1; 16] };
    town.worlds[0].input(Input::Frame(b, Frame::new(Body::Hello(hello))));
    let head = Cursor { incarnation: 5, sequence: 1 };
    let body = Body::Replicate(Replicate { channel: 1, log: inbox, head });
    town.worlds[0].input(Input::Frame(b, Frame { request: 8, body }));
    let answers = town.worlds[0].take(b);
    assert_eq!(answers.last().unwrap().body, refused(Code::Forbidden));
}

/// What may happen to two nodes.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Carry(usize),
    Crash(usize),
    Sync(usize),
    Cut,
    Link,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize).prop_map(Step::Append),
        6 => (1..40_usize).prop_map(Step::Carry),
        1 => (0..2_usize).prop_map(Step::Crash),
        4 => (0..2_usize).prop_map(Step::Sync),
        1 => Just(Step::Cut),
        2 => Just(Step::Link),
        1 => (1..100_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever was accepted is at both nodes in the end, once.
    #[test]
    fn both_have_all_that_either_has_accepted(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut town, talk) = Town::acquainted();
        let (mut number, mut accepted) = (0_u64, Vec::new());
        town.worlds.iter_mut().for_each(|world| world.syncs = false);
        for step in steps {
            match step {
                Step::Append(side) => {
                    number += 1;
                    let text = format!("{number}");
                    if let Body::Accepted { .. } =
                        town.append(side, 2, &talk.envelope(number, text.as_bytes()))
                    {
                        accepted.push(text);
                    }
                }
                Step::Carry(most) => {
                    town.carry_some(most);
                }
                Step::Crash(side) => {
                    town.crash(side);
                    let (device, account) = (town.devices[side], &town.accounts[side]);
                    town.worlds[side].register(&device, account);
                    town.open(side, 2, &talk);
                }
                Step::Sync(side) => town.worlds[side].sync(),
                Step::Cut => town.cut(0, 1),
                Step::Link => town.link(),
                Step::Pass(seconds) => {
                    town.worlds.iter_mut().for_each(|world| world.pass(seconds));
                }
            }
        }
        for world in &mut town.worlds {
            world.syncs = true;
            world.sync();
        }
        town.link();
        town.pass(1200);
        let texts = town.texts(0, 2, &talk);
        prop_assert_eq!(&texts, &town.texts(1, 2, &talk));
        for text in accepted {
            prop_assert_eq!(texts.iter().filter(|other| **other == text).count(), 1);
        }
        let said = town.said.len();
        town.pass(3600);
        prop_assert_eq!(town.said.len(), said, "all is quiet");
    }
}
