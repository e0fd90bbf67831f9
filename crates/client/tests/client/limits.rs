//! Whatever a node or a contact does, nothing on a device grows beyond its limit. testnet checks
//! the gauges after each input; here a peer tries to exceed them.

use std::time::Duration;

use client::{
    Action, CommandError,
    view::{self, Range},
};
use crypto::{
    SigningKey,
    identity::{Authority, Bundle, Device, InboxKey, Phrase, UnsignedRecord, seal_request},
};
use proto::{
    AccountId, Body, Entry, Expiry, Extension, Frame, Head, Kind, LogGenesis, PublicKey, Table,
    limits, wire,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::world::{Who, World};

const KEY_PACKAGES: Table = Table(4);
const EPOCHS: Table = Table(7);
const SNAPSHOTS: Table = Table(8);
const OUTBOX: Table = Table(17);

fn count(world: &World, number: usize, table: Table) -> usize {
    world.rows_in(number, table).len()
}

#[test]
fn questions_are_forgotten_with_their_answers() {
    let mut world = World::acquainted(1);
    let ben = world.friend(0);
    assert_eq!(world.gauge(0, "requests of a link"), 0);
    for i in 0..200 {
        let text = format!("{i}").into();
        world.command(0, Action::Send { conversation: ben.into(), text, reply_to: None });
    }
    assert_eq!(world.gauge(0, "requests of a link"), 128, "a window, the rest waits in the outbox");
    world.run();
    assert_eq!(world.gauge(0, "requests of a link"), 0);
    assert_eq!(count(&world, 0, OUTBOX), 0);
}

#[test]
fn a_contact_that_changes_keys_all_the_time_costs_a_fixed_number_of_epochs() {
    let mut world = World::acquainted(2);
    let ada = world.friend(1);
    let mut said = Vec::new();
    for i in 0..limits::EPOCHS_OPEN_MAX + 20 {
        world.ask(1, Action::Rekey { conversation: ada.into() }).unwrap();
        for by in [0, 1] {
            said.push(format!("{by} in epoch {i}"));
            world.send(by, said.last().unwrap());
        }
        assert!(world.gauge(0, "channels of a link") <= 4);
    }
    for number in 0..2 {
        assert_eq!(world.gauge(number, "epochs of a conversation"), 64);
        assert_eq!(count(&world, number, EPOCHS), 64);
        assert_eq!(count(&world, number, SNAPSHOTS), 64);
        world.crash(Who::Person(number));
        world.start(Who::Person(number));
    }
    world.pass(Duration::from_secs(10));
    said.push("after all that".into());
    world.send(0, "after all that");
    assert_eq!(world.texts(0), said);
    assert_eq!(world.texts(1), said);
}

#[test]
fn a_node_that_never_accepts_does_not_fill_the_outbox_with_receipts() {
    let mut world = World::acquainted(3);
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.run();
    // Ada gets no acceptance either: she sends all of it at once.
    world.lose(|frame| matches!(frame.body, Body::Accepted { .. }));
    for i in 0..30 {
        world.send(0, &format!("{i}"));
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.texts(1).len(), 30);
    assert!(count(&world, 1, OUTBOX) <= 1, "{} wait", count(&world, 1, OUTBOX));
    world.lose(|_| false);
    for number in 0..2 {
        world.set_offline(number, true);
        world.set_offline(number, false);
    }
    world.pass(Duration::from_secs(10));
    assert!(world.statuses(0).iter().all(|status| *status == client::DeliveryStatus::Delivered));
}

#[test]
fn a_node_that_always_wants_key_packages_gets_a_fixed_number() {
    let mut world = World::new(4, 1);
    world.create(0, "Ada");
    assert_eq!(count(&world, 0, KEY_PACKAGES), 26);
    world.lose(|frame| matches!(frame.body, Body::KeyPackages { .. } | Body::Refused { .. }));
    for round in 0..20 {
        world.set_offline(0, true);
        world.set_offline(0, false);
        world.run();
        let before = count(&world, 0, KEY_PACKAGES);
        for _ in 0..5 {
            let asked: Vec<_> = world.frames().iter().map(|frame| frame.request).collect();
            for request in asked.into_iter().rev().take(10) {
                let body = Body::KeyPackages { packages: Vec::new(), left: 0 };
                world.inject(0, Frame { request, body });
            }
        }
        let after = count(&world, 0, KEY_PACKAGES);
        assert!(after <= before + 50, "fifty in ten minutes");
        assert!(after <= 401, "{after} in round {round}");
        world.pass(Duration::from_secs(601));
    }
    assert_eq!(count(&world, 0, KEY_PACKAGES), 401, "the newest, and the last resort");
}

#[test]
fn what_waits_for_keys_that_no_device_has_is_limited() {
    let mut world = World::acquainted(5);
    let ada = world.friend(1);
    let entry = |i: usize| {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&(i as u64).to_be_bytes());
        Entry {
            sequence: 1000 + i as u64,
            kind: Kind::Entry,
            expiry: Expiry::Never,
            position: 1,
            extension: Extension::default(),
            ciphertext: vec![1],
            write_key: Some(PublicKey(key)),
        }
    };
    let deferred = "deferred of a conversation";
    let channel = (1..9).find(|channel| {
        world.inject(1, Frame::new(Body::Deliver { channel: *channel, entry: entry(0) }));
        world.gauge(1, deferred) == 1
    });
    let channel = channel.unwrap();
    let dropped = |world: &World| world.client(1).counters().dropped;
    let before = dropped(&world);
    for i in 0..limits::DEFERRED_MAX + 5 {
        world.inject(1, Frame::new(Body::Deliver { channel, entry: entry(i) }));
    }
    assert_eq!(world.gauge(1, deferred), limits::DEFERRED_MAX as u64);
    assert_eq!(dropped(&world), before + 5);
    let with = world.conversation(1);
    world.pass(Duration::from_secs(11));
    assert!(!view::timeline(world.rows(1), &with, Range::Latest, 10, world.now()).is_empty());
    world.set_offline(1, true);
    world.set_offline(1, false);
    world.ask(1, Action::RemoveContact { contact: ada }).unwrap();
    assert_eq!(world.gauge(1, "conversations"), 0);
    assert_eq!(world.gauge(1, "timers"), 0);
    assert_eq!(world.gauge(1, "channels of a link"), 1, "the own inbox");
}

