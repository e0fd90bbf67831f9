//! Two homes: when the first fails, the second takes its place within a moment.

#![expect(clippy::arithmetic_side_effects, reason = "tests add a few numbers")]

mod town;

use std::time::Duration;

use client::{Mark, view};
use proto::Body;
use town::{Town, Who};

/// Ada is at home at nodes 0 and 1, Ben at 2 and 3.
fn town(seed: u8) -> Town {
    let people = [("Ada", vec![0, 1]), ("Ben", vec![2, 3])];
    let mut town = Town::at(seed, 4, &people).acquaint();
    town.say(0, "hello");
    town.pass(SECOND);
    town.say(1, "hello Ada");
    town.pass(5 * SECOND);
    agree(&town, 2);
    town
}

fn agree(town: &Town, messages: usize) {
    let (ada, ben) = (town.texts(0), town.texts(1));
    assert_eq!(ada, ben);
    assert_eq!(ada.len(), messages, "{ada:?}");
}

#[test]
fn two_homes_hold_all_and_one_of_them_only_names_it() {
    let mut town = town(1);
    assert!(town.marks(0).iter().all(|mark| *mark == Mark::Delivered));
    town.said.clear();
    for number in 0..10 {
        town.say(0, &format!("{number}"));
        town.pass(SECOND);
    }
    town.pass(20 * SECOND);
    agree(&town, 12);
    let to_ben = |node: usize, kind: fn(&Body) -> bool| {
        let way = (Who::Node(node), Who::Person(1));
        town.said.iter().filter(|(from, to, f)| (*from, *to) == way && kind(&f.body)).count()
    };
    let delivers = |body: &Body| matches!(body, Body::Deliver { .. });
    let briefs = |body: &Body| matches!(body, Body::Brief { .. });
    assert!(to_ben(2, delivers) >= 10);
    assert_eq!((to_ben(3, delivers), to_ben(2, briefs)), (0, 0));
    assert!(to_ben(3, briefs) >= 10, "the stand-in names all");
}

#[test]
fn what_is_said_while_the_senders_home_dies_arrives_in_a_moment() {
    let mut town = town(2);
    // It is dead, and nobody has noticed: its connections stand.
    town.stun(0);
    town.say(0, "are you there?");
    town.pass(SECOND);
    agree(&town, 3);
    town.pass(5 * SECOND);
    assert!(town.marks(0)[1] >= Mark::Delivered);
    town.say(1, "yes");
    town.pass(SECOND);
    agree(&town, 4);
}

#[test]
fn what_is_said_while_the_recipients_home_dies_arrives_in_a_moment() {
    let mut town = town(3);
    town.stun(2);
    town.say(0, "are you there?");
    town.pass(SECOND);
    agree(&town, 3);
    for number in 0..10 {
        town.say(number % 2, &format!("{number}"));
        town.pass(SECOND);
    }
    agree(&town, 13);
}

#[test]
fn a_home_that_comes_back_is_given_all_and_takes_its_turn() {
    let mut town = town(4);
    for (down, up) in [(0, 1), (1, 0), (0, 1)] {
        town.crash(Who::Node(down));
        for number in 0..6 {
            town.say(number % 2, &format!("{number} without {down}"));
            town.pass(SECOND);
        }
        let before = town.texts(0).len();
        town.start(Who::Node(down));
        town.pass(120 * SECOND);
        // All that is at the other one is at this one too.
        town.crash(Who::Node(up));
        town.say(1, "again");
        town.pass(5 * SECOND);
        agree(&town, before + 1);
        town.start(Who::Node(up));
        town.pass(120 * SECOND);
    }
}

#[test]
fn a_message_is_stored_once_two_nodes_have_signed_for_it() {
    let mut town = town(5);
    for node in [1, 2, 3] {
        town.crash(Who::Node(node));
    }
    town.say(0, "alone");
    town.pass(60 * SECOND);
    assert_eq!(town.marks(0)[1], Mark::Sent);
    town.start(Who::Node(1));
    town.pass(60 * SECOND);
    assert_eq!(town.marks(0)[1], Mark::Stored);
}

