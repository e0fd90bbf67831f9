//! A home that has lost what it signed for is detected, proved faulty to any third party, and
//! replaced.

use std::time::Duration;

use client::{Action, view};
use crypto::node::LossProof;
use proto::{Body, Code, Frame, NodeId};

use crate::world::{Who, World};

/// Creates Ada with these home nodes, the third of which is her reserve, and Ben. Ada has sent Ben
/// a text, and Ben is offline.
fn speaker(seed: u8, homes: Vec<usize>) -> World {
    let mut world = World::at(seed, 5, &[("Ada", homes), ("Ben", vec![3, 4])]).acquaint();
    world.pass(5 * SECOND);
    world.crash(Who::Person(1));
    world.queue(0, "are you there?");
    world.pass(5 * SECOND);
    world
}

/// A node loses its entries, and no other node can repair it before the next audit.
fn lose_until_audited(world: &mut World, node: usize) {
    for other in (0..5).filter(|other| *other != node) {
        world.set_cut(Who::Node(node), Who::Node(other), true);
    }
    world.lose_entries(node);
    world.pass(12 * MINUTE);
    world.net.heal();
}

/// The nodes that Ada's device can prove to have lost something.
fn proven_faulty(world: &World) -> Vec<NodeId> {
    let convictions = view::convictions(world.rows(0));
    for conviction in &convictions {
        let bytes = conviction.proof.encode();
        assert_eq!(LossProof::decode(&bytes).as_ref(), Ok(&conviction.proof));
    }
    convictions.into_iter().map(|conviction| conviction.proof.node).collect()
}

fn homes(world: &World) -> Vec<NodeId> {
    let view = view::homes(world.rows(0)).into_iter();
    view.flat_map(|view| view.homes).map(|home| home.address.node).collect()
}

fn names(world: &World, nodes: &[usize]) -> Vec<NodeId> {
    nodes.iter().map(|node| world.address(*node).node).collect()
}

fn challenges(world: &World) -> usize {
    world.said().filter(|(.., frame)| matches!(frame.body, Body::Challenge { .. })).count()
}

#[test]
fn a_home_that_has_lost_what_it_signed_for_is_convicted_and_replaced() {
    for (loser, left) in [(0, [1, 2]), (1, [0, 2])] {
        let mut world = speaker(1, vec![0, 1, 2]);
        lose_until_audited(&mut world, loser);
        assert_eq!(proven_faulty(&world), names(&world, &[loser]));
        assert_eq!(homes(&world), names(&world, &left));
        let view = view::homes(world.rows(0)).into_iter();
        let replaced: Vec<_> = view.flat_map(|view| view.proven_faulty).collect();
        assert_eq!(replaced, names(&world, &[loser]));
        // A crash does not undo that.
        world.crash(Who::Person(0));
        world.start(Who::Person(0));
        assert_eq!(proven_faulty(&world), names(&world, &[loser]));
        // Nothing is lost when another home goes as well.
        world.pass(MINUTE);
        world.crash(Who::Node(left[0]));
        world.crash(Who::Node(loser));
        world.start(Who::Person(1));
        world.pass(MINUTE);
        assert_eq!(world.texts(1), ["are you there?"]);
        world.queue(1, "yes");
        world.pass(MINUTE);
        assert_eq!(world.texts(0), ["are you there?", "yes"]);
    }
}

