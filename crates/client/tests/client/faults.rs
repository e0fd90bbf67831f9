//! Two people, a node, and everything that can go wrong between them, in random order: in the end
//! both see the same, nothing is lost and nothing is shown twice.

use std::{collections::BTreeSet, time::Duration};

use client::{Action, DeliveryStatus, view};
use proptest::prelude::*;
use proto::AccountId;

use crate::world::{Who, World};

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
    /// One device is offline that long with a text to send, and the other one changes the keys.
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
            let certain = !world.host(Who::Person(by)).dies_before_commit;
            world.command(
                by,
                Action::Send {
                    conversation: contact.into(),
                    text: text.clone().into(),
                    reply_to: None,
                },
            );
            said[by].push((text, certain));
        }
        Step::Rekey(by) => world.command(by, Action::Rekey { conversation: contacts[by].into() }),
        Step::Read(by) => world.command(by, Action::MarkRead { conversation: contacts[by].into() }),
        Step::Carry(frames) => world.run_some(frames),
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::KillNode => {
            world.crash(Who::Node(0));
            world.start(Who::Node(0));
        }
        Step::KillDevice(number) => {
            world.crash(Who::Person(number));
            world.start(Who::Person(number));
        }
        Step::KillMidway(number) => world.host(Who::Person(number)).dies_before_commit = true,
        Step::Cut(number, cut) => world.set_offline(number, cut),
        Step::PassADay => world.pass(DAY),
        Step::Away(number) => {
            world.set_offline(number, true);
            take(world, Step::Say(number), contacts, said);
            world.command(1 - number, Action::Rekey { conversation: contacts[1 - number].into() });
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
        let mut world = World::acquainted(seed);
        let (ada, ben) = (world.friend(1), world.friend(0));
        let contacts = [ben, ada];
        let mut said = [Vec::new(), Vec::new()];
        for step in steps {
            take(&mut world, step, contacts, &mut said);
        }
        for number in 0..2 {
            world.set_offline(number, false);
        }
        world.pass(Duration::from_secs(60));

        let seen = world.messages(0);
        let order = |number: usize| {
            let messages = world.messages(number).into_iter();
            messages.map(|m| (m.key, m.text)).collect::<Vec<_>>()
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
        for number in [0, 1] {
            let view = &view::contacts(world.rows(number))[0];
            prop_assert_eq!(view.outgoing, 0, "the outbox is empty");
            let marks = world.statuses(number);
            prop_assert!(marks.iter().all(|status| *status >= DeliveryStatus::Delivered), "{:?}", marks);
            let by_author = |own: &String| own.starts_with(&number.to_string());
            let own: Vec<_> = world.texts(number).into_iter().filter(by_author).collect();
            let mut order = said[number].iter().map(|(text, _)| text);
            let in_order = own.iter().all(|text| order.any(|said| said == text));
            prop_assert!(in_order, "each in the order in which it was said: {:?}", own);
        }
        world.net.sent.clear();
        world.pass(DAY);
        prop_assert_eq!(world.net.sent.len(), 0, "all is quiet");
        let told = [0, 1].iter().all(|n| world.client(*n).counters().equivocations == 0);
        prop_assert!(told, "no key is used twice");
    }
}
