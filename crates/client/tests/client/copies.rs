//! More copies and more acks than there are by default, and how many nodes have signed.

use std::{cell::Cell, rc::Rc, time::Duration};

use client::{Acked, Action, CommandError, DeliveryStatus, view};
use proto::{Body, Code, Frame, NodeId};

use crate::world::{Who, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Ada is at home at nodes 0, 1, and 4, Ben at 2 and 3; they have met.
fn world(seed: u8) -> World {
    let people = [("Ada", vec![0, 1, 4]), ("Ben", vec![2, 3])];
    let mut world = World::at(seed, 5, &people).acquaint();
    world.pass(5 * SECOND);
    world
}

/// The nodes that have signed for what Ada said last.
fn stored_on(world: &World) -> Vec<NodeId> {
    let messages = world.messages(0);
    let acks = messages.last().map(|message| message.acks.clone()).unwrap_or_default();
    acks.into_iter().map(|ack| ack.node).collect()
}

fn want(world: &mut World, copies: u32, acks: u32) {
    let asked = world.ask(0, Action::WantCopies { copies, acks });
    assert!(asked.is_ok(), "{asked:?}");
    world.pass(2 * MINUTE);
}

#[test]
fn who_has_signed_is_shown_until_the_contact_has_it_and_outlasts_a_crash() {
    let mut world = world(1);
    world.crash(Who::Person(1));
    world.queue(0, "hello");
    world.pass(5 * SECOND);
    let named = |world: &World| {
        let mut named = stored_on(world);
        named.sort_unstable();
        named
    };
    let mut all: Vec<_> = [0, 1, 2, 3].map(|node| world.address(node).node).into();
    all.sort_unstable();
    assert_eq!(named(&world), all);
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    assert_eq!(named(&world), all, "it is in rows");
    // Anybody can check them.
    let message = world.messages(0).pop().unwrap();
    for Acked { node, ack } in &message.acks {
        crypto::node::verify_ack(node, &world.log(0), &message.key.id, ack).unwrap();
    }
    world.start(Who::Person(1));
    world.pass(MINUTE);
    assert_eq!(world.statuses(0).last(), Some(&DeliveryStatus::Delivered));
    assert_eq!(stored_on(&world), []);
}

#[test]
fn a_third_home_has_a_copy_and_signs() {
    let mut world = world(2);
    world.queue(0, "before");
    world.pass(5 * SECOND);
    want(&mut world, 3, 3);
    let homes = view::homes(world.rows(0)).unwrap();
    assert_eq!((homes.copies, homes.acks), (3, 3));
    assert!(homes.homes.iter().all(|home| home.has_copies));
    world.crash(Who::Person(1));
    world.queue(0, "after");
    world.pass(5 * SECOND);
    assert_eq!(stored_on(&world).len(), 5);
    assert!(stored_on(&world).contains(&world.address(4).node));

    // All but the third home are lost permanently, and so is Ada's device.
    for node in [0, 1, 2, 3] {
        world.crash(Who::Node(node));
    }
    world.start(Who::Person(1));
    world.pass(2 * MINUTE);
    world.queue(0, "I am at the third");
    world.pass(2 * MINUTE);
    assert_eq!(world.texts(0).len(), 3);
}

#[test]
fn it_is_called_stored_only_when_as_many_have_signed_as_are_wanted() {
    let mut world = world(3);
    want(&mut world, 2, 3);
    // Who could sign is out, but for Ada's two homes.
    for node in [2, 3] {
        world.crash(Who::Node(node));
    }
    world.queue(0, "hello");
    world.pass(MINUTE);
    assert_eq!(stored_on(&world).len(), 2);
    assert_eq!(world.statuses(0).last(), Some(&DeliveryStatus::Sent));
    world.start(Who::Node(2));
    world.pass(MINUTE);
    assert!(world.statuses(0).last() >= Some(&DeliveryStatus::Stored));
}

#[test]
fn a_node_that_does_not_sign_does_not_count() {
    let mut world = world(4);
    let silent = |frame: Frame| {
        if matches!(frame.body, Body::NodeAck { .. }) { Vec::new() } else { vec![frame] }
    };
    // A node that accepts without signing may forget the entry.
    for node in [0, 1, 2, 3] {
        world.lie(node, |_| None, silent);
    }
    world.crash(Who::Person(1));
    let appended = Rc::new(Cell::new(0));
    let count = Rc::clone(&appended);
    world.lie(
        1,
        move |frame| {
            count.set(count.get() + u32::from(matches!(frame.body, Body::Append { .. })));
            None
        },
        silent,
    );
    world.queue(0, "hello");
    world.pass(MINUTE);
    assert_eq!(world.statuses(0).last(), Some(&DeliveryStatus::Sent));
    assert!(appended.get() > 0, "another node is given it");
    world.pass(60 * MINUTE);
    assert!(appended.get() > 3 && appended.get() < 20, "with back-off: {}", appended.get());
}

#[test]
fn each_text_is_given_to_the_secondary_home_in_time() {
    let mut world = world(6);
    world.crash(Who::Person(1));
    for node in [1, 2, 3] {
        world.set_cut(Who::Node(0), Who::Node(node), true);
    }
    for text in ["one", "two", "three"] {
        world.queue(0, text);
        world.pass(2 * SECOND);
        assert_eq!(world.statuses(0).last(), Some(&DeliveryStatus::Stored), "{text}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let mut world = world(5);
    for (copies, acks) in [(1, 2), (5, 2), (2, 1), (3, 5)] {
        let asked = world.ask(0, Action::WantCopies { copies, acks });
        assert!(matches!(asked, Err(CommandError::BadRequest(_))), "{copies}, {acks}");
    }
    let homes = view::homes(world.rows(0)).unwrap();
    assert_eq!((homes.copies, homes.acks), (2, 2));
}

#[test]
fn full_homes_are_asked_with_back_off_and_used_once_there_is_room() {
    let mut world = world(7);
    let full = |body: &Body| matches!(body, Body::Append { .. }).then_some(Code::Full);
    world.refuse(0, full);
    world.refuse(1, full);
    world.net.sent.clear();
    world.queue(0, "hello");
    world.pass(60 * MINUTE);
    assert_eq!(world.statuses(0).last(), Some(&DeliveryStatus::Sent));
    let from_ada = world.said().filter(|(from, ..)| *from == Who::Person(0));
    let (opens, appends) =
        from_ada.fold((0, 0), |(opens, appends), (.., frame)| match frame.body {
            Body::Open(_) => (opens + 1, appends),
            Body::Append { .. } => (opens, appends + 1),
            _ => (opens, appends),
        });
    assert!(appends > 20 && appends < 250, "{appends} times");
    assert!(opens < 80, "{opens} times");
    world.repent(0);
    world.repent(1);
    world.pass(MINUTE);
    assert!(world.statuses(0).last() >= Some(&DeliveryStatus::Stored));
}
