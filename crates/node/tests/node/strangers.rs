//! Other nodes that are none of a log's, or say nonsense, or nothing. The worlds check all gauges
//! after each input.

use node::{Dropped, NodeConfig};
use proto::{
    Body, Code, Cursor, Frame, Hello, Input, NodeId, Peer, PublicKey, Replicate, VERSIONS, limits,
};

use crate::{
    town::{OTHER, Town, ranking},
    world::{Conversation, NODE, World, refused},
};

/// A node whose log names [`OTHER`] as well, and the peer that the test plays.
fn alone() -> (Town, Conversation, Peer) {
    let mut town = Town::new();
    let talk = Conversation::new(60);
    town.open(0, 2, &talk);
    let other = town.name(1);
    (town, talk, other)
}

pub(crate) fn greet(world: &mut World, peer: Peer) {
    world.input(Input::Connected(peer, None));
    let hello = Hello { versions: VERSIONS, nonce: [1; 16] };
    world.input(Input::Frame(peer, Frame::new(Body::Hello(hello))));
}

pub(crate) fn ask(world: &mut World, peer: Peer, body: Body) -> Option<Body> {
    let request = 4_000_000;
    world.input(Input::Frame(peer, Frame { request, body }));
    let answers = world.take(peer);
    answers.into_iter().find(|frame| frame.request == request).map(|frame| frame.body)
}

fn replicate(talk: &Conversation) -> Body {
    let head = Cursor { incarnation: 5, sequence: 1 };
    Body::Replicate(Replicate { channel: 1, log: talk.log, head })
}

/// The request and channel with which a node opens a log.
fn opening(world: &mut World, peer: Peer) -> (u32, Replicate) {
    let frames = world.take(peer);
    let asked = frames.into_iter().rev().find_map(|frame| match frame.body {
        Body::Replicate(replicate) => Some((frame.request, replicate)),
        _ => None,
    });
    asked.unwrap()
}

#[test]
fn who_is_not_in_the_ranking_may_not_replicate() {
    let (mut town, talk, _) = alone();
    let stranger = PublicKey([0xCC; 32]);
    let world = &mut town.worlds[0];
    greet(world, stranger);
    assert_eq!(ask(world, stranger, replicate(&talk)), Some(refused(Code::Forbidden)));
    let none = replicate(&Conversation::new(61));
    assert_eq!(ask(world, stranger, none), Some(refused(Code::NotFound)));
    assert!(!world.wanted.contains_key(&stranger));
}

#[test]
fn another_node_may_append_and_nothing_else() {
    let (mut town, talk, other) = alone();
    let world = &mut town.worlds[0];
    greet(world, other);
    assert!(matches!(ask(world, other, replicate(&talk)), Some(Body::Opened { .. })));
    let read = proto::Read { channel: 1, from: Default::default(), backward: false, limit: 9 };
    assert_eq!(ask(world, other, Body::Read(read)), Some(refused(Code::Forbidden)));
    let fetch = Body::Fetch { channel: 1, references: Vec::new() };
    assert_eq!(ask(world, other, fetch), Some(refused(Code::Forbidden)));
    let take = Body::TakeKeyPackages { channel: 1 };
    assert_eq!(ask(world, other, take), Some(refused(Code::Forbidden)));
    // Without the key an entry is none.
    let append = crate::world::append(1, &talk.envelope(1, b"whose?"));
    assert_eq!(ask(world, other, append), Some(refused(Code::Malformed)));
}

#[test]
fn one_that_never_accepts_gets_a_window_and_no_more() {
    let (mut town, talk, other) = alone();
    for position in 1..=1000 {
        town.append(0, 2, &talk.envelope(position, b"much"));
    }
    let world = &mut town.worlds[0];
    greet(world, other);
    let (request, Replicate { head, .. }) = opening(world, other);
    let head = Cursor { sequence: 0, ..head };
    let opened = Frame { request, body: Body::Opened { head, position: 0 } };
    world.input(Input::Frame(other, opened));
    assert_eq!(world.take(other).len(), limits::QUEUE_FRAMES_MAX);
    for position in 1001..=1100 {
        town.append(0, 2, &talk.envelope(position, b"more"));
    }
    assert!(town.worlds[0].take(other).is_empty());
}

