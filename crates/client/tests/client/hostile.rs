//! A node that withholds, repeats, reorders and invents: a device loses nothing that it has, shows
//! nothing that no member said, and says so where something is missing.

use std::time::Duration;

use client::{
    Action, ContactState,
    view::{self, Item, Range},
};
use proto::{
    Body, Code, Entry, Frame, Hello, Instant, Kind, PublicKey, Table, VERSIONS, limits, write_frame,
};

use crate::world::{Who, World};

#[test]
fn what_a_node_forgets_to_deliver_is_asked_for() {
    let mut world = World::acquainted(1);
    world.lose(|frame| matches!(&frame.body, Body::Deliver { entry, .. } if entry.position == 3));
    world.send(0, "skipped");
    world.lose(|_| false);
    assert!(world.texts(1).is_empty());
    world.send(0, "delivered");
    assert_eq!(world.texts(1), ["skipped", "delivered"]);
}

#[test]
fn what_a_node_withholds_leaves_a_gap_and_is_shown_once_it_is_there() {
    let mut world = World::acquainted(2);
    world.lose(|frame| {
        matches!(&frame.body, Body::Deliver { entry, .. } if entry.position == 3)
            || matches!(frame.body, Body::Page { .. })
    });
    world.send(0, "withheld");
    world.send(0, "depends on it");
    let with = world.conversation(1);
    let items =
        |world: &World, now: Instant| view::timeline(world.rows(1), &with, Range::Latest, 10, now);
    assert_eq!(items(&world, world.now()), [], "it may still come");
    world.pass(Duration::from_secs(11));
    assert_eq!(items(&world, world.now()), [Item::Gap { waiting: 1 }]);
    // The next device run, too, knows what it waits for.
    world.crash(Who::Person(1));
    world.lose(|_| false);
    world.start(Who::Person(1));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.texts(1), ["withheld", "depends on it"]);
    assert_eq!(items(&world, world.now()).len(), 2, "the gap is closed");
}

#[test]
fn deliveries_may_come_twice_and_in_any_order() {
    let mut world = World::acquainted(3);
    for i in 0..12 {
        world.send(i % 2, &format!("{i}"));
    }
    let before = world.messages(1);
    let deliveries = world.frames().into_iter();
    let deliveries = deliveries.filter(|frame| matches!(frame.body, Body::Deliver { .. }));
    let mut deliveries: Vec<_> = deliveries.collect();
    deliveries.reverse();
    for frame in deliveries {
        world.inject(1, frame);
    }
    world.run();
    assert_eq!(world.messages(1), before);
}

#[test]
fn what_no_member_said_changes_nothing() {
    let mut world = World::acquainted(4);
    for i in 0..4 {
        world.send(i % 2, &format!("{i}"));
    }
    world.pass(Duration::from_secs(1));
    let before = world.messages(1);
    let contacts = view::contacts(world.rows(1));
    for frame in world.frames() {
        for bent in bent(&frame) {
            world.inject(1, bent);
        }
    }
    for frame in invented() {
        world.inject(1, frame);
    }
    world.run();
    assert_eq!(world.messages(1), before);
    assert_eq!(view::contacts(world.rows(1)), contacts);
    let dropped = world.client(1).counters().dropped;
    assert!(dropped > 100, "each is counted: {dropped}");
    // An honest connection later, not even the lies about how far deliveries had come matter.
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.pass(Duration::from_secs(30));
    world.send(0, "still here");
    assert_eq!(world.texts(1).last().map(String::as_str), Some("still here"));
}

#[test]
fn a_request_that_was_altered_is_dropped() {
    let mut world = World::new(5, 2);
    world.create(0, "Ada");
    world.create(1, "Ben");
    let link = world.invite(0);
    world.lose(|frame| matches!(frame.body, Body::Deliver { .. }));
    world.ask(1, Action::AddContact { link, name: String::new() }).unwrap();
    let frames = world.frames().into_iter();
    let mut deliver = frames.filter(|frame| matches!(frame.body, Body::Deliver { .. }));
    let request = deliver.next().expect("the request was on its way");
    for bent in bent(&request) {
        world.inject(0, bent);
    }
    assert!(view::contacts(world.rows(0)).is_empty());
    world.inject(0, request);
    assert_eq!(view::contacts(world.rows(0)).len(), 1, "as it was sent it counts");
}

#[test]
fn a_removed_contact_does_not_come_back_by_an_old_request() {
    let mut world = World::acquainted(6);
    let (ada, ben) = (world.friend(1), world.friend(0));
    let request = first(&world, |frame| matches!(frame.body, Body::Deliver { .. }));
    world.ask(0, Action::RemoveContact { contact: ben }).unwrap();
    world.inject(0, request.clone());
    assert!(view::contacts(world.rows(0)).is_empty());
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    world.run();
    world.inject(0, request);
    assert!(view::contacts(world.rows(0)).is_empty(), "not even after a restart");

    world.ask(1, Action::RemoveContact { contact: ada }).unwrap();
    let link = world.invite(0);
    world.ask(1, Action::AddContact { link, name: String::new() }).unwrap();
    let contacts = view::contacts(world.rows(0));
    assert_eq!(contacts[0].state, ContactState::Asking, "a new request is heard");
}

#[test]
fn a_request_that_was_declined_stays_declined() {
    let mut world = World::new(7, 2);
    world.create(0, "Ada");
    let ben = world.create(1, "Ben");
    let link = world.invite(0);
    world.ask(1, Action::AddContact { link, name: String::new() }).unwrap();
    world.ask(0, Action::RemoveContact { contact: ben }).unwrap();
    let request = first(&world, |frame| matches!(frame.body, Body::Deliver { .. }));
    world.inject(0, request);
    assert!(view::contacts(world.rows(0)).is_empty());
}

