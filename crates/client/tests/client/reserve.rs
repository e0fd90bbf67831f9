//! Reserve homes: an account that has lost one active home permanently, or both, uses the next.

use std::time::Duration;

use client::DeliveryStatus;

use crate::world::{Who, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Ada is at home at nodes 0 and 1, with 4 in reserve, Ben at 2 and 3.
fn world(seed: u8) -> World {
    let people = [("Ada", vec![0, 1, 4]), ("Ben", vec![2, 3])];
    let mut world = World::at(seed, 5, &people).acquaint();
    for number in 0..20 {
        world.queue(number % 2, &format!("{number}"));
        world.pass(SECOND);
    }
    world.pass(5 * SECOND);
    agree(&world, 20);
    world
}

fn agree(world: &World, messages: usize) {
    let (ada, ben) = (world.texts(0), world.texts(1));
    assert_eq!(ada, ben);
    assert_eq!(ada.len(), messages, "{ada:?}");
}

fn talk(world: &mut World, before: usize) {
    for number in 0..6 {
        world.queue(number % 2, &format!("{before} and {number}"));
        world.pass(SECOND);
    }
    world.pass(5 * SECOND);
    agree(world, before + 6);
    assert!(world.statuses(0).iter().all(|status| *status >= DeliveryStatus::Stored));
}

#[test]
fn one_home_after_the_other_is_lost_and_all_goes_on() {
    let mut world = world(1);
    world.crash(Who::Node(0));
    talk(&mut world, 20);
    world.pass(12 * MINUTE);
    world.crash(Who::Node(1));
    talk(&mut world, 26);
    // Back at both homes, which get what was said meanwhile.
    world.start(Who::Node(0));
    world.start(Who::Node(1));
    world.pass(12 * MINUTE);
    world.crash(Who::Node(4));
    talk(&mut world, 32);
}

#[test]
fn it_does_so_while_everybody_sleeps() {
    let mut world = world(2);
    world.queue(0, "good night");
    world.pass(5 * SECOND);
    world.crash(Who::Person(0));
    world.queue(1, "good night, Ada");
    world.pass(5 * SECOND);
    world.crash(Who::Person(1));
    world.crash(Who::Node(0));
    world.pass(15 * MINUTE);
    // Nothing is left of where Ada was at home when she fell asleep, and Ben's nodes are out too.
    for node in [1, 2, 3] {
        world.crash(Who::Node(node));
    }
    world.start(Who::Person(0));
    world.pass(MINUTE);
    assert_eq!(world.texts(0).last().map(String::as_str), Some("good night, Ada"));
    world.queue(0, "I am here");
    world.pass(MINUTE);
    world.start(Who::Node(2));
    world.start(Who::Person(1));
    world.pass(MINUTE);
    talk(&mut world, 23);
}

#[test]
fn both_homes_are_lost_at_once_while_people_talk() {
    let mut world = world(3);
    world.crash(Who::Node(0));
    world.crash(Who::Node(1));
    world.queue(0, "hello?");
    world.queue(1, "hello?");
    world.pass(MINUTE);
    talk(&mut world, 22);
}
