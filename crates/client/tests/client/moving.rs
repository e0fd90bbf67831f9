//! An account moves to another home while two people talk: nothing is lost, nothing comes twice,
//! and whoever looks for it finds it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::{collections::BTreeSet, time::Duration};

use client::{Action, ContactState, InviteLink, Mark, Reply, view};
use proptest::prelude::*;
use town::{Town, Who};

const SECOND: Duration = Duration::from_secs(1);

/// Three nodes; Ada is at home at 0, Ben at 1, and they know each other. Cem is at home at 2.
fn town(seed: u8) -> Town {
    Town::of(seed, 4, &["Ada", "Ben", "Cem"]).acquaint()
}

fn move_to(town: &mut Town, person: usize, node: usize) {
    let homes = vec![town.address(node)];
    town.tell(person, Action::Move { homes, pinned: Vec::new() });
}

fn home_of(town: &Town, person: usize) -> usize {
    let home = view::account(town.rows(person)).unwrap().homes[0].node;
    (0..4).find(|node| town.address(*node).node == home).unwrap()
}

fn invite(town: &mut Town, person: usize) -> InviteLink {
    let Reply::Link(link) = town.ask(person, Action::Invite { uses: 2, valid_s: 3600 }).unwrap()
    else {
        panic!()
    };
    link
}

fn state(town: &Town, person: usize, name: &str) -> Option<ContactState> {
    let contacts = view::contacts(town.rows(person));
    contacts.iter().find(|contact| contact.name == name).map(|contact| contact.state)
}

/// Both have the same texts, once each, in one order, and all of it is acknowledged.
fn agree(town: &Town, count: usize) {
    assert_eq!(town.texts(0).len(), count);
    assert_eq!(town.texts(0), town.texts(1));
    let texts: BTreeSet<_> = town.texts(0).into_iter().collect();
    assert_eq!(texts.len(), count, "once each");
    for person in [0, 1] {
        let marks = town.marks(person);
        assert!(marks.iter().all(|mark| *mark >= Mark::Delivered), "{person}: {marks:?}");
        assert_eq!(view::contacts(town.rows(person))[0].outgoing, 0);
    }
}

#[test]
fn messages_go_on_while_ada_moves() {
    let mut town = town(1);
    for number in 0..6 {
        town.say(number % 2, &format!("before {number}"));
    }
    town.pass(2 * SECOND);
    town.say(0, "just before");
    move_to(&mut town, 0, 2);
    for number in 0..20 {
        town.say(number % 2, &format!("meanwhile {number}"));
        town.run_some(2);
    }
    town.pass(2 * SECOND);
    assert_eq!(home_of(&town, 0), 2);
    agree(&town, 27);
    // The old home is not needed any more.
    town.crash(Who::Node(0));
    for number in 0..6 {
        town.say(number % 2, &format!("after {number}"));
    }
    town.pass(2 * SECOND);
    agree(&town, 33);
    assert!(view::homes(town.rows(0)).unwrap().former.is_empty());
}

#[test]
fn a_home_that_is_gone_can_be_left() {
    let mut town = town(2);
    town.say(0, "one");
    town.pass(2 * SECOND);
    // What Ada says now is at her home only, which then is gone for good.
    town.set_cut(Who::Node(0), Who::Node(1), true);
    town.say(0, "two");
    town.pass(2 * SECOND);
    assert_eq!(town.marks(0)[1], Mark::Sent, "two nodes must hold it");
    town.crash(Who::Node(0));
    town.say(1, "three");
    town.say(0, "four");
    move_to(&mut town, 0, 2);
    town.pass(10 * SECOND);
    agree(&town, 4);
}

#[test]
fn a_conversation_whose_keys_have_changed_moves_too() {
    let mut town = town(3);
    for round in 0..3 {
        for number in [0, 1] {
            town.tell(number, Action::Rekey { contact: town.friend(number) });
            town.say(number, &format!("{number} {round}"));
            town.pass(2 * SECOND);
        }
    }
    town.set_cut(Who::Node(0), Who::Node(1), true);
    town.tell(0, Action::Rekey { contact: town.friend(0) });
    town.say(0, "under a key that only the old home knows");
    town.pass(2 * SECOND);
    town.crash(Who::Node(0));
    move_to(&mut town, 0, 2);
    town.pass(60 * SECOND);
    agree(&town, 7);
    town.tell(1, Action::Rekey { contact: town.friend(1) });
    town.say(1, "and on");
    town.pass(10 * SECOND);
    agree(&town, 8);
}

