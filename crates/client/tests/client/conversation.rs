//! What two people live through: the real client and node machines, frames encoded in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use client::{
    Action, CommandError, ContactState, DeliveryStatus, Event, Reply,
    view::{self, Item, Range},
};
use crypto::identity::Bundle;
use proto::{AccountId, Body, Frame, write_frame};

use crate::world::{Who, World};

#[test]
fn two_people_talk() {
    let mut world = World::acquainted(1);
    world.send(0, "Hello Ben");
    world.send(1, "Hello Ada");
    world.send(0, "How are you?");
    let expected = ["Hello Ben", "Hello Ada", "How are you?"];
    assert_eq!(world.texts(0), expected);
    assert_eq!(world.texts(1), expected);
}

#[test]
fn what_is_unread_is_counted_once_and_outlasts_a_crash() {
    let mut world = World::acquainted(1);
    let (ada, ben) = (world.friend(1), world.friend(0));
    let unread = |world: &World| view::contacts(world.rows(1))[0].unread;
    world.send(0, "Hello Ben");
    world.send(1, "Hello Ada");
    world.send(0, "How are you?");
    assert_eq!(unread(&world), 2);
    let target = world.reference(0, "How are you?");
    let text = "How are you, Ben?".to_owned().into();
    world.ask(0, Action::Edit { conversation: ben.into(), target, text }).unwrap();
    world.run();
    assert_eq!(unread(&world), 2, "that is no further message");
    world.crash(Who::Person(1));
    world.start(Who::Person(1));
    world.run();
    assert_eq!(unread(&world), 2);
    world.send(0, "Are you there?");
    assert_eq!(unread(&world), 3);
    world.ask(1, Action::MarkRead { conversation: ada.into() }).unwrap();
    world.run();
    assert_eq!(unread(&world), 0);
    world.send(0, "Ah!");
    assert_eq!(unread(&world), 1);
}

#[test]
fn the_delivery_status_is_true() {
    let mut world = World::acquainted(2);
    let ada = world.friend(1);
    world.set_offline(1, true);
    world.set_offline(0, true);
    world.send(0, "x");
    assert_eq!(world.status(0, "x"), DeliveryStatus::Sent);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.status(0, "x"), DeliveryStatus::Stored, "the node has it, Ben has not");
    world.set_offline(1, false);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.status(0, "x"), DeliveryStatus::Delivered);
    let receipts = |world: &World| world.messages(0).pop().unwrap().receipts;
    let ben = world.friend(0);
    assert_eq!(receipts(&world), BTreeMap::from([(ben, DeliveryStatus::Delivered)]));
    world.ask(1, Action::MarkRead { conversation: ada.into() }).unwrap();
    world.run();
    assert_eq!(world.status(0, "x"), DeliveryStatus::Read);
    assert_eq!(receipts(&world), BTreeMap::from([(ben, DeliveryStatus::Read)]));
    assert!(world.messages(1).pop().unwrap().receipts.is_empty(), "of own messages alone");
    assert_eq!(view::contacts(world.rows(1))[0].unread, 0);
}

#[test]
fn an_answer_says_that_the_question_arrived() {
    let mut world = World::acquainted(3);
    world.send(0, "question");
    world.send(1, "answer");
    assert_eq!(
        world.status(0, "question"),
        DeliveryStatus::Delivered,
        "without waiting for a receipt"
    );
}

#[test]
fn messages_wait_for_a_contact_that_is_offline() {
    let mut world = World::acquainted(4);
    world.set_offline(1, true);
    let sent: Vec<_> = (0..600).map(|i| format!("message {i}")).collect();
    for text in &sent {
        world.send(0, text);
    }
    world.crash(Who::Node(0));
    world.start(Who::Node(0));
    world.set_offline(1, false);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.texts(1), sent);
    assert!(world.statuses(0).iter().all(|status| *status == DeliveryStatus::Delivered));
    assert_eq!(view::contacts(world.rows(0))[0].outgoing, 0);
}

#[test]
fn what_one_wrote_does_not_come_back() {
    let mut world = World::acquainted(14);
    for i in 0..20 {
        world.send(0, &format!("{i}"));
    }
    world.pass(Duration::from_secs(1));
    world.net.sent.clear();
    world.crash(Who::Person(0));
    world.start(Who::Person(0));
    world.run();
    let delivered = |frame: &Frame| matches!(frame.body, Body::Deliver { .. });
    assert!(world.frames().iter().filter(|frame| delivered(frame)).count() <= 1);
}

