//! Whether nodes learn that they can be dialled, or that they can't.

use std::time::Duration;

use routing::RouterEvent;
use testnet::RELAYED;

use crate::world::World;

#[test]
fn who_can_be_dialled_learns_it_and_loses_no_connection() {
    let mut world = World::new(4);
    let number = world.add(&[0]);
    world.pass(Duration::from_secs(1));
    let links = world.net.peers(number);
    assert_eq!(world.router(number).is_reachable(), None, "no node has tried");
    world.pass(Duration::from_secs(9));
    assert_eq!(world.router(number).is_reachable(), Some(true));
    assert_eq!(world.net.peers(number), links);
    assert_eq!(world.net.ended, 0);
}

#[test]
fn who_cant_be_dialled_is_never_taken_for_one_who_can() {
    for nodes in 2..12 {
        let mut world = World::new(nodes);
        let number = world.add_hidden(&[0]);
        // It dials those who let go of it.
        world.pass(Duration::from_secs(20));
        let events = world.events(number);
        let told = events.iter().filter(|event| matches!(event, RouterEvent::Unreachable));
        assert_eq!(told.count(), 1, "{nodes}: {events:?}");
        assert_eq!(world.router(number).is_reachable(), Some(true), "through a relay");
        let addresses = &world.router(number).record().says().addresses;
        let of_relay = addresses.iter().filter(|address| address.port() == RELAYED);
        assert_eq!((addresses.len(), of_relay.count()), (1, 1));
    }
}
