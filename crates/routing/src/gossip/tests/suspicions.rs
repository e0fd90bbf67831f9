//! Who counts as dead, and who does not.

use std::time::Duration;

use crypto::node::Suspicion;
use proto::Fact;

use super::world::World;

/// Spreads a suspicion that a node signs, whatever it knows, from each of its neighbours on.
fn accuse(world: &mut World, observer: usize, node: usize) {
    let contact = world.nodes[observer].record.contact();
    let serial = world.nodes[node].record.says().serial;
    let bytes =
        Suspicion::sign(world.key(observer), &contact, world.id(node), serial, world.now.as_secs());
    for neighbour in world.neighbours(observer) {
        let word = proto::Gossip::Spread { fact: Fact::Suspicion(bytes.clone()), hops: 0 };
        world.tell(observer, neighbour, word);
    }
    world.run(Duration::from_secs(2));
}

fn think_dead(world: &World, node: usize) -> usize {
    let id = world.id(node);
    world.living().iter().filter(|at| world.nodes[**at].dead.contains(&id)).count()
}

#[test]
fn a_dead_node_is_dead_to_all() {
    let mut world = World::joined_aloud(21, 40);
    world.kill(6);
    world.run(Duration::from_secs(40));
    assert_eq!(think_dead(&world, 6), 39);
    let living: Vec<usize> = (0..40).filter(|node| *node != 6).collect();
    assert!(living.into_iter().all(|node| think_dead(&world, node) == 0));
}

#[test]
fn a_node_that_some_do_not_reach_is_not_dead() {
    let mut world = World::joined_aloud(22, 40);
    let neighbours = world.neighbours(8);
    for neighbour in &neighbours {
        world.broken.insert((8.min(*neighbour), 8.max(*neighbour)));
        world.cut(8, *neighbour);
    }
    world.run(Duration::from_secs(60));
    assert_eq!(think_dead(&world, 8), 0);
    assert!(!world.neighbours(8).is_empty(), "it has found others");
}

#[test]
fn one_liar_is_not_enough_and_two_of_one_network_are_not() {
    let mut world = World::joined_aloud(23, 30);
    let liars: Vec<usize> = ["12.0.0.7:1", "12.0.0.8:1", "12.0.1.9:1"]
        .into_iter()
        .map(|address| world.add(vec![address.parse().unwrap()]))
        .collect();
    for (liar, through) in liars.iter().zip([3, 9, 14]) {
        world.join(*liar, through);
        world.run(Duration::from_secs(2));
    }
    // It can't defend itself, or it would refute.
    world.kill(5);
    accuse(&mut world, liars[0], 5);
    assert_eq!(think_dead(&world, 5), 0);
    accuse(&mut world, liars[1], 5);
    assert_eq!(think_dead(&world, 5), 0, "both are in one /24");
    accuse(&mut world, liars[2], 5);
    // Its neighbours don't believe it before they have lost it.
    let neighbours = world.living().into_iter().filter(|n| world.neighbours_seen(*n, 5)).count();
    let before = think_dead(&world, 5);
    assert!(before >= 31 - neighbours && before <= 32 - neighbours, "{before} {neighbours}");
    world.run(Duration::from_secs(15));
    assert!(think_dead(&world, 5) >= 31, "{}", think_dead(&world, 5));
}

#[test]
fn a_suspected_node_refutes() {
    let mut world = World::joined_aloud(24, 30);
    let before = world.nodes[5].record.says().serial;
    accuse(&mut world, 12, 5);
    let after = world.nodes[5].record.says().serial;
    assert!(after > before);
    let id = world.id(5);
    for node in (0..30).filter(|node| *node != 5) {
        assert_eq!(world.nodes[node].heard.get(&id), Some(&after), "{node}");
    }
    // A refuted suspicion no longer counts, from any observer.
    let contact = world.nodes[20].record.contact();
    let bytes = Suspicion::sign(world.key(20), &contact, id, before, world.now.as_secs());
    for neighbour in world.neighbours(20) {
        let word = proto::Gossip::Spread { fact: Fact::Suspicion(bytes.clone()), hops: 0 };
        world.tell(20, neighbour, word);
    }
    world.run(Duration::from_secs(5));
    assert_eq!(think_dead(&world, 5), 0);
    assert_eq!(world.nodes[5].record.says().serial, after);
    // Nor does it together with a suspicion of the newer record.
    accuse(&mut world, 20, 5);
    assert!(world.nodes.iter().all(|node| node.deaths == 0));
    assert!(world.nodes[5].record.says().serial > after);
}

#[test]
fn two_observers_of_different_networks_are_enough() {
    let mut world = World::joined_aloud(25, 30);
    world.kill(5);
    // Before those who lost it have probed it.
    accuse(&mut world, 29, 5);
    assert_eq!(think_dead(&world, 5), 0);
    accuse(&mut world, 12, 5);
    // But for its neighbours, who see for themselves, and the two, who were put words in the mouth.
    let neighbours = world.living().into_iter().filter(|n| world.neighbours_seen(*n, 5)).count();
    let before = think_dead(&world, 5);
    assert!(before >= world.living().len() - neighbours - 2, "{before} {neighbours}");
}

#[test]
fn an_old_suspicion_says_nothing() {
    let mut world = World::joined_aloud(26, 30);
    world.kill(5);
    let (dead, serial) = (world.id(5), world.nodes[5].record.says().serial);
    let signed = [29, 12].map(|observer| {
        let contact = world.nodes[observer].record.contact();
        let at_s = world.now.as_secs() - 601;
        (observer, Suspicion::sign(world.key(observer), &contact, dead, serial, at_s))
    });
    for (observer, bytes) in signed {
        for neighbour in world.neighbours(observer) {
            let fact = Fact::Suspicion(bytes.clone());
            world.tell(observer, neighbour, proto::Gossip::Spread { fact, hops: 0 });
        }
    }
    world.run(Duration::from_secs(2));
    assert_eq!(think_dead(&world, 5), 0);
}
