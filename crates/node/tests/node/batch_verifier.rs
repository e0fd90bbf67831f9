//! What a node was told to expect changes nothing but its work.

use crypto::SigningKey;
use node::{Counters, NodeConfig};
use proptest::{prelude::*, sample::Index};
use proto::{
    Body, Code, Cursor, Envelope, Extension, Frame, Head, Input, Kind, LogGenesis, Open, Peer,
    PublicKey, Table,
};

use crate::world::{
    Account, Client, Conversation, NODE, REQUEST, World, append, envelope, key_change, open_frame,
    refused,
};

#[test]
fn one_bad_signature_among_many_spoils_only_its_own() {
    let (mut world, clients, talk) = start();
    let mut frames: Vec<(Peer, Frame)> = (1..=100)
        .map(|position| {
            let body = append(2, &talk.envelope(u64::from(position), b"many"));
            (clients[0].peer, Frame { request: position, body })
        })
        .collect();
    let Body::Append { signature, .. } = &mut frames[41].1.body else { panic!() };
    signature[7] ^= 1;
    world.prefetch(&frames);
    for (peer, frame) in frames {
        world.input(Input::Frame(peer, frame));
    }
    for (frame, request) in world.take(clients[0].peer).into_iter().zip(1..) {
        assert_eq!(frame.request, request);
        let is_bad = request == 42;
        assert_eq!(frame.body == refused(Code::BadSignature), is_bad, "{request}");
        assert_eq!(matches!(frame.body, Body::Accepted { .. }), !is_bad, "{request}");
    }
    assert_eq!(world.machine().counters().appended, 99);
}

#[test]
fn a_verified_envelope_vouches_for_no_other_signature() {
    let (mut world, clients, talk) = start();
    let peer = clients[0].peer;
    let good = [1, 2].map(|position| talk.envelope(position, b"good"));
    let told = good.clone().map(|envelope| (peer, Frame::new(append(2, &envelope))));
    let mut bent = good[0].clone();
    bent.signature[40] ^= 1;

    world.prefetch(&told);
    assert_eq!(world.ask(&clients[0], append(2, &bent)), refused(Code::BadSignature));
    // Nor for the same bytes on a channel of another log.
    let other = world.create(&clients[0], 3, 8);
    let on_other = append(3, &good[0]);
    assert_eq!(world.ask(&clients[0], on_other), refused(Code::BadSignature));
    assert_ne!(other.log, talk.log);
    assert!(matches!(world.ask(&clients[0], append(2, &good[0])), Body::Accepted { .. }));
}

#[test]
fn weak_keys_enter_no_log() {
    let (mut world, clients, talk) = start();
    let head = Head {
        kind: Kind::KeyChange,
        extension: Extension::next_key(WEAK),
        ..talk.envelope(1, b"").head
    };
    let change = crypto::sign_envelope(&talk.key, head, b"commit".to_vec());
    assert_eq!(world.ask(&clients[0], append(2, &change)), refused(Code::Invalid));
    let invite = Body::PutInvite { channel: 1, key: WEAK, expires_s: u64::MAX, uses: 1 };
    assert_eq!(world.ask(&clients[0], invite), refused(Code::Invalid));

    // The first key of a log must sign at its opening, strictly, which a weak one can't.
    let genesis = LogGenesis::Conversation { write_key: WEAK, salt: [1; 16] };
    let mut proof = [0; 64];
    proof[0] = 1;
    let open = Open {
        channel: 9,
        log: genesis.id(),
        key: WEAK,
        proof,
        genesis: Some(genesis.encode()),
        tail: None,
        announce: false,
        ranking: None,
    };
    assert_eq!(world.ask(&clients[0], Body::Open(open)), refused(Code::Forbidden));
}

/// The neutral element.
const WEAK: Peer = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    PublicKey(bytes)
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_prefetched_changes_nothing(
        steps in prop::collection::vec(any_step(), 1..40),
        told in prop::collection::vec(prop::collection::vec((any::<Index>(), any::<bool>()), 0..12), 1..8),
    ) {
        prop_assert_eq!(run(&steps, &told), run(&steps, &[]));
    }
}

