//! Homes in reserve: who has lost a home for good, or both, goes on at the next one.

#![expect(clippy::arithmetic_side_effects, reason = "tests add a few numbers")]

mod town;

use std::time::Duration;

use client::Mark;
use town::{Town, Who};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Ada is at home at nodes 0 and 1, with 4 in reserve, Ben at 2 and 3.
fn town(seed: u8) -> Town {
    let people = [("Ada", vec![0, 1, 4]), ("Ben", vec![2, 3])];
    let mut town = Town::at(seed, 5, &people).acquaint();
    for number in 0..20 {
        town.say(number % 2, &format!("{number}"));
        town.pass(SECOND);
    }
    town.pass(5 * SECOND);
    agree(&town, 20);
    town
}

fn agree(town: &Town, messages: usize) {
    let (ada, ben) = (town.texts(0), town.texts(1));
    assert_eq!(ada, ben);
    assert_eq!(ada.len(), messages, "{ada:?}");
}

fn talk(town: &mut Town, before: usize) {
    for number in 0..6 {
        town.say(number % 2, &format!("{before} and {number}"));
        town.pass(SECOND);
    }
    town.pass(5 * SECOND);
    agree(town, before + 6);
    assert!(town.marks(0).iter().all(|mark| *mark >= Mark::Stored));
}

#[test]
fn one_home_after_the_other_is_lost_and_all_goes_on() {
    let mut town = town(1);
    town.crash(Who::Node(0));
    talk(&mut town, 20);
    town.pass(12 * MINUTE);
    town.crash(Who::Node(1));
    talk(&mut town, 26);
    // Back at both homes, which get what was said meanwhile.
    town.start(Who::Node(0));
    town.start(Who::Node(1));
    town.pass(12 * MINUTE);
    town.crash(Who::Node(4));
    talk(&mut town, 32);
}

#[test]
fn it_does_so_while_everybody_sleeps() {
    let mut town = town(2);
    town.say(0, "good night");
    town.pass(5 * SECOND);
    town.crash(Who::Person(0));
    town.say(1, "good night, Ada");
    town.pass(5 * SECOND);
    town.crash(Who::Person(1));
    town.crash(Who::Node(0));
    town.pass(15 * MINUTE);
    // Nothing is left of where Ada was at home when she fell asleep, and Ben's nodes are out too.
    for node in [1, 2, 3] {
        town.crash(Who::Node(node));
    }
    town.start(Who::Person(0));
    town.pass(MINUTE);
    assert_eq!(town.texts(0).last().map(String::as_str), Some("good night, Ada"));
    town.say(0, "I am here");
    town.pass(MINUTE);
    town.start(Who::Node(2));
    town.start(Who::Person(1));
    town.pass(MINUTE);
    talk(&mut town, 23);
}

#[test]
fn both_homes_are_lost_at_once_while_people_talk() {
    let mut town = town(3);
    town.crash(Who::Node(0));
    town.crash(Who::Node(1));
    town.say(0, "hello?");
    town.say(1, "hello?");
    town.pass(MINUTE);
    talk(&mut town, 22);
}
