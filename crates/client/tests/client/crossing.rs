//! Two people at home on different nodes: each device talks with its own node about the
//! conversation, and the nodes see to the rest, whatever goes wrong.

use std::{collections::BTreeSet, time::Duration};

use client::{Action, ContactState, DeliveryStatus, InviteLink, Reply, view};
use proptest::prelude::*;
use proto::Body;

use crate::world::{Who, World};

#[test]
fn each_device_talks_about_the_conversation_with_its_own_node_only() {
    let mut world = World::acquainted_across(1);
    world.queue(0, "from Ada");
    world.queue(1, "from Ben");
    world.pass(Duration::from_secs(2));
    for number in [0, 1] {
        let texts: BTreeSet<_> = world.texts(number).into_iter().collect();
        assert_eq!(texts, BTreeSet::from(["from Ada".to_owned(), "from Ben".to_owned()]));
        assert!(world.statuses(number).iter().all(|status| *status >= DeliveryStatus::Delivered));
    }
    let log = world.log(0);
    let opened = world.said().filter_map(|(from, to, frame)| match &frame.body {
        Body::Open(open) if open.log == log => Some((from, to)),
        _ => None,
    });
    let opened: BTreeSet<_> = opened.collect();
    let home = |n| (Who::Person(n), Who::Node(n));
    assert_eq!(opened, BTreeSet::from([home(0), home(1)]));
}

#[test]
fn a_request_that_crossed_another_may_come_late() {
    // Which of the two conversations stays is up to chance; half of the worlds show what is tested.
    for seed in 0..8 {
        let mut world = World::of(seed, 2, &["Ada", "Ben"]);
        let invite = |world: &mut World, number| {
            let invite = Action::Invite { uses: 1, valid_s: 3600 };
            let Reply::Link(link) = world.ask(number, invite).unwrap() else { panic!() };
            link
        };
        let links = [invite(&mut world, 1), invite(&mut world, 0)];
        for (number, link) in links.into_iter().enumerate() {
            world.command(number, Action::AddContact { link, name: "friend".into() });
        }
        // Both have asked before either has heard; what comes through inboxes comes late.
        let is_request = |body: &Body| match body {
            Body::Deliver { entry, .. } => entry.expiry == proto::Expiry::Month,
            _ => false,
        };
        world.delay(Who::Node(0), Who::Person(0), is_request);
        world.run();
        world.pass(Duration::from_secs(5));
        world.delay(Who::Node(0), Who::Person(0), |_| false);
        world.pass(Duration::from_secs(5));
        for number in [0, 1] {
            let contact = &view::contacts(world.rows(number))[0];
            assert_eq!(contact.state, ContactState::Established, "seed {seed}, person {number}");
        }
        assert_eq!(world.log(0), world.log(1), "seed {seed}");
    }
}

#[test]
fn a_request_that_never_left_gives_way_to_one_that_came() {
    // Half of the worlds show it: there Ben's conversation would stay, had he asked for it.
    for seed in 0..8 {
        let mut world = World::of(seed, 2, &["Ada", "Ben"]);
        let link = world.invite(0);
        // Ben is ready to ask but for his conversation's log.
        world.delay(Who::Node(1), Who::Person(1), |body| matches!(body, Body::Opened { .. }));
        world.add(1, link.clone());
        world.run();
        world.add(1, InviteLink { token: [7; 16], ..link });
        world.run();
        world.delay(Who::Node(1), Who::Person(1), |_| false);
        world.pass(Duration::from_secs(5));
        assert_eq!(view::contacts(world.rows(1))[0].state, ContactState::Adding);
        let link = world.invite(1);
        world.add(0, link);
        world.pass(Duration::from_secs(5));
        for number in [0, 1] {
            let contact = &view::contacts(world.rows(number))[0];
            assert_eq!(contact.state, ContactState::Established, "seed {seed}, person {number}");
        }
        world.queue(0, "from Ada");
        world.queue(1, "from Ben");
        world.pass(Duration::from_secs(5));
        assert_eq!((world.texts(0).len(), world.texts(1).len()), (2, 2), "seed {seed}");
    }
}

#[test]
fn typing_is_seen_across_nodes() {
    let mut world = World::acquainted_across(2);
    world.queue(0, "hello");
    world.pass(Duration::from_secs(2));
    world.saw_typing(1);
    world.ask(0, Action::Typing { conversation: world.friend(0).into() }).unwrap();
    assert!(world.saw_typing(1));
}

#[test]
fn who_has_no_node_of_the_other_in_reach_hears_all_later() {
    let mut world = World::acquainted_across(3);
    world.set_cut(Who::Node(0), Who::Node(1), true);
    for number in 0..20 {
        world.queue(number % 2, &format!("{number}"));
        world.pass(Duration::from_secs(60));
    }
    assert_eq!((world.texts(0).len(), world.texts(1).len()), (10, 10));
    assert!(
        world.statuses(0).iter().all(|status| *status == DeliveryStatus::Sent),
        "one node is not enough"
    );
    world.set_cut(Who::Node(0), Who::Node(1), false);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.texts(0).len(), 20);
    assert_eq!(world.texts(0), world.texts(1));
    assert!(world.statuses(0).iter().all(|status| *status >= DeliveryStatus::Delivered));
}

