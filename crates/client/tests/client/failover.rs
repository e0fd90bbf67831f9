//! Two homes: when the primary fails, the secondary takes over within a second.

use std::time::Duration;

use client::{DeliveryStatus, view};
use proto::Body;

use crate::world::{Who, World};

/// Ada is at home at nodes 0 and 1, Ben at 2 and 3.
fn world(seed: u8) -> World {
    let people = [("Ada", vec![0, 1]), ("Ben", vec![2, 3])];
    let mut world = World::at(seed, 4, &people).acquaint();
    world.queue(0, "hello");
    world.pass(SECOND);
    world.queue(1, "hello Ada");
    world.pass(5 * SECOND);
    agree(&world, 2);
    world
}

fn agree(world: &World, messages: usize) {
    let (ada, ben) = (world.texts(0), world.texts(1));
    assert_eq!(ada, ben);
    assert_eq!(ada.len(), messages, "{ada:?}");
}

#[test]
fn two_homes_hold_all_and_one_of_them_only_names_it() {
    let mut world = world(1);
    assert!(world.statuses(0).iter().all(|status| *status == DeliveryStatus::Delivered));
    world.net.sent.clear();
    for number in 0..10 {
        world.queue(0, &format!("{number}"));
        world.pass(SECOND);
    }
    world.pass(20 * SECOND);
    agree(&world, 12);
    let to_ben = |node: usize, kind: fn(&Body) -> bool| {
        let way = (Who::Node(node), Who::Person(1));
        world.said().filter(|(from, to, f)| (*from, *to) == way && kind(&f.body)).count()
    };
    let delivers = |body: &Body| matches!(body, Body::Deliver { .. });
    let briefs = |body: &Body| matches!(body, Body::Announce { .. });
    assert!(to_ben(2, delivers) >= 10);
    assert_eq!((to_ben(3, delivers), to_ben(2, briefs)), (0, 0));
    assert!(to_ben(3, briefs) >= 10, "the secondary announces all");
}

#[test]
fn what_is_said_while_the_senders_home_dies_arrives_within_a_second() {
    let mut world = world(2);
    // It is dead, and no peer has noticed: its connections stand.
    world.stun(0);
    world.queue(0, "are you there?");
    world.pass(SECOND);
    agree(&world, 3);
    world.pass(5 * SECOND);
    assert!(world.statuses(0)[1] >= DeliveryStatus::Delivered);
    world.queue(1, "yes");
    world.pass(SECOND);
    agree(&world, 4);
}

#[test]
fn what_is_said_while_the_recipients_home_dies_arrives_within_a_second() {
    let mut world = world(3);
    world.stun(2);
    world.queue(0, "are you there?");
    world.pass(SECOND);
    agree(&world, 3);
    for number in 0..10 {
        world.queue(number % 2, &format!("{number}"));
        world.pass(SECOND);
    }
    agree(&world, 13);
}

#[test]
fn a_home_that_comes_back_is_given_all_and_takes_its_turn() {
    let mut world = world(4);
    for (down, up) in [(0, 1), (1, 0), (0, 1)] {
        world.crash(Who::Node(down));
        for number in 0..6 {
            world.queue(number % 2, &format!("{number} without {down}"));
            world.pass(SECOND);
        }
        let before = world.texts(0).len();
        world.start(Who::Node(down));
        world.pass(120 * SECOND);
        // All that is at the other one is at this one too.
        world.crash(Who::Node(up));
        world.queue(1, "again");
        world.pass(5 * SECOND);
        agree(&world, before + 1);
        world.start(Who::Node(up));
        world.pass(120 * SECOND);
    }
}

#[test]
fn a_message_is_stored_once_two_nodes_have_signed_for_it() {
    let mut world = world(5);
    for node in [1, 2, 3] {
        world.crash(Who::Node(node));
    }
    world.queue(0, "alone");
    world.pass(60 * SECOND);
    assert_eq!(world.statuses(0)[1], DeliveryStatus::Sent);
    world.start(Who::Node(1));
    world.pass(60 * SECOND);
    assert_eq!(world.statuses(0)[1], DeliveryStatus::Stored);
}