#[test]
fn a_request_carries_no_text_until_it_is_accepted() {
    let mut world = World::new(5, 2);
    world.create(0, "Ada");
    let ben = world.create(1, "Ben");
    let link = world.invite(0);
    world.set_offline(0, true);
    world.ask(1, Action::AddContact { link, name: "Ada".into() }).unwrap();
    assert_eq!(view::contacts(world.rows(1))[0].state, ContactState::Requested, "Ada is offline");
    assert_eq!(world.send(1, "may I?"), Reply::Waiting);
    world.set_offline(0, false);
    world.pass(Duration::from_secs(1));
    let asking = view::contacts(world.rows(0));
    assert_eq!((asking[0].state, asking[0].name.as_str()), (ContactState::Asking, "Ben"));
    assert_eq!(asking[0].log, None, "nothing to read before accepting");
    world.ask(0, Action::Accept { contact: ben }).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.texts(0), ["may I?"]);
    assert_eq!(view::contacts(world.rows(1))[0].state, ContactState::Established);
    assert_eq!(view::contacts(world.rows(1))[0].waiting, 0);
}

#[test]
fn requests_may_cross() {
    for seed in 0..8 {
        let mut world = World::new(seed, 2);
        world.create(0, "Ada");
        world.create(1, "Ben");
        let (from_ada, from_ben) = (world.invite(0), world.invite(1));
        world.command(0, Action::AddContact { link: from_ben, name: "Ben".into() });
        world.command(1, Action::AddContact { link: from_ada, name: "Ada".into() });
        world.run();
        world.pass(Duration::from_secs(1));
        assert_eq!(world.log(0), world.log(1), "seed {seed}: one conversation stays");
        world.send(0, "both wanted");
        world.send(1, "indeed");
        assert_eq!(world.texts(0), ["both wanted", "indeed"], "seed {seed}");
        assert_eq!(world.texts(1), ["both wanted", "indeed"], "seed {seed}");
    }
}

#[test]
fn an_invite_is_used_up() {
    let mut world = World::new(6, 3);
    world.create(0, "Ada");
    world.create(1, "Ben");
    world.create(2, "Cyd");
    let link = world.invite(0);
    world.ask(1, Action::AddContact { link: link.clone(), name: String::new() }).unwrap();
    world.ask(2, Action::AddContact { link, name: String::new() }).unwrap();
    let cyds = view::contacts(world.rows(2));
    assert_eq!(cyds[0].state, ContactState::Adding);
    assert!(cyds[0].trouble.contains("used up"), "{}", cyds[0].trouble);
    assert_eq!(view::contacts(world.rows(0)).len(), 1, "Ada hears of Ben only");
}

#[test]
fn messages_are_edited_deleted_answered_and_reacted_to() {
    let mut world = World::acquainted(7);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.send(0, "teh cat");
    world.send(0, "oops");
    let (typo, oops) = (world.reference(1, "teh cat"), world.reference(1, "oops"));
    let text = "the cat".to_owned().into();
    world.ask(0, Action::Edit { conversation: ben.into(), target: typo, text }).unwrap();
    world.ask(0, Action::Delete { conversation: ben.into(), target: oops }).unwrap();
    world
        .ask(1, Action::React { conversation: ada.into(), target: typo, emoji: "👍".into() })
        .unwrap();
    let text = "which cat?".to_owned().into();
    world.ask(1, Action::Send { conversation: ada.into(), text, reply_to: Some(typo) }).unwrap();
    for number in [0, 1] {
        let messages = world.messages(number);
        assert_eq!(messages[0].text.as_deref(), Some("the cat"));
        assert!(messages[0].edited);
        assert_eq!(messages[0].reactions[&ben], "👍");
        assert_eq!(messages[1].text, None);
        assert_eq!(messages[2].reply_to, Some(messages[0].key.id));
    }
    world
        .ask(1, Action::React { conversation: ada.into(), target: typo, emoji: String::new() })
        .unwrap();
    assert!(world.messages(0)[0].reactions.is_empty());
    let text = "mine now".to_owned().into();
    let theft = Action::Edit { conversation: ada.into(), target: typo, text };
    assert_eq!(world.ask(1, theft), Err(CommandError::NotYours));
}

#[test]
fn fresh_keys_work_for_both_even_at_the_same_time() {
    let mut world = World::acquainted(8);
    let (ada, ben) = (world.friend(1), world.friend(0));
    world.send(0, "old keys");
    world.ask(0, Action::Rekey { conversation: ben.into() }).unwrap();
    world.send(0, "new keys");
    world.send(1, "fine");
    world.command(0, Action::Rekey { conversation: ben.into() });
    world.command(1, Action::Rekey { conversation: ada.into() });
    world.run();
    world.send(0, "both at once");
    world.send(1, "and still");
    let expected = ["old keys", "new keys", "fine", "both at once", "and still"];
    assert_eq!(world.texts(0), expected);
    assert_eq!(world.texts(1), expected);
    world.crash(Who::Person(0));
    world.crash(Who::Person(1));
    world.start(Who::Person(0));
    world.start(Who::Person(1));
    world.run();
    world.send(1, "after restart");
    assert_eq!(world.texts(0).last().map(String::as_str), Some("after restart"));
}

