//! Each behaviour has its effect, and no device believes one.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

use std::{collections::BTreeSet, time::Duration};

use client::DeliveryStatus;
use crypto::identity::Bundle;
use proto::{Body, Frame, Input, Rows, Table};
use world::World;

use crate::{Behaviour, Mutant};

mod world;

#[test]
fn an_honest_server_is_its_node() {
    let mut world = World::acquainted(1, None);
    world.chat(10);
    assert_eq!([world.texts(0), world.texts(1)], [said(10), said(10)]);
    assert!(world.marks(0).iter().all(|mark| *mark >= DeliveryStatus::Delivered));
    assert_eq!(world.server.as_ref().unwrap().counters().duplicates, 0);
}

#[test]
fn adversaries_that_lose_nothing_only_annoy() {
    for behaviour in
        [Behaviour::Replays, Behaviour::Dawdles, Behaviour::Floods, Behaviour::Shuffles]
    {
        let mut world = World::new(2, 2, Some(behaviour));
        world.befriend();
        world.chat(6);
        world.hang_up(0);
        world.dial(0);
        world.pass(Duration::from_secs(60));
        for number in 0..2 {
            let texts: BTreeSet<_> = world.texts(number).into_iter().collect();
            assert_eq!(texts, said(6).into_iter().collect(), "{behaviour:?}");
        }
        let (before, asked) = (world.said.len(), world.asked.len());
        world.pass(Duration::from_secs(60));
        assert_eq!(
            (world.said.len(), world.asked.len()),
            (before, asked),
            "{behaviour:?} grows quiet"
        );
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
            world.hang_up(0);
            world.dial(0);
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
fn what_is_dropped_was_accepted() {
    let mut world = World::acquainted(6, Some(Behaviour::DropsAccepted));
    let stored = entries(&world);
    (0..20).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(1));
    assert!(world.marks(0).iter().all(|mark| *mark >= DeliveryStatus::Stored));
    let stored = entries(&world) - stored;
    assert!((4..=16).contains(&stored), "{stored}");
}

#[test]
fn what_is_withheld_is_shown_to_nobody() {
    let mut world = World::acquainted(7, Some(Behaviour::Withholds));
    for _ in 0..20 {
        world.say(0, "hello");
        world.pass(Duration::from_millis(100));
    }
    let withheld = |world: &World| {
        let asked = world.asked.iter().filter_map(|(_, _, frame)| match &frame.body {
            Body::Append { entry, .. } => Some(entry.ciphertext.clone()),
            _ => None,
        });
        let seen: BTreeSet<_> = world.said.iter().flat_map(|(.., frame)| shown(frame)).collect();
        asked.filter(|ciphertext| !seen.contains(ciphertext)).collect::<BTreeSet<_>>()
    };
    let before = withheld(&world);
    assert!((1..=6).contains(&before.len()), "{}", before.len());
    world.hang_up(1);
    world.dial(1);
    world.pass(Duration::from_secs(2));
    // Whatever is said at the reconnection may be withheld as well.
    assert!(withheld(&world).is_superset(&before), "not by any way");
    assert_eq!(world.count(|body| matches!(body, Body::Refused { .. })), 0);
}

#[test]
fn the_first_bundle_stays_and_old_entries_come_again() {
    let mut world = World::acquainted(8, Some(Behaviour::Replays));
    world.chat(20);
    let sequences = world.said.iter().filter_map(|(_, to, frame)| match &frame.body {
        Body::Deliver { channel, entry } => Some((*to, *channel, entry.sequence)),
        _ => None,
    });
    let (mut all, mut again) = (BTreeSet::new(), 0);
    sequences.for_each(|delivered| again += usize::from(!all.insert(delivered)));
    assert!(again > 0);

    // A new device takes the account over. The next who asks is told of the old one.
    world.join(Some(0));
    assert_eq!(world.devices[2].account, world.devices[0].account);
    let bundles = |world: &World| -> Vec<_> {
        let asked = world.asked.iter().filter_map(|(_, _, frame)| match &frame.body {
            Body::PutBundle(bundle) => Bundle::verify(bundle).ok(),
            _ => None,
        });
        asked.filter(|bundle| bundle.account() == world.account(0)).collect()
    };
    let (first, last) = (bundles(&world)[0].clone(), bundles(&world).pop().unwrap());
    assert!(last.replaces(&first));
    world.join(Some(0));
    let told = world.said.iter().rev().find_map(|(_, _, frame)| match &frame.body {
        Body::BundleIs(bundle) => Some(bundle.clone()),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some(first.as_bytes()));
}

#[test]
fn what_is_forged_is_dropped() {
    let mut world = World::acquainted(9, Some(Behaviour::Forges));
    world.chat(20);
    assert!(world.devices.iter().all(|device| device.client.counters().dropped > 0));
}

#[test]
fn two_groups_are_told_two_stories() {
    let mut world = World::acquainted(10, None);
    let log = world.log(0).unwrap();
    let mut same = BTreeSet::new();
    for _ in 0..12 {
        let (asked, said) = (world.asked.len(), world.said.len());
        world.restart(Some(Behaviour::Equivocates), None);
        world.pass(Duration::from_secs(1));
        let told = |number| {
            let opens = |body: &Body| matches!(body, Body::Open(open) if open.log == log);
            let mut asked = world.asked[asked..].iter().filter(|(_, by, _)| *by == number);
            let (.., Frame { request, .. }) = asked.find(|(.., f)| opens(&f.body)).unwrap();
            let mut said = world.said[said..].iter().filter(|(_, to, _)| *to == number);
            let opened = said.find(|(.., frame)| frame.request == *request);
            opened.map(|(.., frame)| frame.body.clone())
        };
        same.insert(told(0) == told(1));
    }
    assert_eq!(same.len(), 2, "now they are in one group, now in two");
}

#[test]
fn a_dawdler_answers_after_seconds() {
    let mut world = World::acquainted(11, Some(Behaviour::Dawdles));
    world.pass(Duration::from_secs(60));
    let (start, since) = (world.said.len(), world.asked.len());
    world.say(0, "hello");
    world.pass(Duration::from_secs(11));
    let asked = world.asked[since..].iter().find(|(_, _, f)| matches!(f.body, Body::Append { .. }));
    let (asked, _, Frame { request, .. }) = asked.unwrap();
    let answered = world.said[start..].iter().find(|(_, to, f)| *to == 0 && f.request == *request);
    let late = answered.unwrap().0.since(*asked);
    assert!((Duration::from_secs(1)..Duration::from_secs(11)).contains(&late), "{late:?}");
}

#[test]
fn a_flood_has_a_measure() {
    let mut world = World::acquainted(12, Some(Behaviour::Floods));
    let start = world.said.len();
    (0..100).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(3));
    let answers = world.said[start..].iter().filter(|(_, to, _)| *to == 0);
    let second = |(at, _, _): &&(proto::Instant, usize, Frame)| at.as_secs();
    let first = answers.clone().map(|said| second(&said)).min().unwrap();
    let count = answers.filter(|said| second(said) == first).count();
    let each = "each answer and each receipt, and no more than 200 besides";
    assert!((350..=450).contains(&count), "{count}: {each}");
}

#[test]
fn a_shuffler_answers_in_another_order() {
    let mut world = World::acquainted(13, Some(Behaviour::Shuffles));
    world.pass(Duration::from_secs(20));
    let start = world.said.len();
    (0..20).for_each(|_| world.say(0, "hello"));
    world.pass(Duration::from_secs(3));
    let answers = world.said[start..].iter().filter(|(_, to, f)| *to == 0 && f.request != 0);
    let answers: Vec<u32> = answers.map(|(_, _, frame)| frame.request).collect();
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
fn the_same_rng_tells_the_same_lies() {
    for behaviour in [Behaviour::Forges, Behaviour::Floods, Behaviour::Shuffles] {
        let frames = || {
            let mut world = World::acquainted(15, Some(behaviour));
            world.chat(4);
            world.said
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
        let append = |(_, by, frame): &(_, usize, Frame)| {
            (*by == 0 && matches!(frame.body, Body::Append { .. })).then(|| frame.clone())
        };
        let append = world.asked.iter().rev().find_map(append).unwrap();
        let (before, start) = (entries(&world), world.said.len());
        world.give_server(Input::Frame(world.peer(0), append.clone()));
        let is_answer = |said: &&(_, usize, Frame)| said.2.request == append.request;
        let sequence = |said: &(_, usize, Frame)| match said.2.body {
            Body::Accepted { sequence, .. } => sequence,
            _ => panic!("{said:?}"),
        };
        let first = sequence(world.said[..start].iter().rfind(is_answer).unwrap());
        let second = sequence(world.said[start..].iter().find(is_answer).unwrap());
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
    let mut count = 0;
    let direction = proto::Direction::Forward;
    world.rows.scan(Table(4), &[], &[0xFF; 17], direction, &mut |_, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    count
}