#[test]
fn an_answer_to_what_the_other_home_has_taken_holds_up_nothing() {
    let mut world = world(12);
    let (home, ada) = (Who::Node(0), Who::Person(0));
    let answers =
        |body: &Body| matches!(body, Body::NodeAck { .. } | Body::Accepted { sequence: 1.., .. });
    world.delay(home, ada, answers);
    world.queue(0, "to one home, and then to the other");
    world.pass(10 * SECOND);
    // The first home names what the other one has taken, so it is well, and takes its place again.
    world.crash(Who::Person(1));
    world.queue(0, "to the other");
    world.pass(SECOND / 10);
    let outgoing = |world: &World| view::contacts(world.rows(0))[0].outgoing;
    assert_eq!(outgoing(&world), 0);
    world.crash(Who::Node(1));
    world.queue(0, "to the first");
    world.pass(SECOND / 10);
    assert_eq!(outgoing(&world), 1);
    world.delay(home, ada, |_| false);
    world.pass(5 * SECOND);
    assert_eq!(outgoing(&world), 0);
}

#[test]
fn a_receipt_of_another_key_is_none() {
    for forge in [false, true] {
        let mut world = world(9);
        world.crash(Who::Node(1));
        // No other device may tell Ada that it has arrived.
        world.crash(Who::Person(1));
        for node in [2, 3] {
            if forge {
                world.forge(node);
            }
        }
        world.pass(5 * SECOND);
        world.queue(0, "signed for?");
        world.pass(60 * SECOND);
        let mark = if forge { DeliveryStatus::Sent } else { DeliveryStatus::Stored };
        assert_eq!(world.statuses(0)[1], mark, "forged: {forge}");
    }
}

#[test]
fn the_first_home_can_be_lost_permanently_at_any_time() {
    for frames in (0..60).step_by(3) {
        let mut world = world(6);
        world.queue(0, "one");
        world.queue(1, "two");
        for _ in 0..frames {
            world.run_some(1);
        }
        let stored = world.statuses(0)[1] >= DeliveryStatus::Stored;
        world.crash(Who::Node(0));
        if stored {
            // Nor is the device needed.
            world.crash(Who::Person(0));
            world.pass(10 * SECOND);
            assert!(world.texts(1).contains(&"one".to_owned()), "after {frames}");
            world.start(Who::Person(0));
        }
        world.pass(30 * SECOND);
        agree(&world, 4);
    }
}

#[test]
fn a_request_reaches_who_has_lost_a_home() {
    let people = [("Ada", vec![0, 1]), ("Ben", vec![2, 3])];
    for down in [0, 1] {
        let mut world = World::at(7, 4, &people);
        world.pass(SECOND);
        let link = world.invite(0);
        world.crash(Who::Node(down));
        world.add(1, link);
        world.pass(5 * SECOND);
        world.accept(0);
        world.pass(5 * SECOND);
        world.queue(0, "hello");
        world.queue(1, "hello Ada");
        world.pass(5 * SECOND);
        agree(&world, 2);
        assert!(view::account(world.rows(0)).unwrap().published);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_home_that_was_stopped_once_is_waited_for_no_longer_than_before() {
    let mut world = world(9);
    world.delay(Who::Node(0), Who::Person(0), |_| true);
    world.queue(0, "are you there?");
    world.pass(20 * SECOND);
    agree(&world, 3);
    world.delay(Who::Node(0), Who::Person(0), |_| false);
    world.pass(SECOND);
    // It takes its turn, and dies.
    world.crash(Who::Node(1));
    world.pass(SECOND);
    world.start(Who::Node(1));
    world.pass(5 * SECOND);
    world.stun(0);
    world.queue(0, "and now?");
    world.pass(SECOND);
    agree(&world, 4);
}

#[test]
fn any_node_may_die_next_and_all_goes_on_within_a_second() {
    let mut world = world(8);
    for round in 0..24 {
        let node = [0, 1, 2, 3, 2, 0, 3, 1][round % 8];
        world.stun(node);
        for person in [0, 1] {
            let before = world.texts(1 - person).len();
            world.queue(person, &format!("{round}, {person}"));
            let mut waits = 0;
            while world.texts(1 - person).len() == before {
                world.pass(SECOND / 10);
                waits += 1;
                assert!(waits < 12, "person {person} in round {round}, without {node}");
            }
        }
        // Noticed at last, and started again.
        world.crash(Who::Node(node));
        world.start(Who::Node(node));
        world.pass(5 * SECOND);
    }
    agree(&world, 2 + 48);
}