#[test]
fn one_that_can_t_be_replaced_is_the_last_that_is_called_upon() {
    for (at, is_pinned) in [(vec![0, 1], false), (vec![0, 1, 2], true)] {
        let mut world = speaker(2, at.clone());
        if is_pinned {
            let homes: Vec<_> = at.iter().map(|node| world.address(*node)).collect();
            let pinned = homes.first().map(|home| home.node).into_iter().collect();
            assert!(world.ask(0, Action::Move { homes, pinned }).is_ok());
        }
        lose_until_audited(&mut world, 0);
        assert_eq!(proven_faulty(&world), names(&world, &[0]));
        assert_eq!(homes(&world), names(&world, &at));
        let view = view::homes(world.rows(0)).into_iter().flat_map(|view| view.homes);
        let first: Vec<_> = view.take(2).map(|home| home.proven_faulty).collect();
        assert_eq!(first, [true, false]);
        for _ in 0..2 {
            let since = world.net.sent.len();
            world.queue(0, "hello?");
            world.pass(10 * SECOND);
            let appended = |node| {
                let said = world.said().skip(since);
                said.filter(|(from, to, _)| (*from, *to) == (Who::Person(0), Who::Node(node)))
                    .any(|(.., frame)| matches!(frame.body, Body::Append { .. }))
            };
            assert!(appended(1) && !appended(0), "{at:?}");
            world.crash(Who::Person(0));
            world.start(Who::Person(0));
            world.pass(10 * SECOND);
        }
        world.start(Who::Person(1));
        world.pass(MINUTE);
        assert_eq!(world.texts(1), ["are you there?", "hello?", "hello?"]);
    }
}

#[test]
fn a_home_that_has_all_or_another_copy_is_not_convicted() {
    let mut world = speaker(3, vec![0, 1, 2]);
    world.pass(3 * 24 * 60 * MINUTE);
    assert_eq!((challenges(&world), proven_faulty(&world)), (0, Vec::new()));
    world.wipe(0);
    world.pass(3 * 24 * 60 * MINUTE);
    assert_eq!(proven_faulty(&world), []);
    assert_eq!(homes(&world), names(&world, &[0, 1, 2]));
    world.start(Who::Person(1));
    world.pass(MINUTE);
    assert_eq!(world.texts(1), ["are you there?"]);
    // Nothing is left to ask for.
    let since = world.net.sent.len();
    world.pass(24 * 60 * MINUTE);
    let asked = |frame: &Frame| matches!(frame.body, Body::Fetch { .. } | Body::Challenge { .. });
    assert_eq!(world.said().skip(since).filter(|(.., frame)| asked(frame)).count(), 0);
}

#[test]
fn one_that_hides_an_entry_hands_it_over_when_challenged_or_is_caught() {
    let hides = |frame: Frame| match frame.body {
        Body::Page { .. } => {
            vec![Frame { body: Body::Page { entries: Vec::new(), more: true }, ..frame }]
        }
        _ => vec![frame],
    };
    let refuses = |frame: &Frame| {
        let refused = Body::Refused { code: Code::Invalid, newer: Vec::new() };
        matches!(frame.body, Body::Challenge { .. }).then_some(refused)
    };
    let forges = |frame: &Frame| {
        let forged = Body::Lost { signature: [7; 64] };
        matches!(frame.body, Body::Challenge { .. }).then_some(forged)
    };
    let answers: [fn(&Frame) -> Option<Body>; 3] = [|_| None, refuses, forges];
    for answers in answers {
        let mut world = speaker(4, vec![0, 1, 2]);
        world.lie(0, answers, hides);
        world.pass(12 * MINUTE);
        assert!(challenges(&world) > 0);
        assert_eq!(proven_faulty(&world), [], "nothing is proved");
        let since = world.net.sent.len();
        world.queue(0, "hello?");
        world.pass(10 * SECOND);
        let to = |node| (Who::Person(0), Who::Node(node));
        let said = world.said().skip(since);
        let appended: Vec<_> = said
            .filter(|(.., frame)| matches!(frame.body, Body::Append { .. }))
            .map(|(from, to, _)| (from, to))
            .filter(|(from, _)| *from == Who::Person(0))
            .collect();
        assert_eq!(appended.first(), Some(&to(1)), "another one is the home");
        world.start(Who::Person(1));
        world.pass(MINUTE);
        assert_eq!(world.texts(1), ["are you there?", "hello?"]);
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
