//! Acks: a device that appends gets the ack of each node that holds the entry.

use node::{Dropped, NodeConfig};
use proto::{
    Body, Code, Cursor, Envelope, Expiry, Frame, Hello, Input, NodeAck, Replicate, VERSIONS,
};

use crate::{
    neighbours::{key, name, peer},
    town::{Town, is_append},
    world::{Account, Conversation, NODE, World, append, expiring, refused},
};

fn is_ack(body: &Body) -> bool {
    matches!(body, Body::NodeAck { .. })
}

/// The nodes whose good acks for an envelope a node's device has got, those of the node itself
/// first.
fn signers(town: &mut Town, n: usize, envelope: &Envelope) -> Vec<usize> {
    let device = town.devices[n];
    let mut signers = Vec::new();
    for frame in town.worlds[n].take(device.peer) {
        let Body::NodeAck { channel, reference, node, ack } = frame.body else { continue };
        assert_eq!((channel, reference), (2, envelope.id().reference()));
        let signer =
            (0..town.worlds.len()).find(|m| node.unwrap_or_else(|| name(n)) == name(*m)).unwrap();
        assert_eq!(node.is_none(), signer == n);
        let (log, id) = (envelope.head.log, envelope.id());
        crypto::node::verify_ack(&name(signer), &log, &id, &ack).unwrap();
        signers.push(signer);
    }
    signers
}

fn send(town: &mut Town, n: usize, envelope: &Envelope) {
    let device = town.devices[n];
    let stored = town.worlds[n].ask(&device, append(2, envelope));
    assert!(matches!(stored, Body::Accepted { .. }), "{stored:?}");
}

#[test]
fn a_device_gets_one_of_each_node() {
    let (mut town, talk) = Town::sharing(3);
    let envelope = talk.envelope(1, b"whose word?");
    send(&mut town, 0, &envelope);
    assert_eq!(signers(&mut town, 0, &envelope), [0], "its own node's at once");
    town.carry();
    let mut others = signers(&mut town, 0, &envelope);
    others.sort_unstable();
    assert_eq!(others, [1, 2]);
    assert!(signers(&mut town, 1, &envelope).is_empty(), "others did not ask");
    for n in 0..3 {
        assert_eq!(town.worlds[n].machine().counters().dropped.get(&Dropped::Unasked), None, "{n}");
    }
}

#[test]
fn an_ack_comes_before_the_answer_and_after_the_disk() {
    let (mut town, talk) = Town::sharing(2);
    let (device, envelope) = (town.devices[0], talk.envelope(1, b"durable"));
    let world = &mut town.worlds[0];
    world.syncs = false;
    let frame = Frame { request: 5, body: append(2, &envelope) };
    world.input(Input::Frame(device.peer, frame));
    assert!(world.take(device.peer).is_empty());
    world.sync();
    let bodies: Vec<Body> = world.take(device.peer).into_iter().map(|frame| frame.body).collect();
    let [Body::NodeAck { node: None, .. }, Body::Accepted { .. }] = &bodies[..] else {
        panic!("{bodies:?}")
    };
}

#[test]
fn an_entry_appended_again_gets_all_acks_again() {
    let (mut town, talk) = Town::sharing(3);
    let envelope = talk.envelope(1, b"once more");
    send(&mut town, 0, &envelope);
    town.carry();
    assert_eq!(signers(&mut town, 0, &envelope).len(), 3);
    for n in [0, 1, 2] {
        let pushed = town.count_all(is_append);
        send(&mut town, n, &envelope);
        send(&mut town, n, &envelope);
        town.carry();
        let mut all = signers(&mut town, n, &envelope);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, [0, 1, 2], "at {n}");
        let pushed = town.count_all(is_append) - pushed;
        assert!(pushed <= 4, "{pushed}");
    }
    assert_eq!(town.held(0, &talk), ["once more"]);
    town.pass(60);
    assert_eq!(town.dirty(), 0);
    // And on new connections, over which nothing had to be pushed yet.
    for n in [1, 2] {
        town.cut(0, n);
    }
    town.carry();
    town.devices[0] = town.worlds[0].connect(1);
    town.join(0, &talk);
    send(&mut town, 0, &envelope);
    town.carry();
    assert_eq!(signers(&mut town, 0, &envelope).len(), 3);
    // Those that are away are not waited for.
    town.kill(1);
    send(&mut town, 0, &envelope);
    town.carry();
    assert_eq!(signers(&mut town, 0, &envelope), [0, 2]);
}

#[test]
fn what_is_asked_for_again_out_of_turn_makes_no_gap() {
    let (mut town, talk) = Town::sharing(2);
    let early = talk.envelope(1, b"1");
    send(&mut town, 0, &early);
    town.carry();
    town.cut(0, 1);
    for position in 2..=600 {
        let text = position.to_string();
        send(&mut town, 0, &talk.envelope(position, text.as_bytes()));
    }
    for round in 0..200 {
        town.carry_some(1 + round % 7);
        send(&mut town, 0, &early);
        send(&mut town, 0, &talk.envelope(599, b"599"));
        if round % 50 == 49 {
            town.cut(0, 1);
        }
    }
    town.pass(60);
    assert_eq!(town.held(1, &talk).len(), 600);
    assert_eq!(town.held(0, &talk), town.held(1, &talk));
    assert_eq!(town.dirty(), 0);
}

#[test]
fn a_closed_channel_gets_no_acks() {
    let (mut town, talk) = Town::sharing(2);
    let (device, envelope) = (town.devices[0], talk.envelope(1, b"gone"));
    send(&mut town, 0, &envelope);
    town.worlds[0].tell(&device, Body::Close { channel: 2 });
    town.worlds[0].take(device.peer);
    town.carry();
    assert!(!town.worlds[0].take(device.peer).iter().any(|frame| is_ack(&frame.body)));
    assert_eq!(town.worlds[0].machine().counters().dropped.get(&Dropped::Unasked), None);
}