#[test]
fn nonsense_in_answer_is_dropped_or_put_off() {
    let (mut town, talk, other) = alone();
    town.append(0, 2, &talk.envelope(1, b"one"));
    let world = &mut town.worlds[0];
    greet(world, other);
    let (request, _) = opening(world, other);
    let unasked = [
        Frame { request: request + 7, body: refused(Code::Busy) },
        Frame { request: 0, body: refused(Code::Busy) },
    ];
    for frame in unasked {
        world.input(Input::Frame(other, frame));
    }
    assert_eq!(world.machine().counters().dropped[&Dropped::Unasked], 2);
    // An answer of the wrong kind.
    world.input(Input::Frame(
        other,
        Frame { request, body: Body::Accepted { channel: 9, sequence: 9 } },
    ));
    assert!(world.take(other).is_empty());
    world.pass(6);
    let (request, Replicate { head, .. }) = opening(world, other);
    // One that has more than there is, and one of another copy.
    for head in [Cursor { sequence: 99, ..head }, Cursor { incarnation: 1, sequence: 1 }] {
        world.input(Input::Frame(
            other,
            Frame { request, body: Body::Opened { head, position: 0 } },
        ));
    }
    let frames = world.take(other);
    assert!(matches!(frames[0].body, Body::Append { .. }), "from the beginning: {frames:?}");
}

#[test]
fn one_that_always_calls_and_never_opens_costs_no_more() {
    let (mut town, talk, other) = alone();
    town.append(0, 2, &talk.envelope(1, b"one"));
    let world = &mut town.worlds[0];
    greet(world, other);
    for round in 0..500_u64 {
        for frame in world.take(other) {
            if let Body::Replicate(_) = frame.body {
                let body = refused([Code::Busy, Code::NotFound, Code::Full][round as usize % 3]);
                world.input(Input::Frame(other, Frame { request: frame.request, body }));
            }
        }
        let head = Cursor { incarnation: round + 1, sequence: round };
        let channel = round as u32;
        let body = Body::Replicate(Replicate { channel, log: talk.log, head });
        world.input(Input::Frame(other, Frame { request: 1, body }));
    }
}

#[test]
fn a_flood_of_signals_is_stopped() {
    let (mut town, talk, other) = alone();
    let world = &mut town.worlds[0];
    greet(world, other);
    ask(world, other, replicate(&talk));
    let mut busy = false;
    for _ in 0..10_000 {
        let signal = Body::Signal { channel: 1, ciphertext: b"x".to_vec() };
        busy |= ask(world, other, signal) == Some(refused(Code::Busy));
    }
    assert!(busy);
}

#[test]
fn a_node_that_says_goodbye_is_dialled_again_and_one_of_another_version_later() {
    let (mut town, _, other) = alone();
    let world = &mut town.worlds[0];
    greet(world, other);
    world.input(Input::Frame(other, Frame::new(Body::Goodbye(Code::Done))));
    world.input(Input::Disconnected(other));
    assert!(world.wanted.contains_key(&other));
    world.input(Input::Connected(other, None));
    let hello = Hello { versions: (9, 9), nonce: [1; 16] };
    world.input(Input::Frame(other, Frame::new(Body::Hello(hello))));
    assert!(!world.wanted.contains_key(&other));
    world.input(Input::Disconnected(other));
    world.pass(601);
    assert!(world.wanted.contains_key(&other));
}

#[test]
fn there_is_room_for_so_many_nodes_and_the_others_take_turns() {
    let mut town = Town::with([
        NodeConfig { account_logs_max: 5000, ..NodeConfig::new(NODE) },
        NodeConfig::new(OTHER),
    ]);
    let many = 1100_u32;
    let name = |number: u32| {
        let mut name = [0xDD; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(name)
    };
    for number in 0..many {
        let key = crypto::SigningKey::from_seed([number as u8; 32]);
        let salt = u128::from(number).to_be_bytes();
        let genesis = proto::LogGenesis::Conversation { write_key: key.public(), salt };
        let talk = Conversation { genesis, log: genesis.id(), key };
        town.open_as(0, 2, &talk, &ranking(1, &[NODE, name(number)]));
    }
    let world = &mut town.worlds[0];
    assert_eq!(world.wanted.len(), 1024);
    let mut met: std::collections::BTreeSet<Peer> = world.wanted.keys().copied().collect();
    for _ in 0..20 {
        world.pass(60);
        met.extend(world.wanted.keys());
    }
    assert_eq!(met.len(), many as usize, "each has its turn");
    world.reopen();
    assert_eq!(world.wanted.len(), 1024);
}
