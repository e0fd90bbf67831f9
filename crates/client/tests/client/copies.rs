//! More copies and more receipts than there are by default, and how many nodes have signed.

#![expect(clippy::arithmetic_side_effects, reason = "tests add a few numbers")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test counts two kinds of frames")]

mod town;

use std::{cell::Cell, rc::Rc, time::Duration};

use client::{Action, CommandError, Holder, Mark, view};
use proto::{Body, Code, Frame, NodeId};
use town::{Town, Who};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Ada is at home at nodes 0, 1, and 4, Ben at 2 and 3; they have met.
fn town(seed: u8) -> Town {
    let people = [("Ada", vec![0, 1, 4]), ("Ben", vec![2, 3])];
    let mut town = Town::at(seed, 5, &people).acquaint();
    town.pass(5 * SECOND);
    town
}

/// The nodes that have signed for what Ada said last.
fn stored_on(town: &Town) -> Vec<NodeId> {
    let messages = town.messages(0);
    let receipts = messages.last().map(|message| message.holders.clone()).unwrap_or_default();
    receipts.into_iter().map(|receipt| receipt.node).collect()
}

fn want(town: &mut Town, copies: u32, receipts: u32) {
    let asked = town.ask(0, Action::WantCopies { copies, receipts });
    assert!(asked.is_ok(), "{asked:?}");
    town.pass(2 * MINUTE);
}

#[test]
fn who_has_signed_is_shown_until_the_contact_has_it_and_outlasts_a_crash() {
    let mut town = town(1);
    town.crash(Who::Person(1));
    town.say(0, "hello");
    town.pass(5 * SECOND);
    let named = |town: &Town| {
        let mut named = stored_on(town);
        named.sort_unstable();
        named
    };
    let mut all: Vec<_> = [0, 1, 2, 3].map(|node| town.address(node).node).into();
    all.sort_unstable();
    assert_eq!(named(&town), all);
    town.crash(Who::Person(0));
    town.start(Who::Person(0));
    assert_eq!(named(&town), all, "it is in rows");
    // Anybody can check them.
    let message = town.messages(0).pop().unwrap();
    for Holder { node, receipt } in &message.holders {
        crypto::verify_held(node, &town.log(0), &message.place.id, receipt).unwrap();
    }
    town.start(Who::Person(1));
    town.pass(MINUTE);
    assert_eq!(town.marks(0).last(), Some(&Mark::Delivered));
    assert_eq!(stored_on(&town), []);
}

#[test]
fn a_third_home_has_a_copy_and_signs() {
    let mut town = town(2);
    town.say(0, "before");
    town.pass(5 * SECOND);
    want(&mut town, 3, 3);
    let homes = view::homes(town.rows(0)).unwrap();
    assert_eq!((homes.copies, homes.receipts), (3, 3));
    assert!(homes.homes.iter().all(|home| home.has_copies));
    town.crash(Who::Person(1));
    town.say(0, "after");
    town.pass(5 * SECOND);
    assert_eq!(stored_on(&town).len(), 5);
    assert!(stored_on(&town).contains(&town.address(4).node));

    // All but the third home are lost for ever, and so is Ada's device.
    for node in [0, 1, 2, 3] {
        town.crash(Who::Node(node));
    }
    town.start(Who::Person(1));
    town.pass(2 * MINUTE);
    town.say(0, "I am at the third");
    town.pass(2 * MINUTE);
    assert_eq!(town.texts(0).len(), 3);
}

#[test]
fn it_is_called_stored_only_when_as_many_have_signed_as_are_wanted() {
    let mut town = town(3);
    want(&mut town, 2, 3);
    // Who could sign is out, but for Ada's two homes.
    for node in [2, 3] {
        town.crash(Who::Node(node));
    }
    town.say(0, "hello");
    town.pass(MINUTE);
    assert_eq!(stored_on(&town).len(), 2);
    assert_eq!(town.marks(0).last(), Some(&Mark::Sent));
    town.start(Who::Node(2));
    town.pass(MINUTE);
    assert!(town.marks(0).last() >= Some(&Mark::Stored));
}

#[test]
fn a_node_that_does_not_sign_does_not_count() {
    let mut town = town(4);
    let silent = |frame: Frame| {
        if matches!(frame.body, Body::Held { .. }) { Vec::new() } else { vec![frame] }
    };
    // Whoever says that it has accepted, and does not sign, may forget it.
    for node in [0, 1, 2, 3] {
        town.lie(node, |_| None, silent);
    }
    town.crash(Who::Person(1));
    let appended = Rc::new(Cell::new(0));
    let count = Rc::clone(&appended);
    town.lie(
        1,
        move |frame| {
            count.set(count.get() + u32::from(matches!(frame.body, Body::Append { .. })));
            None
        },
        silent,
    );
    town.say(0, "hello");
    town.pass(MINUTE);
    assert_eq!(town.marks(0).last(), Some(&Mark::Sent));
    assert!(appended.get() > 0, "another node is given it");
    town.pass(60 * MINUTE);
    assert!(appended.get() > 3 && appended.get() < 20, "ever more rarely: {}", appended.get());
}

#[test]
fn each_text_is_given_to_the_stand_in_in_time() {
    let mut town = town(6);
    town.crash(Who::Person(1));
    for node in [1, 2, 3] {
        town.set_cut(Who::Node(0), Who::Node(node), true);
    }
    for text in ["one", "two", "three"] {
        town.say(0, text);
        town.pass(2 * SECOND);
        assert_eq!(town.marks(0).last(), Some(&Mark::Stored), "{text}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let mut town = town(5);
    for (copies, receipts) in [(1, 2), (5, 2), (2, 1), (3, 5)] {
        let asked = town.ask(0, Action::WantCopies { copies, receipts });
        assert!(matches!(asked, Err(CommandError::BadRequest(_))), "{copies}, {receipts}");
    }
    let homes = view::homes(town.rows(0)).unwrap();
    assert_eq!((homes.copies, homes.receipts), (2, 2));
}

#[test]
fn full_homes_are_asked_ever_more_rarely_and_used_once_there_is_room() {
    let mut town = town(7);
    let full = |body: &Body| matches!(body, Body::Append { .. }).then_some(Code::Full);
    town.refuse(0, full);
    town.refuse(1, full);
    town.said.clear();
    town.say(0, "hello");
    town.pass(60 * MINUTE);
    assert_eq!(town.marks(0).last(), Some(&Mark::Sent));
    let from_ada = town.said.iter().filter(|(from, ..)| *from == Who::Person(0));
    let (opens, appends) =
        from_ada.fold((0, 0), |(opens, appends), (.., frame)| match frame.body {
            Body::Open(_) => (opens + 1, appends),
            Body::Append { .. } => (opens, appends + 1),
            _ => (opens, appends),
        });
    assert!(appends > 20 && appends < 250, "{appends} times");
    assert!(opens < 80, "{opens} times");
    town.repent(0);
    town.repent(1);
    town.pass(MINUTE);
    assert!(town.marks(0).last() >= Some(&Mark::Stored));
}