#[test]
fn typing_is_told_and_not_stored() {
    let mut world = World::acquainted(9);
    let (ada, ben) = (world.friend(1), world.friend(0));
    let before = view::last_arrival(world.rows(1), &world.conversation(1));
    world.ask(0, Action::Typing { conversation: ben.into() }).unwrap();
    let told = |event: &Event| matches!(event, Event::Typing { account, .. } if *account == ada);
    assert!(world.events(1).any(told));
    assert_eq!(view::last_arrival(world.rows(1), &world.conversation(1)), before);
}

#[test]
fn a_recovered_account_locks_the_lost_device_out() {
    let mut world = World::new(10, 2);
    let phrase = world.phrase();
    let words = phrase.words().to_string();
    let homes = vec![world.address(0)];
    let create = Action::CreateAccount { phrase, name: "Ada".into(), homes: homes.clone() };
    let Reply::Account(ada) = world.ask(0, create).unwrap() else { panic!() };
    let phrase = crypto::identity::Phrase::parse(&words).unwrap();
    let recover = Action::RecoverAccount { phrase, name: "Ada".into(), homes };
    assert_eq!(world.ask(1, recover), Ok(Reply::Account(ada)));
    world.crash(Who::Node(0));
    world.start(Who::Node(0));
    world.run();
    assert!(view::account(world.rows(0)).unwrap().locked_out);
    assert!(!view::account(world.rows(1)).unwrap().locked_out);
    let refused = world.ask(0, Action::Invite { uses: 1, valid_s: 60 });
    assert_eq!(refused, Err(CommandError::LockedOut));
}

#[test]
fn an_unknown_phrase_recovers_nothing() {
    let mut world = World::new(11, 1);
    let (phrase, homes) = (world.phrase(), vec![world.address(0)]);
    let recover = Action::RecoverAccount { phrase, name: String::new(), homes };
    assert_eq!(world.ask(0, recover), Err(CommandError::UnknownAccount));
    assert_eq!(view::account(world.rows(0)), None);
}

#[test]
fn pages_of_a_timeline_meet_without_overlap() {
    let mut world = World::acquainted(12);
    for i in 0..25 {
        world.send(i % 2, &format!("{i}"));
    }
    let with = world.conversation(0);
    let page = |range| view::timeline(world.rows(0), &with, range, 10, world.now());
    let key = |item: &Item| match item {
        Item::Message(message) => message.key,
        Item::Gap { .. } => panic!("nothing is missing"),
    };
    let last = page(Range::Latest);
    let middle = page(Range::Before(key(&last[0])));
    let first = page(Range::Before(key(&middle[0])));
    assert_eq!((first.len(), middle.len(), last.len()), (5, 10, 10));
    assert_eq!(page(Range::After(key(first.last().unwrap()))), middle);
}

#[test]
fn nothing_a_conversation_leaves_at_its_node_tells_who_or_what() {
    let mut world = World::acquainted(13);
    let (ada, ben) = (world.friend(1), world.friend(0));
    let device = |account| Bundle::verify(&bundle_of(&world, &account)).unwrap().devices()[0].key;
    let (adas, bens) = (device(ada), device(ben));
    world.net.sent.clear();
    let before = dump(&world);
    let texts = ["a most secret text", "an equally secret answer"];
    world.send(0, texts[0]);
    world.send(1, texts[1]);
    world.ask(0, Action::Rekey { conversation: ben.into() }).unwrap();
    world.ask(1, Action::Typing { conversation: ada.into() }).unwrap();
    world.ask(1, Action::MarkRead { conversation: ada.into() }).unwrap();
    world.pass(Duration::from_secs(5));
    let after = dump(&world);
    let left: Vec<_> = after.difference(&before).cloned().collect();
    assert!(left.len() > 4 && world.net.sent.len() > 10, "something was left to search");
    // Ben made the conversation and is charged for it: his node knows that, and only that.
    let needles =
        [texts[0].as_bytes(), texts[1].as_bytes(), &ada.0, &adas.0, &bens.0, b"Ada", b"Ben"];
    for bytes in left.iter().chain(&wire(&world)) {
        for needle in needles {
            assert!(!contains(bytes, needle), "{}", String::from_utf8_lossy(needle));
        }
    }
}

fn bundle_of(world: &World, account: &AccountId) -> Vec<u8> {
    let rows = world.net.hosts[0].dump().into_iter().map(|(.., row)| row);
    let mut bundles =
        rows.filter(|row| Bundle::verify(row).is_ok_and(|bundle| bundle.account() == *account));
    bundles.next().unwrap()
}

/// Returns what the node has stored.
fn dump(world: &World) -> BTreeSet<Vec<u8>> {
    let rows = world.net.hosts[0].dump().into_iter();
    rows.map(|(_, key, row)| [key, row].concat()).collect()
}

/// Returns every frame that was sent, as it was on the wire.
fn wire(world: &World) -> Vec<Vec<u8>> {
    let bytes = |frame: &Frame| {
        let mut bytes = Vec::new();
        write_frame(frame, &mut bytes);
        bytes
    };
    world.frames().iter().map(bytes).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