#[test]
fn both_may_move_at_once() {
    for seed in 0..16 {
        let mut town = town(seed);
        town.say(0, "before");
        town.pass(2 * SECOND);
        move_to(&mut town, 0, 2);
        town.run_some(usize::from(seed) % 5);
        move_to(&mut town, 1, 3);
        town.say(0, "from Ada");
        town.say(1, "from Ben");
        town.pass(10 * SECOND);
        assert_eq!((home_of(&town, 0), home_of(&town, 1)), (2, 3));
        agree(&town, 3);
        town.crash(Who::Node(0));
        town.crash(Who::Node(1));
        town.say(0, "at last");
        town.pass(10 * SECOND);
        agree(&town, 4);
    }
}

#[test]
fn ada_moves_in_with_ben_and_away_again() {
    let mut town = town(4);
    town.say(0, "one");
    town.pass(2 * SECOND);
    for node in [1, 3, 0] {
        move_to(&mut town, 0, node);
        let said = town.texts(0).len();
        town.say(0, &format!("from {node}"));
        town.say(1, &format!("to {node}"));
        town.pass(10 * SECOND);
        assert_eq!(home_of(&town, 0), node);
        agree(&town, said + 2);
    }
}

#[test]
fn a_device_that_is_killed_in_the_middle_goes_on() {
    for steps in 0..24 {
        let mut town = town(5);
        town.say(0, "before");
        town.pass(2 * SECOND);
        move_to(&mut town, 0, 2);
        for _ in 0..steps {
            town.run_some(1);
        }
        town.crash(Who::Person(0));
        town.say(1, "are you there?");
        town.pass(2 * SECOND);
        town.start(Who::Person(0));
        town.say(0, "I am");
        town.pass(10 * SECOND);
        assert_eq!(home_of(&town, 0), 2, "killed after {steps}");
        agree(&town, 3);
    }
}

#[test]
fn an_old_invite_leads_to_the_new_home() {
    let mut town = town(6);
    let link = invite(&mut town, 0);
    move_to(&mut town, 0, 1);
    town.pass(2 * SECOND);
    // The old home says where to, at the door.
    town.ask(2, Action::AddContact { link, name: "Ada".into() }).unwrap();
    town.pass(2 * SECOND);
    assert_eq!(state(&town, 2, "Ada"), Some(ContactState::Requested));
    assert_eq!(state(&town, 0, "Cem"), Some(ContactState::Asking));
    assert!(town.said.iter().all(|(from, to, frame)| {
        let asks = matches!(frame.body, proto::Body::Append { .. });
        !(asks && (*from, *to) == (Who::Person(2), Who::Node(0)))
    }));
}

#[test]
fn a_guest_who_is_inside_is_shown_the_door() {
    for steps in 0..12 {
        let mut town = town(7);
        let link = invite(&mut town, 0);
        town.tell(2, Action::AddContact { link, name: "Ada".into() });
        for _ in 0..steps {
            town.run_some(1);
        }
        move_to(&mut town, 0, 1);
        town.pass(10 * SECOND);
        assert_eq!(state(&town, 0, "Cem"), Some(ContactState::Asking), "moved after {steps}");
        let contact = view::contacts(town.rows(0)).into_iter().find(|c| c.name == "Cem").unwrap();
        town.ask(0, Action::Accept { contact: contact.account }).unwrap();
        town.pass(10 * SECOND);
        assert_eq!(state(&town, 2, "Ada"), Some(ContactState::Established));
    }
}

#[test]
fn an_invite_gives_no_more_uses_by_a_move() {
    let mut town = town(8);
    let link = invite(&mut town, 0);
    town.ask(2, Action::AddContact { link: link.clone(), name: "Ada".into() }).unwrap();
    town.pass(2 * SECOND);
    move_to(&mut town, 0, 1);
    town.pass(2 * SECOND);
    let registered = town.said.iter().filter_map(|(_, to, frame)| match &frame.body {
        proto::Body::PutInvite { key, uses, .. } if *key == link.key().public() => {
            Some((*to, *uses))
        }
        _ => None,
    });
    let registered: Vec<_> = registered.collect();
    assert_eq!(registered, [(Who::Node(0), 2), (Who::Node(1), 1)]);
}

