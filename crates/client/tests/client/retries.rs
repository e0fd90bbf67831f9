//! Making an account and adding a contact are taken up again whatever breaks off at whatever
//! moment, with an invite that may be used once.

use std::time::Duration;

use client::{Action, ContactState, view};
use proto::{AccountId, Table};

use crate::world::{Who, World};

/// Lets two people get acquainted and breaks something off once `frames` frames have been carried
/// and the device or the node has done what they led to. Tells whether it was before the end.
fn broken_off_after(frames: usize, break_off: fn(&mut World)) -> bool {
    let mut world = World::new(7, 2);
    let mut left = Some(frames);
    let mut run = |world: &mut World| {
        while world.net.is_busy() {
            if left == Some(0) {
                left = None;
                break_off(world);
            }
            left = left.map(|left| left - 1);
            world.net.step();
        }
        // What is to break off does so by now, and a device off the network comes back.
        for person in [0, 1] {
            world.host(Who::Person(person)).dies_before_commit = false;
        }
        world.set_offline(0, false);
        world.set_offline(1, false);
        world.pass(Duration::from_secs(60));
    };
    let accounts = [0, 1].map(|number| {
        let phrase = world.phrase();
        let homes = vec![world.address(0)];
        world.command(number, Action::CreateAccount { phrase, name: "x".into(), homes });
        view::account(world.rows(number)).unwrap().account
    });
    run(&mut world);
    let link = world.make_invite(0);
    run(&mut world);
    world.command(1, Action::AddContact { link, name: "Ada".into() });
    run(&mut world);
    assert_eq!(state(&world, 0, accounts[1]), ContactState::Asking, "after {frames}");
    assert_eq!(state(&world, 1, accounts[0]), ContactState::Requested, "after {frames}");
    world.command(0, Action::Accept { contact: accounts[1] });
    run(&mut world);
    for (number, contact) in [(0, accounts[1]), (1, accounts[0])] {
        assert_eq!(state(&world, number, contact), ContactState::Established, "after {frames}");
        assert!(view::account(world.rows(number)).unwrap().published, "after {frames}");
    }
    world.send(1, "hello");
    assert_eq!(world.texts(0), ["hello"], "after {frames}");
    one_time_packages_differ(&world, frames);
    left.is_none()
}

fn state(world: &World, number: usize, contact: AccountId) -> ContactState {
    let mut contacts = view::contacts(world.rows(number)).into_iter();
    let contact = contacts.find(|view| view.account == contact).unwrap();
    assert_eq!(contact.trouble, "");
    contact.state
}

/// A node never holds one key package twice: the second of two people to get it could not use it.
fn one_time_packages_differ(world: &World, frames: usize) {
    let rows = world.net.hosts[0].rows(PACKAGES).into_iter();
    let mut packages: Vec<_> = rows.map(|(_, row)| row).collect();
    let all = packages.len();
    packages.sort();
    packages.dedup();
    assert_eq!(packages.len(), all, "after {frames}");
}

/// Where a node keeps key packages.
const PACKAGES: Table = Table(11);

fn at_every_moment(break_off: fn(&mut World)) {
    let mut frames = 0;
    while broken_off_after(frames, break_off) {
        frames += 1;
    }
    assert!(frames > 20, "{frames}");
}

#[test]
fn when_the_node_dies() {
    at_every_moment(|world| {
        world.crash(Who::Node(0));
        world.start(Who::Node(0));
    });
}

#[test]
fn when_the_inviter_dies() {
    at_every_moment(|world| {
        world.crash(Who::Person(0));
        world.start(Who::Person(0));
    });
}

#[test]
fn when_the_invited_dies() {
    at_every_moment(|world| {
        world.crash(Who::Person(1));
        world.start(Who::Person(1));
    });
}

#[test]
fn when_the_inviter_dies_before_it_has_kept_what_it_did() {
    at_every_moment(|world| world.host(Who::Person(0)).dies_before_commit = true);
}

#[test]
fn when_the_invited_dies_before_it_has_kept_what_it_did() {
    at_every_moment(|world| world.host(Who::Person(1)).dies_before_commit = true);
}

#[test]
fn when_the_inviter_loses_its_connection() {
    at_every_moment(|world| world.set_offline(0, true));
}

#[test]
fn when_the_invited_loses_its_connection() {
    at_every_moment(|world| world.set_offline(1, true));
}
