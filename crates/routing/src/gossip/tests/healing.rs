//! How a network finds together again.

use std::{collections::VecDeque, time::Duration};

use super::world::{World, address};

#[test]
fn when_a_third_dies_at_once_the_others_stay_together() {
    let mut world = World::joined(11, 150);
    for node in (0..150).filter(|node| node % 10 < 3) {
        world.kill(node);
    }
    world.run(Duration::from_secs(60));
    assert_eq!(world.component(), 105);
    for node in world.living() {
        assert!(world.neighbours(node).len() >= 2, "{node}");
    }
    for node in [3, 77, 148] {
        let (heard, all) = world.coverage(node, Duration::from_secs(5));
        assert_eq!((heard, all), (104, 104));
    }
}

#[test]
fn halves_that_were_parted_for_long_find_together() {
    let mut world = World::joined(12, 120);
    world.part(|node| u8::from(node % 2 == 0));
    world.run(Duration::from_secs(900));
    let (heard, all) = world.coverage(4, Duration::from_secs(5));
    assert!(heard < all, "they are parted");
    assert_eq!(world.component(), 60);
    world.part(|_| 0);
    world.run(Duration::from_secs(180));
    assert_eq!(world.component(), 120);
    for node in [2, 3, 50, 51] {
        let (heard, all) = world.coverage(node, Duration::from_secs(5));
        assert_eq!(heard, all);
    }
}

#[test]
fn one_that_was_alone_for_long_comes_back() {
    let mut world = World::joined(13, 30);
    world.part(|node| u8::from(node == 5));
    world.run(Duration::from_secs(3600));
    assert!(world.neighbours(5).is_empty());
    world.part(|_| 0);
    world.run(Duration::from_secs(60));
    assert!(!world.neighbours(5).is_empty());
    let (heard, all) = world.coverage(5, Duration::from_secs(5));
    assert_eq!(heard, all);
}

#[test]
fn the_churn_of_ten_thousand_nodes_is_borne_in_little_memory() {
    // A hundred nodes stay, and as many facts come as when half of ten thousand come and go within
    // an hour: a join and a death each 700 ms.
    let mut world = World::joined(14, 100);
    let (mut most, mut sum, mut measured) = (0, 0, 0);
    let mut visitors = VecDeque::new();
    for round in 0..80_usize {
        let new = world.add(vec![address(100 + round)]);
        world.join(new, round * 7 % 100);
        visitors.push_back(new);
        if visitors.len() > 20 {
            world.kill(visitors.pop_front().unwrap());
        }
        world.run(Duration::from_millis(700));
        for node in world.living() {
            let bytes = world.nodes[node].gossip.state_bytes();
            most = most.max(bytes);
            sum += bytes;
            measured += 1;
        }
    }
    assert!(most < 24 * 1024, "{most}");
    assert!(sum / measured < 20 * 1024, "{}", sum / measured);
    world.run(Duration::from_secs(60));
    assert_eq!(world.component(), world.living().len());
    let (heard, all) = world.coverage(0, Duration::from_secs(5));
    assert_eq!(heard, all);
}