#[test]
fn whoever_asked_before_moving_is_found_when_they_are_accepted() {
    let mut town = Town::of(9, 4, &["Ada", "Ben", "Cem"]);
    let link = invite(&mut town, 0);
    town.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    move_to(&mut town, 1, 3);
    town.pass(5 * SECOND);
    town.crash(Who::Node(1));
    let contact = view::contacts(town.rows(0))[0].account;
    town.ask(0, Action::Accept { contact }).unwrap();
    town.say(0, "welcome");
    town.pass(310 * SECOND);
    agree(&town, 1);
}

#[test]
fn a_node_that_takes_no_accounts_keeps_nobody_from_staying() {
    let mut town = town(10);
    town.close(3);
    move_to(&mut town, 0, 3);
    town.pass(2 * SECOND);
    assert_eq!(home_of(&town, 0), 0);
    let homes = view::homes(town.rows(0)).unwrap();
    assert_eq!(homes.trouble, "the new home takes no new accounts");
    assert!(homes.next.is_empty());
    town.say(0, "still here");
    town.pass(2 * SECOND);
    agree(&town, 1);
}

#[test]
fn homes_in_another_order_and_pins_last() {
    let mut town = town(11);
    town.say(0, "before");
    town.pass(2 * SECOND);
    let (homes, pinned) = (vec![town.address(0), town.address(3)], vec![town.address(3).node]);
    town.ask(0, Action::Move { homes, pinned }).unwrap();
    town.say(0, "after");
    town.pass(2 * SECOND);
    town.crash(Who::Person(0));
    town.start(Who::Person(0));
    town.pass(2 * SECOND);
    let homes = view::homes(town.rows(0)).unwrap();
    let shown: Vec<_> = homes.homes.iter().map(|home| (home.pinned, home.serves)).collect();
    assert_eq!(shown, [(false, true), (true, true)], "the first two serve");
    agree(&town, 2);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(usize),
    Rekey(usize),
    Carry(usize),
    Pass(u64),
    Crash(Who),
    Cut(Who, Who, bool),
    Move(usize, usize),
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![(0..4_usize).prop_map(Who::Node), (0..2_usize).prop_map(Who::Person)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize).prop_map(Step::Say),
        1 => (0..2_usize).prop_map(Step::Rekey),
        8 => (0..6_usize).prop_map(Step::Carry),
        2 => (0..4000_u64).prop_map(Step::Pass),
        2 => who().prop_map(Step::Crash),
        2 => ((0..4_usize).prop_map(Who::Node), who(), any::<bool>())
            .prop_map(|(a, b, cut)| Step::Cut(a, b, cut)),
        2 => (0..2_usize, 0..4_usize).prop_map(|(who, node)| Step::Move(who, node)),
    ]
}

proptest! {
    // PROPTEST_CASES=16000 runs 2,000 of them.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whoever_moves_whatever_happens(
        seed in 0..=255_u8,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut town = town(seed);
        let mut said = 0;
        for step in steps {
            match step {
                Step::Say(by) => {
                    said += 1;
                    town.say(by, &format!("{by} says {said}"));
                }
                Step::Rekey(by) => _ = town.tell(by, Action::Rekey { contact: town.friend(by) }),
                Step::Carry(frames) => _ = town.run_some(frames),
                Step::Pass(millis) => town.pass(Duration::from_millis(millis)),
                Step::Crash(who) => {
                    town.crash(who);
                    town.start(who);
                }
                Step::Cut(a, b, cut) if a != b => town.set_cut(a, b, cut),
                Step::Cut(..) => {}
                Step::Move(by, node) => move_to(&mut town, by, node),
            }
        }
        town.heal();
        town.pass(Duration::from_secs(1300));
        let order = |number: usize| {
            let messages = town.messages(number).into_iter();
            messages.map(|m| (m.place, m.text)).collect::<Vec<_>>()
        };
        prop_assert_eq!(order(0), order(1), "one order on both devices");
        let texts: BTreeSet<_> = town.texts(0).into_iter().collect();
        prop_assert_eq!(texts.len(), town.texts(0).len(), "nothing twice");
        prop_assert_eq!(texts.len(), said, "nothing lost");
        for number in [0, 1] {
            let marks = town.marks(number);
            prop_assert!(marks.iter().all(|mark| *mark >= Mark::Delivered), "{:?}", marks);
            prop_assert_eq!(view::contacts(town.rows(number))[0].outgoing, 0);
            prop_assert!(view::homes(town.rows(number)).unwrap().former.is_empty());
        }
        town.said.clear();
        town.pass(Duration::from_secs(1300));
        prop_assert_eq!(town.said.len(), 0, "all is quiet");
    }
}
