//! An account migrates to another home node while two people talk: nothing is lost, nothing comes
//! twice, and contacts find the account.

use std::{collections::BTreeSet, time::Duration};

use client::{Action, ContactState, DeliveryStatus, InviteLink, Reply, view};
use proptest::prelude::*;

use crate::world::{Who, World};

const SECOND: Duration = Duration::from_secs(1);

/// Three nodes; Ada is at home at 0, Ben at 1, and they know each other. Cem is at home at 2.
fn world(seed: u8) -> World {
    World::of(seed, 4, &["Ada", "Ben", "Cem"]).acquaint()
}

fn move_to(world: &mut World, person: usize, node: usize) {
    let homes = vec![world.address(node)];
    world.command(person, Action::Move { homes, pinned: Vec::new() });
}

fn home_of(world: &World, person: usize) -> usize {
    let home = view::account(world.rows(person)).unwrap().homes[0].node;
    (0..4).find(|node| world.address(*node).node == home).unwrap()
}

fn invite(world: &mut World, person: usize) -> InviteLink {
    let Reply::Link(link) = world.ask(person, Action::Invite { uses: 2, valid_s: 3600 }).unwrap()
    else {
        panic!()
    };
    link
}

fn state(world: &World, person: usize, name: &str) -> Option<ContactState> {
    let contacts = view::contacts(world.rows(person));
    contacts.iter().find(|contact| contact.name == name).map(|contact| contact.state)
}

/// Both have the same texts, once each, in one order, and all of it is acknowledged.
fn agree(world: &World, count: usize) {
    assert_eq!(world.texts(0).len(), count);
    assert_eq!(world.texts(0), world.texts(1));
    let texts: BTreeSet<_> = world.texts(0).into_iter().collect();
    assert_eq!(texts.len(), count, "once each");
    for person in [0, 1] {
        let marks = world.statuses(person);
        assert!(
            marks.iter().all(|status| *status >= DeliveryStatus::Delivered),
            "{person}: {marks:?}"
        );
        assert_eq!(view::contacts(world.rows(person))[0].outgoing, 0);
    }
}

#[test]
fn messages_go_on_while_ada_moves() {
    let mut world = world(1);
    for number in 0..6 {
        world.queue(number % 2, &format!("before {number}"));
    }
    world.pass(2 * SECOND);
    world.queue(0, "just before");
    move_to(&mut world, 0, 2);
    for number in 0..20 {
        world.queue(number % 2, &format!("meanwhile {number}"));
        world.run_some(2);
    }
    world.pass(2 * SECOND);
    assert_eq!(home_of(&world, 0), 2);
    agree(&world, 27);
    // The old home is not needed any more.
    world.crash(Who::Node(0));
    for number in 0..6 {
        world.queue(number % 2, &format!("after {number}"));
    }
    world.pass(2 * SECOND);
    agree(&world, 33);
    assert!(view::homes(world.rows(0)).unwrap().previous.is_empty());
}

#[test]
fn a_home_that_is_gone_can_be_left() {
    let mut world = world(2);
    world.queue(0, "one");
    world.pass(2 * SECOND);
    // What Ada says now is at her home only, which is then gone permanently.
    world.set_cut(Who::Node(0), Who::Node(1), true);
    world.queue(0, "two");
    world.pass(2 * SECOND);
    assert_eq!(world.statuses(0)[1], DeliveryStatus::Sent, "two nodes must hold it");
    world.crash(Who::Node(0));
    world.queue(1, "three");
    world.queue(0, "four");
    move_to(&mut world, 0, 2);
    world.pass(10 * SECOND);
    agree(&world, 4);
}

#[test]
fn a_conversation_whose_keys_have_changed_moves_too() {
    let mut world = world(3);
    for round in 0..3 {
        for number in [0, 1] {
            world.command(number, Action::Rekey { conversation: world.friend(number).into() });
            world.queue(number, &format!("{number} {round}"));
            world.pass(2 * SECOND);
        }
    }
    world.set_cut(Who::Node(0), Who::Node(1), true);
    world.command(0, Action::Rekey { conversation: world.friend(0).into() });
    world.queue(0, "under a key that only the old home knows");
    world.pass(2 * SECOND);
    world.crash(Who::Node(0));
    move_to(&mut world, 0, 2);
    world.pass(60 * SECOND);
    agree(&world, 7);
    world.command(1, Action::Rekey { conversation: world.friend(1).into() });
    world.queue(1, "and on");
    world.pass(10 * SECOND);
    agree(&world, 8);
}

