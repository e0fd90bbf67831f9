//! Opening, writing and reading logs.

use crypto::SigningKey;
use node::NodeConfig;
use proptest::prelude::*;
use proto::{Body, Code, Cursor, EnvelopeId, Expiry, Read, Reference, limits};

use crate::world::{
    Account, Conversation, NODE, World, append, envelope, expiring, key_change, refused,
};

fn world() -> World {
    World::new(NodeConfig::new(NODE))
}

fn accepted(answer: &Body) -> u64 {
    match answer {
        Body::Accepted { sequence, .. } => *sequence,
        other => panic!("{other:?}"),
    }
}

fn page(answer: Body) -> (Vec<(u64, Vec<u8>)>, bool) {
    match answer {
        Body::Page { entries, more } => {
            let entries = entries.into_iter().map(|e| (e.position, e.ciphertext)).collect();
            (entries, more)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_travels_between_two_members() {
    let mut world = world();
    let (a, b) = (world.connect(1), world.connect(2));
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);

    let opened = world.open(&b, 5, talk.log, &talk.key, None, Some(Cursor::default()));
    assert!(matches!(opened, Body::Opened { head: Cursor { sequence: 0, .. }, position: 0 }));

    assert_eq!(accepted(&world.ask(&a, append(2, &talk.envelope(1, b"hello")))), 1);
    let delivered = world.delivered(&b);
    assert_eq!(delivered.len(), 1);
    let (channel, entry) = &delivered[0];
    assert_eq!(
        (*channel, entry.sequence, entry.ciphertext.as_slice()),
        (5, 1, b"hello".as_slice())
    );
    assert_eq!(entry.write_key, None);
    assert!(world.delivered(&a).is_empty(), "not to its writer");

    assert_eq!(accepted(&world.ask(&b, append(5, &talk.envelope(2, b"hi")))), 2);
    assert_eq!(world.delivered(&a).len(), 1);
    assert!(world.delivered(&b).is_empty());
}

#[test]
fn an_envelope_is_stored_once() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let first = talk.envelope(1, b"once");
    assert_eq!(accepted(&world.ask(&a, append(2, &first))), 1);
    accepted(&world.ask(&a, append(2, &talk.envelope(2, b"another"))));
    let before = world.dump();
    assert_eq!(accepted(&world.ask(&a, append(2, &first))), 1, "the same answer");
    assert_eq!(world.dump(), before);
    assert_eq!(world.machine().counters().duplicates, 1);
}

#[test]
fn a_new_copy_takes_entries_wherever_they_belong() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    // All that lay before, or in between, is on devices only.
    for position in [70_000, 3, 1 << 40, 70_001] {
        accepted(&world.ask(&a, append(2, &talk.envelope(position, b"goes on"))));
    }
    let end = (u64::MAX, EnvelopeId([0xFF; 32]));
    let read = Read { channel: 2, from: end, backward: true, limit: 9 };
    let (entries, more) = page(world.ask(&a, Body::Read(read)));
    let positions: Vec<_> = entries.into_iter().map(|(position, _)| position).collect();
    assert_eq!((positions, more), (vec![1 << 40, 70_001, 70_000, 3], false));
}

#[test]
fn pages_and_names_lead_to_entries() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let envelopes: Vec<_> = (1..=5).map(|n| talk.envelope(n, &[n as u8])).collect();
    for envelope in &envelopes {
        accepted(&world.ask(&a, append(2, envelope)));
    }
    let read = |from, backward, limit| Body::Read(Read { channel: 2, from, backward, limit });
    let end = (u64::MAX, EnvelopeId([0xFF; 32]));
    let (entries, more) = page(world.ask(&a, read(end, true, 2)));
    assert_eq!((entries, more), (vec![(5, vec![5]), (4, vec![4])], true));
    let (entries, more) = page(world.ask(&a, read((3, envelopes[2].id()), false, 9)));
    assert_eq!((entries, more), (vec![(4, vec![4]), (5, vec![5])], false));
    let (entries, more) = page(world.ask(&a, read(end, true, 0)));
    assert_eq!((entries, more), (vec![], true));

    let references =
        vec![envelopes[3].id().reference(), Reference([7; 16]), envelopes[0].id().reference()];
    let (entries, more) = page(world.ask(&a, Body::Fetch { channel: 2, references }));
    assert_eq!((entries, more), (vec![(4, vec![4]), (1, vec![1])], false));
}

