//! Nodes that dial each other at the same time.

use std::time::Duration;

use crate::world::{World, address};

/// One of two connections replaces the other, before a frame was sent on either or after.
#[test]
fn two_that_dial_each_other_at_once_still_know_each_other() {
    for apart in [0, 5, 20, 40, 60, 100] {
        let mut world = World::new(1);
        let first = world.add(&[0]);
        world.pass(Duration::from_millis(apart));
        let second = world.add(&[0, first]);
        let through = address(second);
        world.net.command(first, routing::RouterCommand::Join(through));
        world.pass(Duration::from_secs(3));
        for (one, other) in [(first, second), (second, first)] {
            assert!(world.net.peers(one).contains(&other), "{apart} ms");
            let other = address(other).node;
            let peers = world.router(one).peers();
            assert!(peers.iter().any(|record| record.node() == other), "{apart} ms: {peers:?}");
        }
    }
}
