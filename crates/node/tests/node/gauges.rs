//! Gauges: no collection grows beyond its limit, whatever peers do. The world checks them after
//! each input; here a peer tries to exceed them.

use node::{Dropped, NodeConfig};
use proto::{Body, Code, Cursor, Input, limits};

use crate::world::{Account, Conversation, NODE, World, append, refused};

fn gauge(world: &World, name: &str) -> u64 {
    world.machine().gauges().into_iter().find(|gauge| gauge.name == name).unwrap().value
}

#[test]
fn a_full_node_turns_connections_away_until_one_ends() {
    let mut world = World::new(NodeConfig { connections_max: 3, ..NodeConfig::new(NODE) });
    let clients = [1, 2, 3].map(|peer| world.connect(peer));
    assert_eq!(gauge(&world, "connections"), 3);
    let late = proto::PublicKey([4; 32]);
    world.input(Input::Connected(late, None));
    assert_eq!(world.take(late)[0].body, Body::Goodbye(Code::Busy));
    assert_eq!(world.hung_up, [late]);
    assert_eq!(world.machine().counters().dropped[&Dropped::TooManyConnections], 1);
    world.connect(1);
    assert_eq!(world.hung_up, [late], "a new connection takes the place of the peer's old one");
    world.input(Input::Disconnected(clients[2].peer));
    assert_eq!(gauge(&world, "connections"), 2);
    world.connect(4);
}

#[test]
fn a_connection_opens_only_so_many_channels() {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    world.register(&owner, &Account::new(1));
    // Several logs, so that none is crowded.
    let talks = [60, 61, 62, 63, 64].map(Conversation::new);
    let open = |world: &mut World, channel: u32| {
        let Conversation { genesis, log, key } = &talks[channel as usize % talks.len()];
        world.open(&owner, channel, *log, key, Some(*genesis), None)
    };
    for channel in 2..=limits::CHANNELS_MAX as u32 {
        assert!(matches!(open(&mut world, channel), Body::Opened { .. }), "{channel}");
    }
    assert_eq!(gauge(&world, "channels of a connection"), limits::CHANNELS_MAX as u64);
    assert_eq!(open(&mut world, 5000), refused(Code::Busy));
    world.tell(&owner, Body::Close { channel: 2 });
    assert!(matches!(open(&mut world, 5000), Body::Opened { .. }));
}

#[test]
fn a_crowded_log_takes_no_more_readers() {
    let mut world = World::new(NodeConfig::new(NODE));
    let (owner, member) = (world.connect(1), world.connect(2));
    world.register(&owner, &Account::new(1));
    let talk = world.create(&owner, 2, 9);
    let tail = Some(Cursor::default());
    for channel in 1..limits::READERS_MAX as u32 {
        let opened = world.open(&member, channel, talk.log, &talk.key, None, tail);
        assert!(matches!(opened, Body::Opened { .. }), "{channel}: {opened:?}");
    }
    assert_eq!(gauge(&world, "readers of a log"), limits::READERS_MAX as u64);
    let more = world.open(&member, 5000, talk.log, &talk.key, None, tail);
    assert_eq!(more, refused(Code::Busy));
    let again = world.open(&member, 7, talk.log, &talk.key, None, tail);
    assert!(matches!(again, Body::Opened { .. }), "in place of an old one there is room");
    world.ask(&owner, append(2, &talk.envelope(1, b"to all")));
    world.input(Input::Disconnected(member.peer));
    assert_eq!(gauge(&world, "readers of a log"), 1);
}

#[test]
fn a_reader_that_accepts_nothing_fills_its_window_and_no_more() {
    let mut world = World::new(NodeConfig::new(NODE));
    let (owner, greedy) = (world.connect(1), world.connect(2));
    world.register(&owner, &Account::new(1));
    let talk = world.create(&owner, 2, 9);
    for channel in 1..4 {
        world.open(&greedy, channel, talk.log, &talk.key, None, Some(Cursor::default()));
    }
    for i in 0..200_u16 {
        world.ask(&owner, append(2, &talk.envelope(1, &i.to_be_bytes())));
    }
    let unaccepted = "entries a connection has not accepted";
    assert_eq!(gauge(&world, unaccepted), limits::DELIVER_WINDOW);
    assert_eq!(gauge(&world, "channels behind of a connection"), 3);
    for channel in 1..4 {
        world.tell(&greedy, Body::Close { channel });
    }
    assert_eq!(gauge(&world, unaccepted), 0);
    assert_eq!(gauge(&world, "channels behind of a connection"), 0);

    world.open(&greedy, 1, talk.log, &talk.key, None, Some(Cursor::default()));
    for i in 0..12_u8 {
        let largest = vec![i; limits::ENVELOPE_MAX - 200];
        world.ask(&owner, append(2, &talk.envelope(1, &largest)));
    }
    let bytes = "bytes a connection has not accepted";
    assert!(gauge(&world, bytes) > 512 * 1024, "the last one still fits");
    world.tell(&greedy, Body::Accepted { channel: 1, sequence: 300 });
    assert!(gauge(&world, bytes) < 512 * 1024, "the rest follows");
}