#[test]
fn a_page_is_no_larger_than_a_frame_may_be() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    for n in 1..=7 {
        accepted(&world.ask(&a, append(2, &talk.envelope(n, &vec![n as u8; 60_000]))));
    }
    let mut from = (0, EnvelopeId([0; 32]));
    let mut seen = 0;
    loop {
        let read = Read { channel: 2, from, backward: false, limit: u32::MAX };
        let (entries, more) = page(world.ask(&a, Body::Read(read)));
        assert!(entries.len() <= limits::PAGE_BYTES_MAX / 60_000);
        seen += entries.len();
        let Some((position, text)) = entries.last().filter(|_| more) else { break };
        from = (*position, talk.envelope(*position, text).id());
    }
    assert_eq!(seen, 7);
}

#[test]
fn a_key_writes_until_a_day_after_its_epoch_and_always_reads() {
    let mut world = world();
    let (a, b) = (world.connect(1), world.connect(2));
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let next = SigningKey::from_seed([10; 32]);
    world.open(&b, 1, talk.log, &talk.key, None, Some(Cursor::default()));
    assert_eq!(world.open(&b, 2, talk.log, &next, None, None), refused(Code::Forbidden));

    accepted(&world.ask(&a, append(2, &key_change(&talk.key, talk.log, 1, &next))));
    let opened = world.open(&b, 2, talk.log, &next, None, None);
    assert!(matches!(opened, Body::Opened { position: 1, .. }));
    accepted(&world.ask(&b, append(2, &envelope(&next, talk.log, 2, b"new epoch"))));
    let (_, entry) = world.delivered(&a).remove(0);
    assert_eq!(entry.write_key, Some(next.public()), "not the key of the channel");

    world.pass(limits::WRITE_KEY_GRACE_S - 1);
    accepted(&world.ask(&a, append(2, &talk.envelope(3, b"late"))));
    world.pass(1);
    let too_late = talk.envelope(4, b"too late");
    assert_eq!(world.ask(&a, append(2, &too_late)), refused(Code::Forbidden));
    let again = talk.envelope(3, b"late");
    assert_eq!(accepted(&world.ask(&a, append(2, &again))), 3, "a retry of what is stored");

    world.reopen();
    let a = world.connect(1);
    let opened = world.open(&a, 2, talk.log, &talk.key, None, Some(Cursor::default()));
    assert!(matches!(opened, Body::Opened { position: 3, .. }), "{opened:?}");
    assert_eq!(world.delivered(&a).len(), 3);
    assert_eq!(world.ask(&a, append(2, &too_late)), refused(Code::Forbidden));
}

#[test]
fn a_closed_key_gets_no_second_day_and_does_not_open_again() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let [ours, theirs] = [10, 11].map(|seed| SigningKey::from_seed([seed; 32]));
    accepted(&world.ask(&a, append(2, &key_change(&talk.key, talk.log, 1, &ours))));
    world.pass(limits::WRITE_KEY_GRACE_S / 2);
    // A rival commit of the same epoch, and one that goes back to its key.
    accepted(&world.ask(&a, append(2, &key_change(&talk.key, talk.log, 2, &theirs))));
    world.open(&a, 3, talk.log, &theirs, None, None);
    accepted(&world.ask(&a, append(3, &key_change(&theirs, talk.log, 3, &talk.key))));
    accepted(&world.ask(&a, append(2, &talk.envelope(4, b"in time"))));
    world.pass(limits::WRITE_KEY_GRACE_S / 2);
    assert_eq!(world.ask(&a, append(2, &talk.envelope(5, b"late"))), refused(Code::Forbidden));
    accepted(&world.ask(&a, append(3, &envelope(&theirs, talk.log, 5, b"later epoch"))));
    // Also once it is no longer among the keys that may write.
    accepted(&world.ask(&a, append(3, &key_change(&theirs, talk.log, 6, &talk.key))));
    assert_eq!(world.ask(&a, append(2, &talk.envelope(7, b"late"))), refused(Code::Forbidden));
    let signal = Body::Signal { channel: 2, ciphertext: vec![1] };
    assert_eq!(world.ask(&a, signal), refused(Code::Forbidden));
}