#[test]
fn both_may_move_at_once() {
    for seed in 0..16 {
        let mut world = world(seed);
        world.queue(0, "before");
        world.pass(2 * SECOND);
        move_to(&mut world, 0, 2);
        world.run_some(usize::from(seed) % 5);
        move_to(&mut world, 1, 3);
        world.queue(0, "from Ada");
        world.queue(1, "from Ben");
        world.pass(10 * SECOND);
        assert_eq!((home_of(&world, 0), home_of(&world, 1)), (2, 3));
        agree(&world, 3);
        world.crash(Who::Node(0));
        world.crash(Who::Node(1));
        world.queue(0, "at last");
        world.pass(10 * SECOND);
        agree(&world, 4);
    }
}

#[test]
fn ada_moves_in_with_ben_and_away_again() {
    let mut world = world(4);
    world.queue(0, "one");
    world.pass(2 * SECOND);
    for node in [1, 3, 0] {
        move_to(&mut world, 0, node);
        let said = world.texts(0).len();
        world.queue(0, &format!("from {node}"));
        world.queue(1, &format!("to {node}"));
        world.pass(10 * SECOND);
        assert_eq!(home_of(&world, 0), node);
        agree(&world, said + 2);
    }
}

#[test]
fn a_device_that_is_killed_in_the_middle_goes_on() {
    for steps in 0..24 {
        let mut world = world(5);
        world.queue(0, "before");
        world.pass(2 * SECOND);
        move_to(&mut world, 0, 2);
        for _ in 0..steps {
            world.run_some(1);
        }
        world.crash(Who::Person(0));
        world.queue(1, "are you there?");
        world.pass(2 * SECOND);
        world.start(Who::Person(0));
        world.queue(0, "I am");
        world.pass(10 * SECOND);
        assert_eq!(home_of(&world, 0), 2, "killed after {steps}");
        agree(&world, 3);
    }
}

#[test]
fn an_old_invite_leads_to_the_new_home() {
    let mut world = world(6);
    let link = invite(&mut world, 0);
    move_to(&mut world, 0, 1);
    world.pass(2 * SECOND);
    // The old home says where to, at the door.
    world.ask(2, Action::AddContact { link, name: "Ada".into() }).unwrap();
    world.pass(2 * SECOND);
    assert_eq!(state(&world, 2, "Ada"), Some(ContactState::Requested));
    assert_eq!(state(&world, 0, "Cem"), Some(ContactState::Asking));
    assert!(world.said().all(|(from, to, frame)| {
        let asks = matches!(frame.body, proto::Body::Append { .. });
        !(asks && (from, to) == (Who::Person(2), Who::Node(0)))
    }));
}

#[test]
fn a_guest_who_is_inside_is_shown_the_door() {
    for steps in 0..12 {
        let mut world = world(7);
        let link = invite(&mut world, 0);
        world.command(2, Action::AddContact { link, name: "Ada".into() });
        for _ in 0..steps {
            world.run_some(1);
        }
        move_to(&mut world, 0, 1);
        world.pass(10 * SECOND);
        assert_eq!(state(&world, 0, "Cem"), Some(ContactState::Asking), "moved after {steps}");
        let contact = view::contacts(world.rows(0)).into_iter().find(|c| c.name == "Cem").unwrap();
        world.ask(0, Action::Accept { contact: contact.account }).unwrap();
        world.pass(10 * SECOND);
        assert_eq!(state(&world, 2, "Ada"), Some(ContactState::Established));
    }
}

