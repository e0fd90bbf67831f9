//! Each behaviour has its effect, and no device is deceived by one.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

use std::{collections::BTreeSet, time::Duration};

use client::DeliveryStatus;
use crypto::identity::Bundle;
use proto::{Body, Frame, Table};
use testnet::Sent;
use world::World;

use crate::{Behaviour, Mutant};

mod world;

#[test]
fn an_honest_server_is_its_node() {
    let mut world = World::acquainted(1, None);
    world.chat(10);
    assert_eq!([world.texts(0), world.texts(1)], [said(10), said(10)]);
    assert!(world.statuses(0).iter().all(|mark| *mark >= DeliveryStatus::Delivered));
    assert_eq!(world.server().counters().duplicates, 0);
}

#[test]
fn adversaries_that_lose_nothing_only_annoy() {
    for behaviour in
        [Behaviour::Replays, Behaviour::Dawdles, Behaviour::Floods, Behaviour::Shuffles]
    {
        let mut world = World::new(2, 2, Some(behaviour));
        world.befriend();
        world.chat(6);
        world.reconnect(0);
        world.pass(Duration::from_secs(60));
        for number in 0..2 {
            let texts: BTreeSet<_> = world.texts(number).into_iter().collect();
            assert_eq!(texts, said(6).into_iter().collect(), "{behaviour:?}");
        }
        let before = world.sent();
        world.pass(Duration::from_secs(60));
        assert_eq!(world.sent(), before, "{behaviour:?} grows quiet");
    }
}

#[test]
fn adversaries_that_lose_things_show_nothing_that_was_not_said() {
    for behaviour in [
        Behaviour::DropsAccepted,
        Behaviour::Withholds,
        Behaviour::Forges,
        Behaviour::Equivocates,
        Behaviour::Refuses,
    ] {
        let mut stranger = World::new(3, 2, Some(behaviour));
        stranger.befriend();
        for mut world in [stranger, World::acquainted(4, Some(behaviour))] {
            world.chat(5);
            world.reconnect(0);
            world.chat(5);
            for number in 0..2 {
                let texts = world.texts(number);
                assert!(
                    texts.iter().all(|text| said(5).contains(text)),
                    "{behaviour:?}: {texts:?}"
                );
            }
        }
    }
}

#[test]
fn dropped_entries_were_accepted() {
    let mut world = World::acquainted(6, Some(Behaviour::DropsAccepted));
    let stored = entries(&world);
    (0..20).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(1));
    assert!(world.statuses(0).iter().all(|mark| *mark >= DeliveryStatus::Stored));
    let stored = entries(&world) - stored;
    assert!((4..=16).contains(&stored), "{stored}");
}

#[test]
fn withheld_entries_are_shown_to_no_device() {
    let mut world = World::acquainted(7, Some(Behaviour::Withholds));
    for _ in 0..20 {
        world.say(0, "hello");
        world.pass(Duration::from_millis(100));
    }
    let withheld = |world: &World| {
        let asked = world.asked(0).filter_map(|sent| match &sent.frame.body {
            Body::Append { entry, .. } => Some(entry.ciphertext.clone()),
            _ => None,
        });
        let seen: BTreeSet<_> = world.said(0).flat_map(|sent| shown(&sent.frame)).collect();
        asked.filter(|ciphertext| !seen.contains(ciphertext)).collect::<BTreeSet<_>>()
    };
    let before = withheld(&world);
    assert!((1..=6).contains(&before.len()), "{}", before.len());
    world.reconnect(1);
    world.pass(Duration::from_secs(2));
    // Whatever is said at the reconnection may be withheld as well.
    assert!(withheld(&world).is_superset(&before), "not by any way");
    assert_eq!(world.count(|body| matches!(body, Body::Refused { .. })), 0);
}