#[test]
fn of_too_many_keys_the_one_closed_first_no_longer_writes() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let key = |n: usize| SigningKey::from_seed([100 + n as u8; 32]);
    let mut signer = talk.key.clone();
    for n in 0..limits::WRITE_KEYS_MAX {
        world.pass(1);
        world.open(&a, 3, talk.log, &signer, None, None);
        let next = key(n);
        accepted(&world.ask(&a, append(3, &key_change(&signer, talk.log, 1, &next))));
        signer = next;
    }
    assert_eq!(world.ask(&a, append(2, &talk.envelope(2, b"x"))), refused(Code::Forbidden));
    world.open(&a, 3, talk.log, &key(0), None, None);
    accepted(&world.ask(&a, append(3, &envelope(&key(0), talk.log, 2, b"second"))));
    let opened = world.open(&a, 4, talk.log, &talk.key, None, None);
    assert!(matches!(opened, Body::Opened { .. }), "it still reads");
}

#[test]
fn entries_go_when_their_time_is_over() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let empty = world.dump();
    let talk = world.create(&a, 2, 9);
    let conversation_charge = world.machine().counters().charged_bytes;
    for n in 0..600u16 {
        let entry = expiring(&talk.key, talk.log, &n.to_be_bytes(), Expiry::Day);
        accepted(&world.ask(&a, append(2, &entry)));
    }
    accepted(&world.ask(&a, append(2, &talk.envelope(1, b"stays"))));
    world.pass(24 * 3600 - 1);
    assert_eq!(world.machine().counters().expired, 0);
    world.reopen();
    world.pass(1);
    assert_eq!(world.machine().counters().expired, 600);
    let a = world.connect(1);
    world.open(&a, 2, talk.log, &talk.key, None, Some(Cursor::default()));
    let delivered = world.delivered(&a);
    assert_eq!(delivered.len(), 1);
    assert_eq!(
        (delivered[0].1.sequence, delivered[0].1.ciphertext.as_slice()),
        (601, &b"stays"[..])
    );
    // A conversation has six rows of its own and an entry three.
    assert_eq!(world.dump().len(), empty.len() + 6 + 3);
    let left = talk.envelope(1, b"stays").encode().len() as u64 + 128;
    assert_eq!(world.machine().counters().charged_bytes, conversation_charge + left);
}

#[test]
fn a_cursor_of_another_copy_counts_as_none() {
    let mut world = world();
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    for n in 1..=3 {
        accepted(&world.ask(&a, append(2, &talk.envelope(n, b"x"))));
    }
    let b = world.connect(2);
    let opened = world.open(&b, 1, talk.log, &talk.key, None, None);
    let Body::Opened { head, .. } = opened else { panic!("{opened:?}") };
    for (cursor, expected) in [
        (Cursor { sequence: 2, ..head }, 1),
        (head, 0),
        (Cursor { sequence: 99, ..head }, 3),
        (Cursor { incarnation: head.incarnation ^ 1, sequence: 3 }, 3),
    ] {
        world.open(&b, 1, talk.log, &talk.key, None, Some(cursor));
        assert_eq!(world.delivered(&b).len(), expected, "{cursor:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Pages in both directions are what a sorted list gives.
    #[test]
    fn pages_agree_with_a_sorted_list(
        leaps in proptest::collection::vec((0u64..4, any::<u8>()), 1..40),
        reads in proptest::collection::vec((0usize..42, any::<bool>(), 0u32..12), 1..20),
    ) {
        let mut world = world();
        let a = world.connect(1);
        world.register(&a, &Account::new(1));
        let talk: Conversation = world.create(&a, 2, 9);
        let mut model = Vec::new();
        for (n, (leap, byte)) in leaps.into_iter().enumerate() {
            let position = 1 + leap * u64::from(byte % 3);
            let envelope = talk.envelope(position, &[n as u8, byte]);
            accepted(&world.ask(&a, append(2, &envelope)));
            model.push((position, envelope.id(), envelope.ciphertext));
        }
        model.sort();
        for (at, backward, limit) in reads {
            let end = if backward { (u64::MAX, EnvelopeId([0xFF; 32])) } else { Default::default() };
            let from = model.get(at).map_or(end, |(position, id, _)| (*position, *id));
            let wanted: Vec<_> = if backward {
                model.iter().rev().filter(|(p, id, _)| (*p, *id) < from).collect()
            } else {
                model.iter().filter(|(p, id, _)| (*p, *id) > from).collect()
            };
            let limit_len = limit as usize;
            let read = Body::Read(Read { channel: 2, from, backward, limit });
            let (entries, more) = page(world.ask(&a, read));
            prop_assert_eq!(more, wanted.len() > limit_len);
            let wanted: Vec<_> = wanted.into_iter().take(limit_len)
                .map(|(position, _, text)| (*position, text.clone())).collect();
            prop_assert_eq!(entries, wanted);
        }
    }
}