#[test]
fn a_node_that_invents_strangers_gets_a_fixed_number_in() {
    let mut world = World::new(6, 1);
    let ada = world.create(0, "Ada");
    let mut frames = world.frames().into_iter();
    let bundle = frames.find_map(|frame| {
        let Body::PutBundle(bundle) = frame.body else { return None };
        Bundle::verify(&bundle).ok()
    });
    let bundle = bundle.unwrap();
    let home = world.address(0);
    let most = limits::INVITES_MAX;
    for i in 0..most + 3 {
        let entry = request(&bundle, ada, &home, i);
        world.inject(0, Frame::new(Body::Deliver { channel: 1, entry }));
    }
    let contacts = view::contacts(world.rows(0));
    assert_eq!(contacts.len(), most);
    assert_eq!(world.client(0).counters().dropped, 3);
    world.ask(0, Action::RemoveContact { contact: contacts[0].account }).unwrap();
    let entry = request(&bundle, ada, &home, most);
    world.inject(0, Frame::new(Body::Deliver { channel: 1, entry }));
    assert_eq!(view::contacts(world.rows(0)).len(), most, "declining makes room");
}

/// A request of a made-up account, as it comes from the inbox.
fn request(to: &Bundle, recipient: AccountId, home: &proto::NodeAddress, number: usize) -> Entry {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let mut rng = ChaCha20Rng::from_seed(seed);
    let authority = Authority::create(&Phrase::generate(&mut rng), &mut rng);
    let device = SigningKey::from_seed(seed);
    let record = UnsignedRecord {
        version: 1,
        devices: vec![Device { key: device.public(), added_s: 1 }],
        homes: vec![home.clone()],
        copies: 2,
        inbox_key: InboxKey::from_seed(seed).public(),
    };
    let bundle = authority.sign_record(record).unwrap();
    let genesis = LogGenesis::Conversation { write_key: device.public(), salt: [1; 16] };
    let request = wire::ContactRequest {
        recipient: recipient.0.to_vec(),
        bundle: bundle.as_bytes().to_vec(),
        log_genesis: genesis.encode(),
        ranking: vec![home.into()],
        welcome: vec![1; 100],
        invite: device.public().0.to_vec(),
        name: format!("{number}"),
    };
    let head = Head {
        kind: Kind::Entry,
        expiry: Expiry::Month,
        position: 1,
        log: LogGenesis::Inbox(recipient).id(),
        write_key: device.public(),
        extension: Extension::default(),
    };
    let sealed = seal_request(to, &head.encode(), &request, &device, &mut rng);
    Entry {
        sequence: number as u64 + 1,
        kind: head.kind,
        expiry: head.expiry,
        position: head.position,
        extension: Extension::default(),
        ciphertext: sealed.unwrap(),
        write_key: Some(head.write_key),
    }
}

#[test]
fn an_invite_that_no_one_can_use_is_refused() {
    let mut world = World::acquainted(4);
    for (uses, valid_s) in [(0, 60), (1, 0)] {
        let refused = world.ask(0, Action::Invite { uses, valid_s });
        assert!(matches!(refused, Err(CommandError::BadRequest(_))), "{uses}, {valid_s}");
    }
}
