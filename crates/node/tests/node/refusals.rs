//! What the node won't do: each case leaves every row as it was, is answered by its code, and is
//! counted.

#![allow(clippy::large_enum_variant, reason = "a case is built and sent once")]

mod accounts;
mod appends;
mod connections;
mod encodings;

use crypto::{SigningKey, sign_envelope};
use node::{Dropped, NodeConfig, Registration};
use proto::{Body, Code, DecodeError, Extension, Frame, FrameReader, Head, Hello};

use crate::world::{
    Account, Client, Conversation, NODE, START, World, append, envelope, head, refused,
};

/// A node with an account, a conversation with entries, and three connections.
struct Scene {
    world: World,
    /// Owner: inbox as 1, conversation as 2 (followed).
    owner: Client,
    account: Account,
    talk: Conversation,
    /// Guest: the inbox as 1, by an invite.
    guest: Client,
    invite: SigningKey,
    /// Has said nothing but Hello.
    stranger: Client,
    /// Has not even said that.
    silent: Client,
    /// An invite that is used up, and one whose time is over.
    used_up: SigningKey,
    over: SigningKey,
}

/// What a case sends.
enum Sent {
    Frame(Client, Body),
    Bytes(Vec<u8>),
}

/// What comes of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Refused(Code),
    /// Refused with the better record.
    Stale,
    Goodbye(Code),
    Dropped(Dropped),
    /// The codec refuses it; it never reaches the node.
    Undecodable(DecodeError),
    /// It is accepted again and nothing happens.
    Again,
}