#[test]
fn an_invite_gives_no_more_uses_by_a_move() {
    let mut world = world(8);
    let link = invite(&mut world, 0);
    world.ask(2, Action::AddContact { link: link.clone(), name: "Ada".into() }).unwrap();
    world.pass(2 * SECOND);
    move_to(&mut world, 0, 1);
    world.pass(2 * SECOND);
    let registered = world.said().filter_map(|(_, to, frame)| match &frame.body {
        proto::Body::PutInvite { key, uses, .. } if *key == link.key().public() => {
            Some((to, *uses))
        }
        _ => None,
    });
    let registered: Vec<_> = registered.collect();
    assert_eq!(registered, [(Who::Node(0), 2), (Who::Node(1), 1)]);
}

#[test]
fn who_asked_before_moving_is_found_when_accepted() {
    let mut world = World::of(9, 4, &["Ada", "Ben", "Cem"]);
    let link = invite(&mut world, 0);
    world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    move_to(&mut world, 1, 3);
    world.pass(5 * SECOND);
    world.crash(Who::Node(1));
    let contact = view::contacts(world.rows(0))[0].account;
    world.ask(0, Action::Accept { contact }).unwrap();
    world.queue(0, "welcome");
    world.pass(310 * SECOND);
    agree(&world, 1);
}

#[test]
fn a_node_that_takes_no_accounts_does_not_keep_an_account_from_staying() {
    let mut world = world(10);
    world.close(3);
    move_to(&mut world, 0, 3);
    world.pass(2 * SECOND);
    assert_eq!(home_of(&world, 0), 0);
    let homes = view::homes(world.rows(0)).unwrap();
    assert_eq!(homes.trouble, "the new home takes no new accounts");
    assert!(homes.next.is_empty());
    world.queue(0, "still here");
    world.pass(2 * SECOND);
    agree(&world, 1);
}

#[test]
fn homes_in_another_order_and_pins_last() {
    let mut world = world(11);
    world.queue(0, "before");
    world.pass(2 * SECOND);
    let (homes, pinned) = (vec![world.address(0), world.address(3)], vec![world.address(3).node]);
    world.ask(0, Action::Move { homes, pinned }).unwrap();
    world.queue(0, "after");
    world.pass(2 * SECOND);
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    world.pass(2 * SECOND);
    let homes = view::homes(world.rows(0)).unwrap();
    let shown: Vec<_> = homes.homes.iter().map(|home| (home.pinned, home.active)).collect();
    assert_eq!(shown, [(false, true), (true, true)], "the first two serve");
    agree(&world, 2);
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
    fn nothing_is_lost_when_both_move_whatever_happens(
        seed in 0..=255_u8,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = world(seed);
        let mut said = 0;
        for step in steps {
            match step {
                Step::Say(by) => {
                    said += 1;
                    world.queue(by, &format!("{by} says {said}"));
                }
                Step::Rekey(by) => world.command(by, Action::Rekey { conversation: world.friend(by).into() }),
                Step::Carry(frames) => world.run_some(frames),
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
                Step::Crash(who) => {
                    world.crash(who);
                    world.start(who);
                }
                Step::Cut(a, b, cut) if a != b => world.set_cut(a, b, cut),
                Step::Cut(..) => {}
                Step::Move(by, node) => move_to(&mut world, by, node),
            }
        }
        world.net.heal();
        world.pass(Duration::from_secs(1300));
        let order = |number: usize| {
            let messages = world.messages(number).into_iter();
            messages.map(|m| (m.key, m.text)).collect::<Vec<_>>()
        };
        prop_assert_eq!(order(0), order(1), "one order on both devices");
        let texts: BTreeSet<_> = world.texts(0).into_iter().collect();
        prop_assert_eq!(texts.len(), world.texts(0).len(), "nothing twice");
        prop_assert_eq!(texts.len(), said, "nothing lost");
        for number in [0, 1] {
            let marks = world.statuses(number);
            prop_assert!(marks.iter().all(|status| *status >= DeliveryStatus::Delivered), "{:?}", marks);
            prop_assert_eq!(view::contacts(world.rows(number))[0].outgoing, 0);
            prop_assert!(view::homes(world.rows(number)).unwrap().previous.is_empty());
        }
        world.net.sent.clear();
        world.pass(Duration::from_secs(1300));
        prop_assert_eq!(world.net.sent.len(), 0, "all is quiet");
    }
}