#[test]
fn the_first_bundle_stays_and_old_entries_come_again() {
    let mut world = World::acquainted(8, Some(Behaviour::Replays));
    world.chat(20);
    let sequences = world.said(0).filter_map(|sent| match &sent.frame.body {
        Body::Deliver { channel, entry } => Some((sent.to, *channel, entry.sequence)),
        _ => None,
    });
    let (mut all, mut again) = (BTreeSet::new(), 0);
    sequences.for_each(|delivered| again += usize::from(!all.insert(delivered)));
    assert!(again > 0);

    // A new device takes the account over. The next who asks is told of the old one.
    world.join(Some(0));
    assert_eq!(world.account(2), world.account(0));
    let bundles = |world: &World| -> Vec<_> {
        let asked = world.asked(0).filter_map(|sent| match &sent.frame.body {
            Body::PutBundle(bundle) => Bundle::verify(bundle).ok(),
            _ => None,
        });
        asked.filter(|bundle| bundle.account() == world.account(0)).collect()
    };
    let (first, last) = (bundles(&world)[0].clone(), bundles(&world).pop().unwrap());
    assert!(last.replaces(&first));
    world.join(Some(0));
    let told = world.said(0).rev().find_map(|sent| match &sent.frame.body {
        Body::BundleIs(bundle) => Some(bundle.clone()),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some(first.as_bytes()));
}

#[test]
fn forged_entries_are_dropped() {
    let mut world = World::acquainted(9, Some(Behaviour::Forges));
    world.chat(20);
    assert!((0..2).all(|number| world.client(number).counters().dropped > 0));
}

#[test]
fn two_groups_are_shown_two_versions() {
    let mut world = World::acquainted(10, None);
    let log = world.log(0).unwrap();
    let mut same = BTreeSet::new();
    for _ in 0..12 {
        let since = world.sent();
        world.restart(Some(Behaviour::Equivocates), None);
        world.pass(Duration::from_secs(1));
        let told = |number| {
            let opens = |body: &Body| matches!(body, Body::Open(open) if open.log == log);
            let mut asked = world.asked_by(number, since);
            let open = asked.find(|sent| opens(&sent.frame.body)).unwrap();
            let mut said = world.said_to(number, since);
            let opened = said.find(|sent| sent.frame.request == open.frame.request);
            opened.map(|sent| sent.frame.body.clone())
        };
        same.insert(told(0) == told(1));
    }
    assert_eq!(same.len(), 2, "now they are in one group, now in two");
}

#[test]
fn a_dawdler_answers_after_seconds() {
    let mut world = World::acquainted(11, Some(Behaviour::Dawdles));
    world.pass(Duration::from_secs(60));
    let since = world.sent();
    world.say(0, "hello");
    world.pass(Duration::from_secs(11));
    let asked = world.asked(since).find(|sent| matches!(sent.frame.body, Body::Append { .. }));
    let asked = asked.unwrap();
    let mut said = world.said_to(0, since);
    let answered = said.find(|sent| sent.frame.request == asked.frame.request);
    let late = answered.unwrap().at.since(asked.at);
    assert!((Duration::from_secs(1)..Duration::from_secs(11)).contains(&late), "{late:?}");
}

#[test]
fn a_flood_has_a_limit() {
    let mut world = World::acquainted(12, Some(Behaviour::Floods));
    let start = world.sent();
    (0..100).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(3));
    let answers = world.said_to(0, start).map(|sent| sent.at.as_secs());
    let first = answers.clone().min().unwrap();
    let count = answers.filter(|second| *second == first).count();
    let each = "each answer and each receipt, and no more than 200 besides";
    assert!((350..=450).contains(&count), "{count}: {each}");
}

#[test]
fn a_shuffler_answers_in_another_order() {
    let mut world = World::acquainted(13, Some(Behaviour::Shuffles));
    world.pass(Duration::from_secs(20));
    let start = world.sent();
    (0..20).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(3));
    let answers = world.said_to(0, start).map(|sent| sent.frame.request);
    let answers: Vec<u32> = answers.filter(|request| *request != 0).collect();
    assert!(answers.len() >= 20 && !answers.is_sorted(), "{answers:?}");
}

#[test]
fn a_refuser_does_not_ask_its_node() {
    let mut world = World::acquainted(23, Some(Behaviour::Refuses));
    let stored = entries(&world);
    (0..60).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_millis(100));
    let refused = world.count(|body| matches!(body, Body::Refused { .. }));
    assert!((1..=20).contains(&refused), "{refused}");
    assert!(entries(&world) - stored < 60);
}

#[test]
fn the_same_rng_gives_the_same_frames() {
    for behaviour in [Behaviour::Forges, Behaviour::Floods, Behaviour::Shuffles] {
        let frames = || {
            let mut world = World::acquainted(15, Some(behaviour));
            world.chat(4);
            world.net.sent
        };
        assert_eq!(frames(), frames());
    }
}

#[test]
fn only_the_mutant_stores_twice() {
    for (mutant, times) in [(None, 1), (Some(Mutant::NoDuplicateCheck), 2)] {
        let mut world = World::acquainted(16, None);
        world.restart(None, mutant);
        world.pass(Duration::from_secs(1));
        world.say(0, "hello");
        world.pass(Duration::from_millis(100));
        let is_append = |sent: &&Sent| matches!(sent.frame.body, Body::Append { .. });
        let append = world.asked_by(0, 0).rfind(is_append).unwrap().frame.clone();
        let is_answer = |sent: &&Sent| sent.frame.request == append.request;
        let sequence = |sent: &Sent| match sent.frame.body {
            Body::Accepted { sequence, .. } => sequence,
            _ => panic!("{sent:?}"),
        };
        let first = sequence(world.said_to(0, 0).rfind(is_answer).unwrap());
        let (before, start) = (entries(&world), world.sent());
        world.give_server(0, append.clone());
        let second = sequence(world.said_to(0, start).find(is_answer).unwrap());
        assert_eq!(second - first + 1, times, "{mutant:?}");
        assert_eq!((entries(&world) - before) as u64 + 1, times);
        assert_eq!(world.texts(1), ["hello"], "reading still works");
    }
}

fn said(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

/// The ciphertexts that a frame shows.
fn shown(frame: &Frame) -> Vec<Vec<u8>> {
    match &frame.body {
        Body::Deliver { entry, .. } => vec![entry.ciphertext.clone()],
        Body::Page { entries, .. } => entries.iter().map(|e| e.ciphertext.clone()).collect(),
        _ => Vec::new(),
    }
}

/// How many entries the node has stored.
fn entries(world: &World) -> usize {
    world.server_host().rows(Table(4)).len()
}