type Case = (&'static str, Outcome, fn(&mut Scene) -> Sent);

use Outcome::{Again, Goodbye, Refused, Stale, Undecodable};

#[test]
fn refused_input_changes_nothing_and_is_counted() {
    let sessions = [connections::sessions(), connections::proofs(), connections::geneses()];
    let appends = [appends::forged(), appends::unwanted(), appends::exhausted(), appends::reads()];
    let accounts = [accounts::bundles(), accounts::packages_and_invites()];
    let encodings = [encodings::cuts(), encodings::fields()];
    let cases = [sessions.concat(), appends.concat(), accounts.concat(), encodings.concat()];
    let cases = cases.concat();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (name, outcome, send) in cases {
        let mut scene = Scene::new();
        let sent = send(&mut scene);
        let before = scene.world.dump();
        let counters = scene.world.machine().counters().clone();
        check(&mut scene, sent, outcome, name);
        assert!(scene.world.dump() == before, "{name}: rows changed");
        let after = scene.world.machine().counters();
        let count = |code| (counters.refused.get(&code), after.refused.get(&code).copied());
        let (was, is) = match outcome {
            Refused(code) | Goodbye(code) => count(code),
            Stale => count(Code::Stale),
            Outcome::Dropped(reason) => {
                (counters.dropped.get(&reason), after.dropped.get(&reason).copied())
            }
            Again => (Some(&counters.duplicates), Some(after.duplicates)),
            Undecodable(_) => continue,
        };
        assert_eq!(was.copied().unwrap_or(0) + 1, is.unwrap_or(0), "{name}: not counted");
        assert_eq!(after.appended, counters.appended, "{name}");
        let fine = scene.talk.envelope(4, b"the node goes on");
        let answer = scene.world.try_ask(&scene.owner.clone(), append(2, &fine));
        let is_gone = matches!(outcome, Goodbye(_));
        assert!(is_gone || matches!(answer, Some(Body::Accepted { .. })), "{name}: {answer:?}");
    }
}

fn check(scene: &mut Scene, sent: Sent, outcome: Outcome, name: &str) {
    let (client, body) = match (sent, outcome) {
        (Sent::Bytes(bytes), Undecodable(error)) => {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            assert_eq!(reader.next_frame(), Err(error), "{name}");
            return;
        }
        (Sent::Frame(client, body), _) => (client, body),
        (Sent::Bytes(_), _) => panic!("{name}: bytes never reach the node"),
    };
    scene.world.take(client.peer);
    let answer = scene.world.try_ask(&client, body);
    match outcome {
        Refused(code) => assert_eq!(answer, Some(refused(code)), "{name}"),
        Stale => {
            let newer = scene.account.bundle.as_bytes().to_vec();
            assert_eq!(answer, Some(Body::Refused { code: Code::Stale, newer }), "{name}");
        }
        Goodbye(code) => {
            let frames = scene.world.take(client.peer);
            assert_eq!(frames, vec![Frame::new(Body::Goodbye(code))], "{name}");
            assert_eq!(scene.world.hung_up, vec![client.peer], "{name}");
        }
        Again => assert!(matches!(answer, Some(Body::Accepted { .. })), "{name}"),
        Outcome::Dropped(_) | Undecodable(_) => assert_eq!(answer, None, "{name}"),
    }
}

#[test]
fn a_closed_node_takes_no_new_accounts() {
    let config = NodeConfig { registration: Registration::Closed, ..NodeConfig::new(NODE) };
    let mut world = World::new(config);
    let a = world.connect(1);
    let bundle = Account::new(1).bundle.as_bytes().to_vec();
    assert_eq!(world.ask(&a, Body::PutBundle(bundle)), refused(Code::Closed));
    assert!(world.dump().is_empty());
}

#[test]
fn a_client_of_the_future_that_speaks_ours_is_welcome() {
    let mut world = World::new(NodeConfig::new(NODE));
    let a = world.connect_silently(1);
    world.tell(&a, Body::Hello(Hello { versions: (1, 9), nonce: [9; 16] }));
    world.register(&a, &Account::new(1));
}

#[test]
fn fields_of_the_future_survive_in_what_is_signed() {
    let mut world = World::new(NodeConfig::new(NODE));
    let a = world.connect(1);
    world.register(&a, &Account::new(1));
    let talk = world.create(&a, 2, 9);
    // Field 9 of the extension, which no version has yet.
    let extension = Extension::decode(&[0x48, 0x05]).unwrap();
    let head = Head { extension: extension.clone(), ..head(&talk.key, talk.log, 1) };
    let envelope = sign_envelope(&talk.key, head, vec![1]);
    assert!(matches!(world.ask(&a, append(2, &envelope)), Body::Accepted { .. }));
    let references = vec![envelope.id().reference()];
    let Body::Page { entries, .. } = world.ask(&a, Body::Fetch { channel: 2, references }) else {
        panic!("no page")
    };
    assert_eq!(entries[0].extension, extension);
}

impl Scene {
    fn new() -> Self {
        let config = NodeConfig {
            disk_cap_bytes: 10 << 20,
            account_logs_max: 2,
            log_quota_bytes: 100_000,
            ..NodeConfig::new(NODE)
        };
        let mut world = World::new(config);
        let [owner, guest, stranger] = [1, 2, 4].map(|peer| world.connect(peer));
        let silent = world.connect_silently(3);
        let account = Account::new(1);
        world.register(&owner, &account);
        let talk = world.create(&owner, 2, 9);
        world.ask(&owner, append(2, &talk.envelope(1, b"first")));
        world.ask(&owner, append(2, &talk.envelope(3, b"second")));
        let [invite, used_up, over] = [20, 21, 22].map(|seed| SigningKey::from_seed([seed; 32]));
        for (key, seconds) in [(&invite, 3 << 30), (&used_up, 3 << 30), (&over, 1)] {
            let (key, expires_s) = (key.public(), START.as_secs() + seconds);
            world.ask(&owner, Body::PutInvite { channel: 1, key, expires_s, uses: 1 });
        }
        world.pass(1);
        world.open(&guest, 1, account.inbox(), &used_up, None, None);
        let request = envelope(&used_up, account.inbox(), 1, b"used up");
        assert!(matches!(world.ask(&guest, append(1, &request)), Body::Accepted { .. }));
        world.open(&guest, 1, account.inbox(), &invite, None, None);
        Self { world, owner, account, talk, guest, invite, stranger, silent, used_up, over }
    }
}