#[test]
fn an_answer_to_what_the_other_home_has_taken_holds_up_nothing() {
    let mut town = town(12);
    let (home, ada) = (Who::Node(0), Who::Person(0));
    let answers =
        |body: &Body| matches!(body, Body::Held { .. } | Body::Accepted { sequence: 1.., .. });
    town.delay(home, ada, answers);
    town.say(0, "to one home, and then to the other");
    town.pass(10 * SECOND);
    // The first home names what the other one has taken, so it is well, and takes its place again.
    town.crash(Who::Person(1));
    town.say(0, "to the other");
    town.pass(SECOND / 10);
    let outgoing = |town: &Town| view::contacts(town.rows(0))[0].outgoing;
    assert_eq!(outgoing(&town), 0);
    town.crash(Who::Node(1));
    town.say(0, "to the first");
    town.pass(SECOND / 10);
    assert_eq!(outgoing(&town), 1);
    town.delay(home, ada, |_| false);
    town.pass(5 * SECOND);
    assert_eq!(outgoing(&town), 0);
}

#[test]
fn a_receipt_of_another_key_is_none() {
    for forge in [false, true] {
        let mut town = town(9);
        town.crash(Who::Node(1));
        // Nobody else may tell Ada that it has arrived.
        town.crash(Who::Person(1));
        for node in [2, 3] {
            if forge {
                town.forge(node);
            }
        }
        town.pass(5 * SECOND);
        town.say(0, "signed for?");
        town.pass(60 * SECOND);
        let mark = if forge { Mark::Sent } else { Mark::Stored };
        assert_eq!(town.marks(0)[1], mark, "forged: {forge}");
    }
}

#[test]
fn the_first_home_can_be_lost_for_good_at_any_time() {
    for frames in (0..60).step_by(3) {
        let mut town = town(6);
        town.say(0, "one");
        town.say(1, "two");
        for _ in 0..frames {
            town.run_some(1);
        }
        let stored = town.marks(0)[1] >= Mark::Stored;
        town.crash(Who::Node(0));
        if stored {
            // Nor is the device needed.
            town.crash(Who::Person(0));
            town.pass(10 * SECOND);
            assert!(town.texts(1).contains(&"one".to_owned()), "after {frames}");
            town.start(Who::Person(0));
        }
        town.pass(30 * SECOND);
        agree(&town, 4);
    }
}

#[test]
fn a_request_reaches_who_has_lost_a_home() {
    let people = [("Ada", vec![0, 1]), ("Ben", vec![2, 3])];
    for down in [0, 1] {
        let mut town = Town::at(7, 4, &people);
        town.pass(SECOND);
        let link = town.invite(0);
        town.crash(Who::Node(down));
        town.add(1, link);
        town.pass(5 * SECOND);
        town.accept(0);
        town.pass(5 * SECOND);
        town.say(0, "hello");
        town.say(1, "hello Ada");
        town.pass(5 * SECOND);
        agree(&town, 2);
        assert!(view::account(town.rows(0)).unwrap().published);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_home_that_was_stopped_once_is_waited_for_no_longer_than_before() {
    let mut town = town(9);
    town.delay(Who::Node(0), Who::Person(0), |_| true);
    town.say(0, "are you there?");
    town.pass(20 * SECOND);
    agree(&town, 3);
    town.delay(Who::Node(0), Who::Person(0), |_| false);
    town.pass(SECOND);
    // It takes its turn, and dies.
    town.crash(Who::Node(1));
    town.pass(SECOND);
    town.start(Who::Node(1));
    town.pass(5 * SECOND);
    town.stun(0);
    town.say(0, "and now?");
    town.pass(SECOND);
    agree(&town, 4);
}

#[test]
fn whichever_node_dies_next_all_goes_on_in_a_moment() {
    let mut town = town(8);
    for round in 0..24 {
        let node = [0, 1, 2, 3, 2, 0, 3, 1][round % 8];
        town.stun(node);
        for person in [0, 1] {
            let before = town.texts(1 - person).len();
            town.say(person, &format!("{round}, {person}"));
            let mut waits = 0;
            while town.texts(1 - person).len() == before {
                town.pass(SECOND / 10);
                waits += 1;
                assert!(waits < 12, "person {person} in round {round}, without {node}");
            }
        }
        // Noticed at last, and started again.
        town.crash(Who::Node(node));
        town.start(Who::Node(node));
        town.pass(5 * SECOND);
    }
    agree(&town, 2 + 48);
}
