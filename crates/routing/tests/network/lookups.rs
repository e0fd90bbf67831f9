//! What is published is found.

use std::time::Duration;

use routing::{RouterCommand, RouterEvent};

use crate::world::{World, account, bundle};

#[test]
fn what_one_publishes_any_other_finds() {
    let mut world = World::new(100);
    world.pass(Duration::from_secs(60));
    for number in 0..20 {
        let (key, bytes) = bundle(number, 1);
        let (copies, requests) = world.publish(number as usize * 5, &bytes);
        assert!(copies >= 20, "{copies} copies");
        let found = world.look_up(99 - number as usize, key);
        assert!(requests <= 45 && found.requests <= 12, "{requests} and {}", found.requests);
        assert_eq!(found.record, account(bytes));
    }
    let links = (0..100).map(|number| world.net.peers(number).len()).max();
    assert!(links <= Some(58), "{links:?}");
}

#[test]
fn what_is_nowhere_is_not_found() {
    let mut world = World::new(40);
    world.pass(Duration::from_secs(30));
    let (key, _) = bundle(1, 1);
    let found = world.look_up(3, key);
    assert_eq!(found.record, None);
    assert!(found.nearest.len() == 20, "{}", found.nearest.len());
}

#[test]
fn what_a_node_keeps_itself_is_found_at_once() {
    let mut world = World::new(10);
    world.pass(Duration::from_secs(30));
    let (key, bytes) = bundle(1, 1);
    world.publish(3, &bytes);
    let (ticket, record) = (9, account(bytes).unwrap());
    world.net.command(5, RouterCommand::Lookup { ticket, target: key, insist: false });
    let found = RouterEvent::Found { ticket, record };
    assert!(world.events(5).contains(&found), "{:?}", world.events(5));
    world.pass(Duration::from_secs(10));
    let told = world.events(5).iter().filter(|event| **event == found).count();
    assert_eq!(told, 1);
}

#[test]
fn the_newer_record_wins_wherever_the_older_one_is() {
    let mut world = World::new(60);
    world.pass(Duration::from_secs(30));
    let ((key, old), (_, new)) = (bundle(1, 1), bundle(1, 2));
    world.publish(5, &old);
    world.publish(6, &new);
    assert_eq!(world.look_up(30, key).record, account(new.clone()));
    // Published again, the old one is refused everywhere, and the newer one is still found.
    world.publish(7, &old);
    for at in [0, 20, 59] {
        assert_eq!(world.look_up(at, key).record, account(new.clone()));
    }
}

#[test]
fn records_outlive_a_third_of_the_nodes() {
    let mut world = World::new(100);
    world.pass(Duration::from_secs(60));
    let published: Vec<_> = (0..10).map(|number| bundle(number, 1)).collect();
    for (at, (_, bytes)) in published.iter().enumerate() {
        world.publish(at, bytes);
    }
    for number in (0..100).filter(|number| number % 3 == 1) {
        world.net.kill(number);
    }
    for (number, (key, bytes)) in published.iter().enumerate() {
        assert_eq!(world.look_up(3 * number, *key).record, account(bytes.clone()));
    }
}

#[test]
fn all_that_are_left_keep_what_is_published() {
    let mut world = World::new(12);
    world.pass(Duration::from_secs(30));
    for number in [3, 5, 7, 9] {
        world.net.kill(number);
    }
    // Some requests fail, which must not end it before the slowest node has answered.
    let (copies, _) = world.publish(0, &bundle(1, 1).1);
    assert_eq!(copies, 8);
}

#[test]
fn the_dead_hold_up_no_publication() {
    let mut world = World::new(60);
    world.pass(Duration::from_secs(60));
    for number in (0..60).filter(|number| number % 3 == 1) {
        world.net.kill(number);
    }
    for number in 0..10 {
        let began = world.net.now;
        let (copies, _) = world.publish(3 * number, &bundle(number as u64, 1).1);
        assert!(copies >= 15, "{copies}");
        // Sooner than a request times out.
        assert!(
            world.net.now.since(began) < Duration::from_secs(3),
            "{:?}",
            world.net.now.since(began)
        );
    }
}