#[test]
fn a_second_hello_changes_nothing() {
    let mut world = World::new(8, 2);
    world.create(0, "Ada");
    world.create(1, "Ben");
    let hello = Hello { versions: VERSIONS, nonce: [7; 16] };
    world.inject(1, Frame::new(Body::Hello(hello)));
    let link = world.invite(0);
    world.ask(1, Action::AddContact { link, name: String::new() }).unwrap();
    let contacts = view::contacts(world.rows(1));
    assert_eq!((contacts[0].state, contacts[0].trouble.as_str()), (ContactState::Requested, ""));
    assert_eq!(world.client(1).counters().dropped, 1);
}

#[test]
fn key_packages_are_made_at_a_pace_and_up_to_a_number() {
    let mut world = World::new(9, 1);
    world.lose(|frame| matches!(frame.body, Body::KeyPackages { .. }));
    world.create(0, "Ada");
    let (mut answered, mut made) = (0, 0);
    let mut an_hour = |world: &mut World| {
        for _ in 0..60 {
            world.pass(Duration::from_secs(60));
            while let Some(put) = put_key_packages(world).get(answered) {
                let (request, one_time) = *put;
                answered += 1;
                made += one_time;
                let body = Body::KeyPackages { packages: Vec::new(), left: 0 };
                world.inject(0, Frame { request, body });
            }
        }
        made
    };
    let made = an_hour(&mut world);
    assert!(made <= 7 * 50, "{made}, not fifty in ten minutes");
    for _ in 0..8 {
        an_hour(&mut world);
    }
    assert!(count(&world, 0, KEY_PACKAGES).0 <= 401, "and one of last resort");
}

/// The request numbers of all that hand key packages in, each with the number of one-time ones.
fn put_key_packages(world: &World) -> Vec<(u32, usize)> {
    let put = |frame: Frame| {
        let Body::PutKeyPackages(put) = frame.body else { return None };
        Some((frame.request, put.one_time.len()))
    };
    world.frames().into_iter().filter_map(put).collect()
}

#[test]
fn entries_that_no_device_can_open_take_no_place_from_others() {
    let mut world = World::acquainted(10);
    world.send(0, "first");
    let delivered = |frame: &Frame| matches!(frame.body, Body::Deliver { .. });
    let honest = world.frames().into_iter().rev().find(delivered).unwrap();
    let Body::Deliver { channel, entry } = honest.body else { panic!() };
    let flood = |world: &mut World, from: u32| {
        for number in from..from + 300 {
            let mut ciphertext = vec![0; 60_000];
            ciphertext[..4].copy_from_slice(&number.to_be_bytes());
            let write_key = Some(PublicKey([9; 32]));
            let entry = Entry { ciphertext, write_key, ..entry.clone() };
            world.inject(1, Frame::new(Body::Deliver { channel, entry }));
        }
    };
    flood(&mut world, 0);
    world.lose(|frame| {
        matches!(&frame.body, Body::Deliver { entry, .. } if entry.position == 4)
            || matches!(frame.body, Body::Page { .. })
    });
    world.send(0, "withheld");
    world.send(0, "waits for it");
    flood(&mut world, 300);
    let (entries, bytes) = count(&world, 1, DEFERRED);
    assert!(bytes < 17 << 20 && entries > 200, "{entries} entries, {bytes} bytes");
    world.lose(|_| false);
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.texts(1), ["first", "withheld", "waits for it"]);
}

/// Where a device keeps key packages and entries that wait.
const KEY_PACKAGES: Table = Table(4);
const DEFERRED: Table = Table(16);

/// Returns the number of rows in a table of a device, and their bytes.
fn count(world: &World, person: usize, table: Table) -> (usize, usize) {
    let rows = world.rows_in(person, table);
    (rows.len(), rows.iter().map(|(_, row)| row.len()).sum())
}

fn first(world: &World, fits: fn(&Frame) -> bool) -> Frame {
    world.frames().into_iter().find(fits).unwrap()
}

/// A frame with single bytes changed, as far as it still is a frame; answers get every number.
fn bent(frame: &Frame) -> Vec<Frame> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    let places = (1..bytes.len()).step_by((bytes.len() / 40).max(1));
    let bend = |place: usize| {
        let mut bent = bytes.clone();
        bent[place] ^= 1 << (place % 8);
        let mut reader = proto::FrameReader::default();
        reader.push(&bent);
        let (read, _) = reader.next_frame().ok()??;
        (read != *frame).then_some(read)
    };
    places.filter_map(bend).filter(|bent| !matches!(bent.body, Body::Signal { .. })).collect()
}

fn invented() -> Vec<Frame> {
    let entry = |position, ciphertext| Entry {
        sequence: u64::MAX,
        kind: Kind::KeyChange,
        expiry: proto::Expiry::Never,
        position,
        extension: proto::Extension::next_key(PublicKey([7; 32])),
        ciphertext,
        write_key: Some(PublicKey([9; 32])),
    };
    let mut frames = Vec::new();
    for channel in 0..6 {
        frames.push(Frame::new(Body::Accepted { channel, sequence: u64::MAX }));
        frames.push(Frame::new(Body::Signal { channel, ciphertext: vec![1; limits::SIGNAL_MAX] }));
        for request in 0..40 {
            let newer = vec![3; 100];
            let page = Body::Page { entries: vec![entry(0, vec![])], more: true };
            frames.push(Frame { request, body: Body::Refused { code: Code::Stale, newer } });
            frames.push(Frame { request, body: Body::BundleIs(vec![0; 2048]) });
            frames.push(Frame { request, body: page });
            frames.push(Frame {
                request,
                body: Body::KeyPackages { packages: vec![vec![5; 300]; 16], left: u32::MAX },
            });
        }
    }
    frames
}