#[test]
fn keys_change_across_nodes() {
    let mut world = World::acquainted_across(4);
    for round in 0..4 {
        for number in [0, 1] {
            world.command(number, Action::Rekey { conversation: world.friend(number).into() });
            world.queue(number, &format!("{number} {round}"));
        }
        world.pass(Duration::from_secs(if round % 2 == 0 { 1 } else { 26 * 3600 }));
    }
    assert_eq!(world.texts(0).len(), 8);
    assert_eq!(world.texts(0), world.texts(1));
}

#[test]
fn a_home_that_has_lost_its_disk_gets_everything_from_the_other() {
    let mut world = World::acquainted_across(5);
    for number in 0..6 {
        world.queue(number % 2, &format!("{number}"));
    }
    world.pass(Duration::from_secs(2));
    world.command(0, Action::Rekey { conversation: world.friend(0).into() });
    world.pass(Duration::from_secs(2));
    world.wipe(0);
    world.pass(Duration::from_secs(60));
    world.queue(0, "still here");
    world.queue(1, "so am I");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.texts(0).len(), 8);
    assert_eq!(world.texts(0), world.texts(1));
    assert!(world.statuses(0).iter().all(|status| *status >= DeliveryStatus::Delivered));
}

#[test]
fn a_device_can_be_away_while_the_nodes_go_on() {
    let mut world = World::acquainted_across(6);
    world.crash(Who::Person(1));
    world.queue(0, "are you there?");
    world.pass(Duration::from_secs(5));
    world.crash(Who::Node(0));
    // Ada's node is gone; Ben's has it.
    world.start(Who::Person(1));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.texts(1), ["are you there?"]);
    world.queue(1, "yes");
    world.start(Who::Node(0));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.texts(0), ["are you there?", "yes"]);
}

#[test]
fn a_node_learns_nothing_of_the_other_nodes_people() {
    let mut world = World::acquainted_across(7);
    world.queue(0, "hello");
    world.pass(Duration::from_secs(2));
    for number in [0, 1] {
        let other = world.friend(number);
        let devices = view::contacts(world.rows(number));
        assert_eq!(devices[0].account, other);
        let holds = |bytes: &[u8]| bytes.windows(32).any(|window| window == other.0);
        let rows = world.net.hosts[number].dump();
        let found = rows.iter().any(|(_, key, row)| holds(key) || holds(row));
        assert!(!found, "node {number} knows the account of the other node's user");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(usize),
    Rekey(usize),
    Read(usize),
    Carry(usize),
    Pass(u64),
    Crash(Who),
    Cut(Who, Who, bool),
    PassADay,
}

const DAY: Duration = Duration::from_secs(25 * 3600);

fn who() -> impl Strategy<Value = Who> {
    (0..2_usize, any::<bool>())
        .prop_map(|(number, node)| if node { Who::Node(number) } else { Who::Person(number) })
}

fn link() -> impl Strategy<Value = (Who, Who)> {
    prop_oneof![
        3 => Just((Who::Node(0), Who::Node(1))),
        1 => (0..2_usize).prop_map(|number| (Who::Node(number), Who::Person(number))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize).prop_map(Step::Say),
        1 => (0..2_usize).prop_map(Step::Rekey),
        1 => (0..2_usize).prop_map(Step::Read),
        8 => (0..6_usize).prop_map(Step::Carry),
        2 => (0..400_u64).prop_map(Step::Pass),
        2 => who().prop_map(Step::Crash),
        3 => (link(), any::<bool>()).prop_map(|((a, b), cut)| Step::Cut(a, b, cut)),
        1 => Just(Step::PassADay),
    ]
}

proptest! {
    // PROPTEST_CASES=16000 runs 2,000 of them.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_see_the_same_whatever_happens(
        seed in 0..=255_u8,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::acquainted_across(seed);
        let mut said = BTreeSet::new();
        for step in steps {
            match step {
                Step::Say(by) => {
                    let text = format!("{by} says {}", said.len());
                    world.queue(by, &text);
                    said.insert(text);
                }
                Step::Rekey(by) => world.command(by, Action::Rekey { conversation: world.friend(by).into() }),
                Step::Read(by) => world.command(by, Action::MarkRead { conversation: world.friend(by).into() }),
                Step::Carry(frames) => world.run_some(frames),
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
                Step::Crash(who) => {
                    world.crash(who);
                    world.start(who);
                }
                Step::Cut(a, b, cut) => world.set_cut(a, b, cut),
                Step::PassADay => world.pass(DAY),
            }
        }
        for number in [0, 1] {
            world.set_cut(Who::Node(number), Who::Person(number), false);
        }
        world.set_cut(Who::Node(0), Who::Node(1), false);
        world.pass(Duration::from_secs(1300));

        let order = |number: usize| {
            let messages = world.messages(number).into_iter();
            messages.map(|m| (m.key, m.text)).collect::<Vec<_>>()
        };
        prop_assert_eq!(order(0), order(1), "one order on both devices");
        let texts = world.texts(0);
        prop_assert_eq!(texts.len(), said.len(), "nothing lost, nothing twice");
        prop_assert_eq!(texts.into_iter().collect::<BTreeSet<_>>(), said);
        for number in [0, 1] {
            let marks = world.statuses(number);
            prop_assert!(marks.iter().all(|status| *status >= DeliveryStatus::Delivered), "{:?}", marks);
            prop_assert_eq!(view::contacts(world.rows(number))[0].outgoing, 0);
        }
        world.net.sent.clear();
        world.pass(DAY);
        prop_assert_eq!(world.net.sent.len(), 0, "all is quiet");
    }
}