/// One input.
#[derive(Clone, Debug)]
struct Step {
    client: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Append(Message),
    Disconnect,
    Reopen,
}

#[derive(Clone, Debug)]
struct Message {
    position: u64,
    text: u8,
    /// Signed with the key that a change announces.
    next_epoch: bool,
    is_change: bool,
    bent: Option<usize>,
}

fn any_step() -> impl Strategy<Value = Step> {
    let bent = prop_oneof![4 => Just(None), 1 => (0usize..512).prop_map(Some)];
    let message = (1u64..20, 0u8..3, any::<bool>(), prop::bool::weighted(0.1), bent).prop_map(
        |(position, text, next_epoch, is_change, bent)| {
            What::Append(Message { position, text, next_epoch, is_change, bent })
        },
    );
    let what = prop_oneof![20 => message, 1 => Just(What::Disconnect), 1 => Just(What::Reopen)];
    (0usize..2, what).prop_map(|(client, what)| Step { client, what })
}

/// All that can be seen of a node: frames by client, counters, rows.
type Seen = (Vec<Vec<Frame>>, Counters, Vec<(Table, Vec<u8>, Vec<u8>)>);

/// Plays the steps. Before some of them the node is told of any of the frames, bent or not.
fn run(steps: &[Step], told: &[Vec<(Index, bool)>]) -> Seen {
    let (mut world, clients, talk) = start();
    let next = SigningKey::from_seed([77; 32]);
    let mut told = told.iter().cycle();
    for (i, step) in steps.iter().enumerate() {
        if i % 4 == 0
            && let Some(told) = told.next()
        {
            // The next ones, and any.
            let any = told.iter().map(|(index, bent)| (index.get(steps), *bent));
            let coming: Vec<(Peer, Frame)> = steps[i..]
                .iter()
                .take(4)
                .map(|step| (step, true))
                .chain(any)
                .filter_map(|(step, bent)| {
                    let What::Append(message) = &step.what else { return None };
                    let bent = message.bent.filter(|_| bent);
                    let message = Message { bent, ..message.clone() };
                    let body = made(&message, &talk, &next);
                    Some((clients[step.client].peer, Frame { request: REQUEST, body }))
                })
                .collect();
            world.prefetch(&coming);
        }
        let peer = clients[step.client].peer;
        match &step.what {
            What::Append(message) => {
                let body = made(message, &talk, &next);
                world.input(Input::Frame(peer, Frame { request: REQUEST, body }));
            }
            What::Disconnect => world.input(Input::Disconnected(peer)),
            What::Reopen => {
                let tail = Some(Cursor::default());
                let key = if i % 2 == 0 { &next } else { &talk.key };
                let open = open_frame(&clients[step.client], 2, talk.log, key, None, tail);
                world.input(Input::Frame(peer, Frame { request: REQUEST, body: Body::Open(open) }));
            }
        }
    }
    // What the node draws from its generator afterwards is the same, too.
    let newcomer = world.connect(9);
    world.register(&newcomer, &Account::new(9));
    let frames = clients.iter().map(|client| world.take(client.peer)).collect();
    (frames, world.machine().counters().clone(), world.dump())
}

fn made(message: &Message, talk: &Conversation, next: &SigningKey) -> Body {
    let key = if message.next_epoch { next } else { &talk.key };
    let mut envelope: Envelope = if message.is_change {
        key_change(key, talk.log, message.position, next)
    } else {
        envelope(key, talk.log, message.position, &[message.text])
    };
    if let Some(bit) = message.bent {
        envelope.signature[bit / 8] ^= 1 << (bit % 8);
    }
    append(2, &envelope)
}

/// Two connections that follow a conversation as channel 2; the first may create others.
fn start() -> (World, [Client; 2], Conversation) {
    let mut world = World::new(NodeConfig::new(NODE));
    let (a, b) = (world.connect(1), world.connect(2));
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    let opened = world.open(&b, 2, talk.log, &talk.key, None, Some(Cursor::default()));
    assert!(matches!(opened, Body::Opened { .. }));
    world.take(a.peer);
    world.take(b.peer);
    (world, [a, b], talk)
}