#[test]
fn an_ack_of_one_that_is_not_pushed_to_is_dropped() {
    let (mut town, talk) = Town::sharing(2);
    let (device, envelope) = (town.devices[0], talk.envelope(1, b"forged"));
    town.cut(0, 1);
    send(&mut town, 0, &envelope);
    town.worlds[0].take(device.peer);
    let world = &mut town.worlds[0];
    let stranger = world.connect(9);
    let forged = |channel, node| {
        let reference = envelope.id().reference();
        let ack = NodeAck { incarnation: 1, signature: [7; 64] };
        Body::NodeAck { channel, reference, node, ack }
    };
    for channel in 0..10 {
        world.tell(&stranger, forged(channel, None));
    }
    // The other node, on a channel on which it pushes itself, and in a third one's name.
    world.input(Input::Connected(peer(1), None));
    let hello = Hello { versions: VERSIONS, nonce: [1; 16] };
    world.input(Input::Frame(peer(1), Frame::new(Body::Hello(hello))));
    let head = Cursor { incarnation: 5, sequence: 1 };
    let replicate = Body::Replicate(Replicate { channel: 99, log: talk.log, head });
    world.input(Input::Frame(peer(1), Frame { request: 1, body: replicate }));
    world.input(Input::Frame(peer(1), Frame::new(forged(99, None))));
    for channel in 0..10 {
        let third = Frame::new(forged(channel, Some(name(7))));
        world.input(Input::Frame(peer(1), third));
    }
    assert_eq!(world.machine().counters().dropped[&Dropped::Unasked], 21);
    assert!(world.take(device.peer).is_empty());
}

#[test]
fn an_inbox_gives_its_owner_acks_and_guests_none() {
    let mut town = Town::of(2);
    let account = Account::at_all(1, &[name(0), name(1)]);
    for n in [0, 1] {
        let device = town.devices[n];
        town.worlds[n].register(&device, &account);
    }
    town.pass(10);
    let invite = crypto::SigningKey::from_seed([77; 32]);
    let put = Body::PutInvite { channel: 1, key: invite.public(), expires_s: u64::MAX, uses: 1 };
    let device = town.devices[0];
    town.worlds[0].ask(&device, put);
    let guest = town.worlds[0].connect(9);
    town.worlds[0].open(&guest, 7, account.inbox(), &invite, None, None);
    let request = expiring(&invite, account.inbox(), b"request", Expiry::Never);
    town.worlds[0].ask(&guest, append(7, &request));
    town.carry();
    assert!(town.worlds[0].take(guest.peer).is_empty());
    let note = expiring(&account.device, account.inbox(), b"note", Expiry::Never);
    town.worlds[0].ask(&device, append(1, &note));
    town.carry();
    let frames = town.worlds[0].take(device.peer);
    assert_eq!(frames.iter().filter(|frame| is_ack(&frame.body)).count(), 2);
}

#[test]
fn a_node_without_a_key_gives_none_and_one_alone_only_its_own() {
    let talk = Conversation::new(9);
    for (key, count) in [(None, 0), (Some(key(0)), 1)] {
        let mut world = World::new(NodeConfig { key, ..NodeConfig::new(NODE) });
        let owner = world.connect(1);
        world.register(&owner, &Account::new(1));
        world.create(&owner, 2, 9);
        world.ask(&owner, append(2, &talk.envelope(1, b"alone")));
        let frames = world.take(owner.peer);
        assert_eq!(frames.iter().filter(|frame| is_ack(&frame.body)).count(), count);
    }
}

#[test]
fn a_node_hands_over_what_it_has_signed_for_or_signs_that_it_has_lost_it() {
    let (mut town, talk) = Town::sharing(2);
    let (device, envelope) = (town.devices[0], talk.envelope(1, b"still there?"));
    send(&mut town, 0, &envelope);
    let frames = town.worlds[0].take(device.peer);
    let ack = frames.iter().find_map(|frame| match &frame.body {
        Body::NodeAck { node: None, ack, .. } => Some(*ack),
        _ => None,
    });
    let (ack, id) = (ack.unwrap(), envelope.id());
    let challenge = |id, ack| Body::Challenge { channel: 2, id, ack };
    let world = &mut town.worlds[0];
    let Body::Page { entries, .. } = world.ask(&device, challenge(id, ack)) else { panic!() };
    assert_eq!(entries[0].ciphertext, b"still there?");
    // It says nothing of what it has not signed itself, nor of another copy.
    let never = talk.envelope(9, b"never sent").id();
    assert_eq!(world.ask(&device, challenge(never, ack)), refused(Code::BadSignature));
    let of_another = crypto::node::sign_ack(&key(1), &talk.log, &never, ack.incarnation);
    assert_eq!(world.ask(&device, challenge(never, of_another)), refused(Code::BadSignature));
    let of_old = crypto::node::sign_ack(&key(0), &talk.log, &never, ack.incarnation ^ 1);
    assert_eq!(world.ask(&device, challenge(never, of_old)), refused(Code::NotFound));
    let stranger = world.connect(9);
    assert_eq!(world.ask(&stranger, challenge(id, ack)), refused(Code::Unexpected));

    crate::anti_entropy::lose(world, &crate::anti_entropy::ALL, |_| true);
    let Body::Lost { signature } = world.ask(&device, challenge(id, ack)) else { panic!() };
    let node = name(0);
    let proof = crypto::node::LossProof { node, envelope, ack, lost: signature };
    assert_eq!(proof.verify(), Ok(()));
}
