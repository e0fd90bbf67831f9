//! A home that has lost what it signed for is found out, proved wrong to anybody, and replaced.

#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    reason = "tests bend a few frames and add a few numbers"
)]

mod town;

use std::time::Duration;

use client::{Action, view};
use crypto::LossProof;
use proto::{Body, Code, Frame, NodeId};
use town::{Town, Who};

/// Ada is at home at nodes 0, 1 and 2, the last of which is in reserve, and has said something to
/// Ben, who is away.
fn speaker(seed: u8, homes: Vec<usize>) -> Town {
    let mut town = Town::at(seed, 5, &[("Ada", homes), ("Ben", vec![3, 4])]).acquaint();
    town.pass(5 * SECOND);
    town.crash(Who::Person(1));
    town.say(0, "are you there?");
    town.pass(5 * SECOND);
    town
}

/// The nodes that Ada's device can prove to have lost something.
fn convicted(town: &Town) -> Vec<NodeId> {
    let convictions = view::convictions(town.rows(0));
    for conviction in &convictions {
        let bytes = conviction.proof.encode();
        assert_eq!(LossProof::decode(&bytes).as_ref(), Ok(&conviction.proof));
    }
    convictions.into_iter().map(|conviction| conviction.proof.node).collect()
}

fn homes(town: &Town) -> Vec<NodeId> {
    let view = view::homes(town.rows(0)).into_iter();
    view.flat_map(|view| view.homes).map(|home| home.address.node).collect()
}

fn names(town: &Town, nodes: &[usize]) -> Vec<NodeId> {
    nodes.iter().map(|node| town.address(*node).node).collect()
}

fn challenges(town: &Town) -> usize {
    town.said.iter().filter(|(.., frame)| matches!(frame.body, Body::Challenge { .. })).count()
}

#[test]
fn a_home_that_has_lost_what_it_signed_for_is_convicted_and_replaced() {
    for (loser, left) in [(0, [1, 2]), (1, [0, 2])] {
        let mut town = speaker(1, vec![0, 1, 2]);
        town.lose_entries(loser);
        town.pass(12 * MINUTE);
        assert_eq!(convicted(&town), names(&town, &[loser]));
        assert_eq!(homes(&town), names(&town, &left));
        let view = view::homes(town.rows(0)).into_iter();
        let replaced: Vec<_> = view.flat_map(|view| view.convicted).collect();
        assert_eq!(replaced, names(&town, &[loser]));
        // It is known for ever.
        town.crash(Who::Person(0));
        town.start(Who::Person(0));
        assert_eq!(convicted(&town), names(&town, &[loser]));
        // Nothing is lost, whoever of the others goes now.
        town.pass(MINUTE);
        town.crash(Who::Node(left[0]));
        town.crash(Who::Node(loser));
        town.start(Who::Person(1));
        town.pass(MINUTE);
        assert_eq!(town.texts(1), ["are you there?"]);
        town.say(1, "yes");
        town.pass(MINUTE);
        assert_eq!(town.texts(0), ["are you there?", "yes"]);
    }
}

#[test]
fn one_that_can_t_be_replaced_is_the_last_that_is_called_upon() {
    for (at, is_pinned) in [(vec![0, 1], false), (vec![0, 1, 2], true)] {
        let mut town = speaker(2, at.clone());
        if is_pinned {
            let homes: Vec<_> = at.iter().map(|node| town.address(*node)).collect();
            let pinned = homes.first().map(|home| home.node).into_iter().collect();
            assert!(town.ask(0, Action::Move { homes, pinned }).is_ok());
        }
        town.lose_entries(0);
        town.pass(12 * MINUTE);
        assert_eq!(convicted(&town), names(&town, &[0]));
        assert_eq!(homes(&town), names(&town, &at));
        let view = view::homes(town.rows(0)).into_iter().flat_map(|view| view.homes);
        let first: Vec<_> = view.take(2).map(|home| home.convicted).collect();
        assert_eq!(first, [true, false]);
        for _ in 0..2 {
            let since = town.said.len();
            town.say(0, "hello?");
            town.pass(10 * SECOND);
            let appended = |node| {
                let said = town.said.iter().skip(since);
                said.filter(|(from, to, _)| (*from, *to) == (Who::Person(0), Who::Node(node)))
                    .any(|(.., frame)| matches!(frame.body, Body::Append { .. }))
            };
            assert!(appended(1) && !appended(0), "{at:?}");
            town.crash(Who::Person(0));
            town.start(Who::Person(0));
            town.pass(10 * SECOND);
        }
        town.start(Who::Person(1));
        town.pass(MINUTE);
        assert_eq!(town.texts(1), ["are you there?", "hello?", "hello?"]);
    }
}

#[test]
fn whoever_has_all_or_another_copy_is_not_convicted() {
    let mut town = speaker(3, vec![0, 1, 2]);
    town.pass(3 * 24 * 60 * MINUTE);
    assert_eq!((challenges(&town), convicted(&town)), (0, Vec::new()));
    town.wipe(0);
    town.pass(3 * 24 * 60 * MINUTE);
    assert_eq!(convicted(&town), []);
    assert_eq!(homes(&town), names(&town, &[0, 1, 2]));
    town.start(Who::Person(1));
    town.pass(MINUTE);
    assert_eq!(town.texts(1), ["are you there?"]);
    // Nothing is left to ask for.
    let since = town.said.len();
    town.pass(24 * 60 * MINUTE);
    let asked = |frame: &Frame| matches!(frame.body, Body::Fetch { .. } | Body::Challenge { .. });
    assert_eq!(town.said.iter().skip(since).filter(|(.., frame)| asked(frame)).count(), 0);
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
        let mut town = speaker(4, vec![0, 1, 2]);
        town.lie(0, answers, hides);
        town.pass(12 * MINUTE);
        assert!(challenges(&town) > 0);
        assert_eq!(convicted(&town), [], "nothing is proved");
        let since = town.said.len();
        town.say(0, "hello?");
        town.pass(10 * SECOND);
        let to = |node| (Who::Person(0), Who::Node(node));
        let said = town.said.iter().skip(since);
        let appended: Vec<_> = said
            .filter(|(.., frame)| matches!(frame.body, Body::Append { .. }))
            .map(|(from, to, _)| (*from, *to))
            .filter(|(from, _)| *from == Who::Person(0))
            .collect();
        assert_eq!(appended.first(), Some(&to(1)), "another one is the home");
        town.start(Who::Person(1));
        town.pass(MINUTE);
        assert_eq!(town.texts(1), ["are you there?", "hello?"]);
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
