//! Announcements: a reader is told the references of entries in place of the entries.

use crypto::SigningKey;
use node::{Dropped, NodeConfig};
use proto::{Body, Cursor, Envelope, Open, Reference, limits};

use crate::world::{Account, Client, Conversation, NODE, World, append, open_frame};

fn start() -> (World, Client, Conversation) {
    let mut world = World::new(NodeConfig::new(NODE));
    let owner = world.connect(1);
    world.register(&owner, &Account::new(1));
    let talk = world.create(&owner, 2, 9);
    (world, owner, talk)
}

fn follow(world: &mut World, client: &Client, talk: &Conversation, tail: Option<Cursor>) -> Cursor {
    let open = open_frame(client, 1, talk.log, &talk.key, None, tail);
    let opened = world.ask(client, Body::Open(Open { announce: true, ..open }));
    let Body::Opened { head, .. } = opened else { panic!("{opened:?}") };
    head
}

/// What a reader was told, all of it names.
fn named(world: &mut World, client: &Client) -> Vec<(u64, Reference)> {
    let frames = world.take(client.peer).into_iter();
    let named = frames.map(|frame| match frame.body {
        Body::Announce { channel: 1, sequence, reference } => (sequence, reference),
        other => panic!("{other:?}"),
    });
    named.collect()
}

fn name(envelope: &Envelope) -> Reference {
    envelope.id().reference()
}

#[test]
fn names_what_was_there_and_what_comes() {
    let (mut world, owner, talk) = start();
    let envelopes: Vec<Envelope> = (1..=5).map(|at| talk.envelope(at, b"some words")).collect();
    for envelope in &envelopes[..3] {
        world.ask(&owner, append(2, envelope));
    }
    let reader = world.connect(2);
    let head = follow(&mut world, &reader, &talk, Some(Cursor::default()));
    for envelope in &envelopes[3..] {
        world.ask(&owner, append(2, envelope));
    }
    let all: Vec<_> = (1..).zip(envelopes.iter().map(name)).collect();
    assert_eq!(named(&mut world, &reader), all);
    assert_eq!(world.machine().counters().named, 5);
    assert_eq!(world.machine().counters().delivered, 0);

    world.input(proto::Input::Disconnected(reader.peer));
    let reader = world.connect(2);
    follow(&mut world, &reader, &talk, Some(Cursor { sequence: 3, ..head }));
    assert_eq!(named(&mut world, &reader), all[3..], "behind the cursor");
}

#[test]
fn leaves_out_what_the_connection_itself_has_appended() {
    let (mut world, owner, talk) = start();
    let reader = world.connect(2);
    follow(&mut world, &reader, &talk, Some(Cursor::default()));
    let (own, other) = (talk.envelope(1, b"own"), talk.envelope(2, b"another's"));
    world.ask(&reader, append(1, &own));
    world.ask(&owner, append(2, &other));
    assert_eq!(named(&mut world, &reader), [(2, name(&other))]);
    assert_eq!(world.delivered(&owner).len(), 1, "others get the entry itself");
}

#[test]
fn a_window_holds_as_many_names_however_large_the_entries() {
    let (mut world, owner, talk) = start();
    let count = limits::DELIVER_WINDOW + 44;
    for position in 1..=count {
        world.ask(&owner, append(2, &talk.envelope(position, &[0; 20_000])));
    }
    let reader = world.connect(2);
    follow(&mut world, &reader, &talk, Some(Cursor::default()));
    assert_eq!(named(&mut world, &reader).len() as u64, limits::DELIVER_WINDOW);
    world.tell(&reader, Body::Accepted { channel: 1, sequence: limits::DELIVER_WINDOW });
    assert_eq!(named(&mut world, &reader).len(), 44);
    world.tell(&reader, Body::Accepted { channel: 1, sequence: count + 1 });
    assert_eq!(world.machine().counters().dropped[&Dropped::AcceptedAhead], 1);
}

#[test]
fn means_nothing_without_a_tail() {
    let (mut world, owner, talk) = start();
    let reader = world.connect(2);
    follow(&mut world, &reader, &talk, None);
    world.ask(&owner, append(2, &talk.envelope(1, b"unheard")));
    assert!(named(&mut world, &reader).is_empty());
}

#[test]
fn an_inbox_is_followed_in_the_same_way() {
    let mut world = World::new(NodeConfig::new(NODE));
    let (owner, second) = (world.connect(1), world.connect(2));
    let account = Account::new(1);
    world.register(&owner, &account);
    let open =
        open_frame(&second, 1, account.inbox(), &account.device, None, Some(Cursor::default()));
    world.ask(&second, Body::Open(Open { announce: true, ..open }));
    let invite = SigningKey::from_seed([77; 32]);
    let (key, expires_s) = (invite.public(), u64::MAX);
    world.ask(&owner, Body::PutInvite { channel: 1, key, expires_s, uses: 1 });
    let guest = world.connect(3);
    world.open(&guest, 7, account.inbox(), &invite, None, None);
    let request = crate::world::envelope(&invite, account.inbox(), 1, b"request");
    world.ask(&guest, append(7, &request));
    assert_eq!(named(&mut world, &second), [(1, name(&request))]);
}
