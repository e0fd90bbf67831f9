//! Making an account and adding a contact are taken up again whatever breaks off at whatever
//! moment, with an invite that may be used once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod world;

use std::time::Duration;

use client::{Action, ContactState, view};
use proto::{AccountId, Rows, Table};
use world::World;

/// Lets two people get acquainted and breaks something off once `frames` frames have been carried
/// and the device or the node has done what they led to. Tells whether it was before the end.
fn broken_off_after(frames: usize, break_off: fn(&mut World)) -> bool {
    let mut world = World::new(7, 2);
    let mut left = Some(frames);
    let mut run = |world: &mut World| {
        while world.is_busy() {
            if left == Some(0) {
                left = None;
                break_off(world);
            }
            left = left.map(|left| left - 1);
            world.run_some(1);
        }
        // What is to break off does so by now, and a device off the network comes back.
        for device in &mut world.devices {
            device.dies_before_commit = false;
        }
        world.set_offline(0, false);
        world.set_offline(1, false);
        world.pass(Duration::from_secs(60));
    };
    let accounts = [0, 1].map(|number| {
        let phrase = world.phrase();
        let homes = vec![world.address()];
        world.tell(number, Action::CreateAccount { phrase, name: "x".into(), homes });
        view::account(world.rows(number)).unwrap().account
    });
    run(&mut world);
    let link = world.tell_invite(0);
    run(&mut world);
    world.tell(1, Action::AddContact { link, name: "Ada".into() });
    run(&mut world);
    assert_eq!(state(&world, 0, accounts[1]), ContactState::Asking, "after {frames}");
    assert_eq!(state(&world, 1, accounts[0]), ContactState::Requested, "after {frames}");
    world.tell(0, Action::Accept { contact: accounts[1] });
    run(&mut world);
    for (number, contact) in [(0, accounts[1]), (1, accounts[0])] {
        assert_eq!(state(&world, number, contact), ContactState::Established, "after {frames}");
        assert!(view::account(world.rows(number)).unwrap().published, "after {frames}");
    }
    world.say(1, accounts[0], "hello");
    assert_eq!(world.texts(0, accounts[1]), ["hello"], "after {frames}");
    one_time_packages_differ(&world, frames);
    left.is_none()
}

fn state(world: &World, number: usize, contact: AccountId) -> ContactState {
    let mut contacts = view::contacts(world.rows(number)).into_iter();
    let contact = contacts.find(|view| view.account == contact).unwrap();
    assert_eq!(contact.trouble, "");
    contact.state
}

/// A node never holds one key package twice: two people would get it, and one of them in vain.
fn one_time_packages_differ(world: &World, frames: usize) {
    let mut packages = Vec::new();
    world.node.store.scan(PACKAGES, &[], &[0xff; 128], proto::Direction::Forward, &mut |_, row| {
        packages.push(row.to_vec());
        std::ops::ControlFlow::Continue(())
    });
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
        world.kill_node();
        world.start_node();
    });
}

#[test]
fn when_the_inviter_dies() {
    at_every_moment(|world| {
        world.kill_device(0);
        world.start_device(0);
    });
}

#[test]
fn when_the_invited_dies() {
    at_every_moment(|world| {
        world.kill_device(1);
        world.start_device(1);
    });
}

#[test]
fn when_the_inviter_dies_before_it_has_kept_what_it_did() {
    at_every_moment(|world| world.devices[0].dies_before_commit = true);
}

#[test]
fn when_the_invited_dies_before_it_has_kept_what_it_did() {
    at_every_moment(|world| world.devices[1].dies_before_commit = true);
}

#[test]
fn when_the_inviter_loses_its_connection() {
    at_every_moment(|world| world.set_offline(0, true));
}

#[test]
fn when_the_invited_loses_its_connection() {
    at_every_moment(|world| world.set_offline(1, true));
}
