//! Two people, a node, and everything that can go wrong between them, in random order: in the end
//! both see the same, nothing is lost and nothing is shown twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod world;

use std::{collections::BTreeSet, time::Duration};

use client::{Action, Mark, view};
use proptest::prelude::*;
use proto::AccountId;
use world::World;

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(usize),
    Rekey(usize),
    Read(usize),
    Carry(usize),
    Pass(u64),
    KillNode,
    KillDevice(usize),
    KillMidway(usize),
    Cut(usize, bool),
    /// More time than a closed write key may still write.
    PassADay,
    /// Somebody is offline for so long with something to say, and the other changes the keys.
    Away(usize),
}

const DAY: Duration = Duration::from_secs(25 * 3600);

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize).prop_map(Step::Say),
        1 => (0..2_usize).prop_map(Step::Rekey),
        1 => (0..2_usize).prop_map(Step::Read),
        8 => (0..12_usize).prop_map(Step::Carry),
        2 => (0..400_u64).prop_map(Step::Pass),
        1 => Just(Step::KillNode),
        1 => (0..2_usize).prop_map(Step::KillDevice),
        1 => (0..2_usize).prop_map(Step::KillMidway),
        2 => (0..2_usize, any::<bool>()).prop_map(|(device, cut)| Step::Cut(device, cut)),
        1 => Just(Step::PassADay),
        1 => (0..2_usize).prop_map(Step::Away),
    ]
}

/// What was said, and whether the device lived to tell that it was.
type Said = [Vec<(String, bool)>; 2];

fn take(world: &mut World, step: Step, contacts: [AccountId; 2], said: &mut Said) {
    match step {
        Step::Say(by) => {
            let text = format!("{by} says {}", said[by].len());
            let contact = contacts[by];
            let certain = !world.devices[by].dies_before_commit;
            world.tell(by, Action::Send { contact, text: text.clone().into(), reply_to: None });
            said[by].push((text, certain));
        }
        Step::Rekey(by) => world.tell(by, Action::Rekey { contact: contacts[by] }),
        Step::Read(by) => world.tell(by, Action::MarkRead { contact: contacts[by] }),
        Step::Carry(frames) => world.run_some(frames),
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::KillNode => {
            world.kill_node();
            world.start_node();
        }
        Step::KillDevice(number) => {
            world.kill_device(number);
            world.start_device(number);
        }
        Step::KillMidway(number) => world.devices[number].dies_before_commit = true,
        Step::Cut(number, cut) => world.set_offline(number, cut),
        Step::PassADay => world.pass(DAY),
        Step::Away(number) => {
            world.set_offline(number, true);
            take(world, Step::Say(number), contacts, said);
            world.tell(1 - number, Action::Rekey { contact: contacts[1 - number] });
            world.pass(DAY);
            world.set_offline(number, false);
        }
    }
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
        let (mut world, ada, ben) = World::acquainted(seed);
        let contacts = [ben, ada];
        let mut said = [Vec::new(), Vec::new()];
        for step in steps {
            take(&mut world, step, contacts, &mut said);
        }
        for number in 0..2 {
            world.set_offline(number, false);
        }
        world.pass(Duration::from_secs(60));

        let seen = world.messages(0, ben);
        let order = |number: usize| {
            let messages = world.messages(number, contacts[number]).into_iter();
            messages.map(|m| (m.place, m.text)).collect::<Vec<_>>()
        };
        prop_assert_eq!(order(0), order(1), "one order on both devices");
        let texts: BTreeSet<_> = seen.iter().filter_map(|m| m.text.clone()).collect();
        prop_assert_eq!(seen.len(), texts.len(), "nothing twice");
        let all: BTreeSet<_> = said.iter().flatten().map(|(text, _)| text.clone()).collect();
        let certain = said.iter().flatten().filter(|(_, certain)| *certain);
        prop_assert!(texts.is_subset(&all), "nothing made up");
        for (text, _) in certain {
            prop_assert!(texts.contains(text), "{} is lost", text);
        }
        for (number, contact) in contacts.into_iter().enumerate() {
            let view = &view::contacts(world.rows(number))[0];
            prop_assert_eq!(view.outgoing, 0, "the outbox is empty");
            let marks = world.marks(number, contact);
            prop_assert!(marks.values().all(|mark| *mark >= Mark::Delivered), "{:?}", marks);
            let by_author = |own: &String| own.starts_with(&number.to_string());
            let own: Vec<_> = world.texts(number, contact).into_iter().filter(by_author).collect();
            let mut order = said[number].iter().map(|(text, _)| text);
            let in_order = own.iter().all(|text| order.any(|said| said == text));
            prop_assert!(in_order, "each in the order in which it was said: {:?}", own);
        }
        world.wire.clear();
        world.pass(DAY);
        prop_assert_eq!(world.wire.len(), 0, "all is quiet");
        let told = world.devices.iter().all(|d| {
            d.side.machine.as_ref().is_some_and(|m| m.counters().equivocations == 0)
        });
        prop_assert!(told, "no key is used twice");
    }
}
