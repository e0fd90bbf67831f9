//! Nodes that dial each other at the same time.

use std::time::Duration;

use crate::world::World;

/// One of two connections takes the place of the other, perhaps before a word was said on either, and
/// perhaps after.
#[test]
fn two_that_dial_each_other_at_once_know_each_other_all_the_same() {
    for apart in [0, 5, 20, 40, 60, 100] {
        let mut world = World::new(1);
        let first = world.add(&[0]);
        world.pass(Duration::from_millis(apart));
        let second = world.add(&[0, first]);
        let through = world.address(second);
        world.command(first, routing::RouterCommand::Join(through));
        world.pass(Duration::from_secs(3));
        for (one, other) in [(first, second), (second, first)] {
            assert!(world.hosts[one].links.contains(&other), "{apart} ms");
            let other = world.address(other).node;
            let peers = world.router(one).peers();
            assert!(peers.iter().any(|record| record.node() == other), "{apart} ms: {peers:?}");
        }
    }
}
