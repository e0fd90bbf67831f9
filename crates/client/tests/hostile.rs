//! A node that withholds, repeats, reorders and invents: a device loses nothing that it has, shows
//! nothing that no member said, and says so where something is missing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod world;

use std::time::Duration;

use client::{
    Action,
    view::{self, Item, Range},
};
use proto::{Body, Code, Entry, Frame, Instant, Kind, PublicKey, limits, write_frame};
use world::World;

#[test]
fn what_a_node_forgets_to_deliver_is_asked_for() {
    let (mut world, ada, ben) = World::acquainted(1);
    world.lost = |frame| matches!(&frame.body, Body::Deliver { entry, .. } if entry.position == 3);
    world.say(0, ben, "skipped");
    world.lost = |_| false;
    assert!(world.texts(1, ada).is_empty());
    world.say(0, ben, "delivered");
    assert_eq!(world.texts(1, ada), ["skipped", "delivered"]);
}

#[test]
fn what_a_node_withholds_leaves_a_gap_and_is_shown_once_it_is_there() {
    let (mut world, ada, ben) = World::acquainted(2);
    world.lost = |frame| {
        matches!(&frame.body, Body::Deliver { entry, .. } if entry.position == 3)
            || matches!(frame.body, Body::Page { .. })
    };
    world.say(0, ben, "withheld");
    world.say(0, ben, "depends on it");
    let log = world.log(1, ada);
    let items =
        |world: &World, now: Instant| view::timeline(world.rows(1), &log, Range::Latest, 10, now);
    assert_eq!(items(&world, world.now), [], "it may still come");
    world.pass(Duration::from_secs(11));
    assert_eq!(items(&world, world.now), [Item::Gap { waiting: 1 }]);
    // The next device run, too, knows what it waits for.
    world.kill_device(1);
    world.lost = |_| false;
    world.start_device(1);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.texts(1, ada), ["withheld", "depends on it"]);
    assert_eq!(items(&world, world.now).len(), 2, "the gap is closed");
}

#[test]
fn deliveries_may_come_twice_and_in_any_order() {
    let (mut world, ada, ben) = World::acquainted(3);
    for i in 0..12 {
        world.say(i % 2, if i % 2 == 0 { ben } else { ada }, &format!("{i}"));
    }
    let before = world.messages(1, ada);
    let deliveries = world.frames().into_iter();
    let deliveries = deliveries.filter(|frame| matches!(frame.body, Body::Deliver { .. }));
    let mut deliveries: Vec<_> = deliveries.collect();
    deliveries.reverse();
    for frame in deliveries {
        world.inject(1, frame);
    }
    world.run();
    assert_eq!(world.messages(1, ada), before);
}

#[test]
fn what_no_member_said_changes_nothing() {
    let (mut world, ada, ben) = World::acquainted(4);
    for i in 0..4 {
        world.say(i % 2, if i % 2 == 0 { ben } else { ada }, &format!("{i}"));
    }
    world.pass(Duration::from_secs(1));
    let before = world.messages(1, ada);
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
    assert_eq!(world.messages(1, ada), before);
    assert_eq!(view::contacts(world.rows(1)), contacts);
    let dropped = world.devices[1].side.machine.as_ref().unwrap().counters().dropped;
    assert!(dropped > 100, "each is counted: {dropped}");
    // An honest connection later, not even the lies about how far deliveries had come matter.
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.pass(Duration::from_secs(30));
    world.say(0, ben, "still here");
    assert_eq!(world.texts(1, ada).last().map(String::as_str), Some("still here"));
}

#[test]
fn a_request_that_was_altered_is_dropped() {
    let mut world = World::new(5, 2);
    world.create(0, "Ada");
    world.create(1, "Ben");
    let link = world.invite(0);
    world.lost = |frame| matches!(frame.body, Body::Deliver { .. });
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
    for handle in 0..6 {
        frames.push(Frame::new(Body::Accepted { handle, sequence: u64::MAX }));
        frames.push(Frame::new(Body::Signal { handle, ciphertext: vec![1; limits::SIGNAL_MAX] }));
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
