//! What the node won't do: each case leaves every row as it was, is answered by its code, and is
//! counted.

#![allow(
    clippy::too_many_lines,
    clippy::large_enum_variant,
    reason = "tables of cases are as long as they are"
)]

use crypto::{SigningKey, sign_envelope};
use node::{Dropped, NodeConfig, Registration};
use prost::Message;
use proto::{
    AccountId, Body, Code, Cursor, DecodeError, Entry, Expiry, Extension, Frame, FrameReader, Head,
    Hello, Input, Kind, LogGenesis, PublicKey, PutKeyPackages, Read, VERSIONS, limits, wire,
    write_frame,
};

use crate::world::{
    Account, Client, Conversation, NODE, REQUEST, START, World, append, draft, envelope, head,
    key_change, open_frame, refused,
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
    let cases = [sessions(), openings(), appends(), reads(), accounts(), bytes()].concat();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (name, outcome, send) in cases {
        let mut scene = Scene::new();
        let sent = send(&mut scene);
        let before = scene.world.dump();
        let counters = scene.world.node.counters().clone();
        check(&mut scene, sent, outcome, name);
        assert!(scene.world.dump() == before, "{name}: rows changed");
        let after = scene.world.node.counters();
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

fn sessions() -> Vec<Case> {
    vec![
        ("a frame before Hello", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.silent, Body::GetBundle(s.account.id()))
        }),
        ("a version of the future only", Goodbye(Code::Version), |s| {
            Sent::Frame(s.silent, Body::Hello(Hello { versions: (2, 9), nonce: [5; 16] }))
        }),
        ("a version of the past only", Goodbye(Code::Version), |s| {
            Sent::Frame(s.silent, Body::Hello(Hello { versions: (0, 0), nonce: [5; 16] }))
        }),
        ("a range of versions turned round", Goodbye(Code::Version), |s| {
            Sent::Frame(s.silent, Body::Hello(Hello { versions: (9, 1), nonce: [5; 16] }))
        }),
        ("a second Hello", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::Hello(Hello { versions: VERSIONS, nonce: [5; 16] }))
        }),
        ("a frame of a peer that is not connected", Outcome::Dropped(Dropped::NotConnected), |s| {
            let mut gone = s.stranger;
            gone.peer = PublicKey([0xEE; 32]);
            Sent::Frame(gone, Body::GetBundle(s.account.id()))
        }),
        ("a frame after Goodbye", Outcome::Dropped(Dropped::NotConnected), |s| {
            let stranger = s.stranger;
            s.world.tell(&stranger, Body::Goodbye(Code::Done));
            Sent::Frame(stranger, Body::GetBundle(s.account.id()))
        }),
        ("an Opened", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::Opened { head: Cursor::default(), position: 1 })
        }),
        ("a Deliver", Refused(Code::Unexpected), |s| {
            let entry = Entry::from_envelope(&s.talk.envelope(1, b"x"), 1, s.talk.key.public());
            Sent::Frame(s.owner, Body::Deliver { handle: 2, entry })
        }),
        ("a Page", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::Page { entries: vec![], more: false })
        }),
        ("a BundleIs", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::BundleIs(s.account.bundle.as_bytes().to_vec()))
        }),
        ("a KeyPackages", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::KeyPackages { packages: vec![vec![1]], left: 1 })
        }),
        ("a Refused", Outcome::Dropped(Dropped::Unasked), |s| {
            Sent::Frame(s.owner, refused(Code::Busy))
        }),
        ("closing what isn't open", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, Body::Close { handle: 99 })
        }),
        ("accepting what isn't followed", Outcome::Dropped(Dropped::NotFollowing), |s| {
            Sent::Frame(s.owner, Body::Accepted { handle: 1, sequence: 1 })
        }),
        ("accepting on a handle that isn't open", Outcome::Dropped(Dropped::NotFollowing), |s| {
            Sent::Frame(s.owner, Body::Accepted { handle: 99, sequence: 1 })
        }),
        ("accepting the future", Outcome::Dropped(Dropped::AcceptedAhead), |s| {
            Sent::Frame(s.owner, Body::Accepted { handle: 2, sequence: u64::MAX })
        }),
    ]
}

fn openings() -> Vec<Case> {
    vec![
        ("a proof by another key", Refused(Code::Forbidden), |s| {
            let key = SigningKey::from_seed([99; 32]);
            let mut open = open_frame(&s.stranger, 1, s.talk.log, &key, None, None);
            open.key = s.talk.key.public();
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a proof replayed on another connection", Refused(Code::Forbidden), |s| {
            let open = open_frame(&s.owner, 1, s.talk.log, &s.talk.key, None, None);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a proof replayed on a later connection", Refused(Code::Forbidden), |s| {
            let open = open_frame(&s.stranger, 1, s.talk.log, &s.talk.key, None, None);
            let again = s.world.connect(4);
            assert_eq!(again.peer, s.stranger.peer);
            Sent::Frame(again, Body::Open(open))
        }),
        ("a proof for another handle", Refused(Code::Forbidden), |s| {
            let mut open = open_frame(&s.stranger, 1, s.talk.log, &s.talk.key, None, None);
            open.handle = 2;
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a proof for another log", Refused(Code::Forbidden), |s| {
            let mut open = open_frame(&s.stranger, 1, s.account.inbox(), &s.talk.key, None, None);
            open.log = s.talk.log;
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a key that the conversation doesn't know", Refused(Code::Forbidden), |s| {
            let key = SigningKey::from_seed([99; 32]);
            let open = open_frame(&s.stranger, 1, s.talk.log, &key, None, None);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a key that the inbox doesn't know", Refused(Code::Forbidden), |s| {
            let key = SigningKey::from_seed([99; 32]);
            let open = open_frame(&s.stranger, 1, s.account.inbox(), &key, None, None);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("an invite whose time is over", Refused(Code::Forbidden), |s| {
            let open = open_frame(&s.stranger, 1, s.account.inbox(), &s.over, None, None);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("an invite that wants to follow", Refused(Code::Forbidden), |s| {
            let tail = Some(Cursor::default());
            let open = open_frame(&s.stranger, 1, s.account.inbox(), &s.invite, None, tail);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a log that isn't here", Refused(Code::NotFound), |s| {
            let talk = Conversation::new(50);
            let open = open_frame(&s.owner, 9, talk.log, &talk.key, None, None);
            Sent::Frame(s.owner, Body::Open(open))
        }),
        ("an inbox that isn't here, with its genesis", Refused(Code::NotFound), |s| {
            let genesis = LogGenesis::Inbox(AccountId([1; 32]));
            let key = s.account.device.clone();
            let open = open_frame(&s.owner, 9, genesis.id(), &key, Some(genesis), None);
            Sent::Frame(s.owner, Body::Open(open))
        }),
        ("a genesis of another log", Refused(Code::Invalid), |s| {
            let (talk, other) = (Conversation::new(50), Conversation::new(51));
            let open = open_frame(&s.owner, 9, talk.log, &talk.key, Some(other.genesis), None);
            Sent::Frame(s.owner, Body::Open(open))
        }),
        ("a genesis that is none", Refused(Code::Invalid), |s| {
            let talk = Conversation::new(50);
            let mut open = open_frame(&s.owner, 9, talk.log, &talk.key, None, None);
            open.genesis = Some(vec![0xFF; 40]);
            Sent::Frame(s.owner, Body::Open(open))
        }),
        ("a genesis of another's key", Refused(Code::Forbidden), |s| {
            let talk = Conversation::new(50);
            let key = SigningKey::from_seed([99; 32]);
            let open = open_frame(&s.owner, 9, talk.log, &key, Some(talk.genesis), None);
            Sent::Frame(s.owner, Body::Open(open))
        }),
        ("a conversation of nobody", Refused(Code::Forbidden), |s| {
            let talk = Conversation::new(50);
            let open = open_frame(&s.stranger, 9, talk.log, &talk.key, Some(talk.genesis), None);
            Sent::Frame(s.stranger, Body::Open(open))
        }),
        ("a conversation of a guest", Refused(Code::Forbidden), |s| {
            let talk = Conversation::new(50);
            let open = open_frame(&s.guest, 9, talk.log, &talk.key, Some(talk.genesis), None);
            Sent::Frame(s.guest, Body::Open(open))
        }),
        ("more conversations than allowed", Refused(Code::Quota), |s| {
            let owner = s.owner;
            s.world.create(&owner, 9, 49);
            let talk = Conversation::new(50);
            let open = open_frame(&s.owner, 10, talk.log, &talk.key, Some(talk.genesis), None);
            Sent::Frame(s.owner, Body::Open(open))
        }),
    ]
}

fn appends() -> Vec<Case> {
    vec![
        ("an append to what isn't open", Refused(Code::Unexpected), |s| {
            Sent::Frame(s.owner, append(99, &s.talk.envelope(2, b"x")))
        }),
        ("an append whose signature is bent", Refused(Code::BadSignature), |s| {
            let mut envelope = s.talk.envelope(2, b"x");
            envelope.signature[63] ^= 1;
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("an append whose text is bent", Refused(Code::BadSignature), |s| {
            let mut envelope = s.talk.envelope(2, b"x");
            envelope.ciphertext[0] ^= 1;
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("an append whose position is bent", Refused(Code::BadSignature), |s| {
            let mut envelope = s.talk.envelope(2, b"x");
            envelope.head.position = 3;
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("an append whose expiry is bent", Refused(Code::BadSignature), |s| {
            let mut envelope = s.talk.envelope(2, b"x");
            envelope.head.expiry = Expiry::Day;
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("an append for another log", Refused(Code::BadSignature), |s| {
            Sent::Frame(s.owner, append(2, &Conversation::new(50).envelope(2, b"x")))
        }),
        ("an append that names another key", Refused(Code::BadSignature), |s| {
            let key = SigningKey::from_seed([99; 32]);
            let envelope = envelope(&key, s.talk.log, 2, b"x");
            let entry = Entry::from_envelope(&envelope, 0, s.talk.key.public());
            assert!(entry.write_key.is_some());
            let signature = envelope.signature;
            Sent::Frame(s.owner, Body::Append { handle: 2, entry, signature })
        }),
        ("a replayed append", Again, |s| {
            Sent::Frame(s.owner, append(2, &s.talk.envelope(1, b"first")))
        }),
        ("position 0", Refused(Code::Position), |s| {
            Sent::Frame(s.owner, append(2, &s.talk.envelope(0, b"x")))
        }),
        ("a position that no log will ever have", Refused(Code::Position), |s| {
            let envelope = s.talk.envelope(limits::POSITION_MAX + 1, b"x");
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("the last position there is", Refused(Code::Position), |s| {
            Sent::Frame(s.owner, append(2, &s.talk.envelope(u64::MAX, b"x")))
        }),
        ("an envelope that is too large", Refused(Code::Malformed), |s| {
            let text = vec![0; limits::ENVELOPE_MAX - 76];
            Sent::Frame(s.owner, append(2, &s.talk.envelope(2, &text)))
        }),
        ("a key change that announces none", Refused(Code::Invalid), |s| {
            let head = Head { kind: Kind::KeyChange, ..head(&s.talk.key, s.talk.log, 2) };
            let envelope = sign_envelope(&s.talk.key, head, vec![1]);
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("a key change to the same key", Refused(Code::Invalid), |s| {
            let envelope = key_change(&s.talk.key, s.talk.log, 2, &s.talk.key);
            Sent::Frame(s.owner, append(2, &envelope))
        }),
        ("a key change in an inbox", Refused(Code::Invalid), |s| {
            let next = SigningKey::from_seed([99; 32]);
            let envelope = key_change(&s.account.device, s.account.inbox(), 1, &next);
            Sent::Frame(s.owner, append(1, &envelope))
        }),
        ("an append by a key closed a day ago", Refused(Code::Forbidden), |s| {
            let (owner, next) = (s.owner, SigningKey::from_seed([99; 32]));
            s.world.ask(&owner, append(2, &key_change(&s.talk.key, s.talk.log, 2, &next)));
            s.world.pass(limits::WRITE_KEY_GRACE_S);
            // The node goes on for the others: in the check that follows, by the new key.
            let reopened = s.world.open(&owner, 2, s.talk.log, &s.talk.key, None, None);
            assert!(matches!(reopened, Body::Opened { .. }));
            let old = std::mem::replace(&mut s.talk.key, next);
            let sent = append(7, &envelope(&old, s.talk.log, 3, b"x"));
            s.world.open(&owner, 7, s.talk.log, &old, None, None);
            s.world.open(&owner, 2, s.talk.log, &s.talk.key, None, None);
            Sent::Frame(owner, sent)
        }),
        ("an append by an invite that is used up", Refused(Code::Forbidden), |s| {
            let stranger = s.stranger;
            let opened = s.world.open(&stranger, 1, s.account.inbox(), &s.used_up, None, None);
            assert!(matches!(opened, Body::Opened { .. }));
            let envelope = envelope(&s.used_up, s.account.inbox(), 1, b"second");
            Sent::Frame(stranger, append(1, &envelope))
        }),
        ("the same append by an invite that is used up", Again, |s| {
            let stranger = s.stranger;
            s.world.open(&stranger, 1, s.account.inbox(), &s.used_up, None, None);
            let envelope = envelope(&s.used_up, s.account.inbox(), 1, b"used up");
            Sent::Frame(stranger, append(1, &envelope))
        }),
        ("an append by an invite taken back meanwhile", Refused(Code::Forbidden), |s| {
            let (owner, key) = (s.owner, s.invite.public());
            s.world.ask(&owner, Body::PutInvite { handle: 1, key, expires_s: 0, uses: 0 });
            let envelope = envelope(&s.invite, s.account.inbox(), 1, b"x");
            Sent::Frame(s.guest, append(1, &envelope))
        }),
        ("an append beyond the log's quota", Refused(Code::Quota), |s| {
            let owner = s.owner;
            for n in 0..3 {
                s.world.ask(&owner, append(2, &s.talk.envelope(2, &vec![n; 30_000])));
            }
            Sent::Frame(owner, append(2, &s.talk.envelope(2, &vec![9; 30_000])))
        }),
        ("an append beyond the disk cap", Refused(Code::Full), |s| {
            let used = s.world.config.disk_cap_bytes - 2_000;
            s.world.input(Input::Command(node::NodeCommand::DiskUsed(used)));
            Sent::Frame(s.owner, append(2, &s.talk.envelope(2, &[1; 3_000])))
        }),
    ]
}

fn reads() -> Vec<Case> {
    vec![
        ("a read of what isn't open", Refused(Code::Unexpected), |s| {
            let from = Default::default();
            Sent::Frame(s.owner, Body::Read(Read { handle: 9, from, backward: false, limit: 1 }))
        }),
        ("a read by a guest", Refused(Code::Forbidden), |s| {
            let from = Default::default();
            Sent::Frame(s.guest, Body::Read(Read { handle: 1, from, backward: false, limit: 1 }))
        }),
        ("a fetch by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::Fetch { handle: 1, references: vec![] })
        }),
        ("a signal by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::Signal { handle: 1, ciphertext: vec![1] })
        }),
        ("a signal that is too large", Refused(Code::Malformed), |s| {
            let ciphertext = vec![1; limits::SIGNAL_MAX + 1];
            Sent::Frame(s.owner, Body::Signal { handle: 2, ciphertext })
        }),
        ("signals without end", Refused(Code::Busy), |s| {
            let owner = s.owner;
            for _ in 0..s.world.config.signals_per_s_max {
                s.world.tell(&owner, Body::Signal { handle: 2, ciphertext: vec![1] });
            }
            Sent::Frame(owner, Body::Signal { handle: 2, ciphertext: vec![1] })
        }),
    ]
}

fn accounts() -> Vec<Case> {
    vec![
        ("a bundle that is none", Refused(Code::Invalid), |s| {
            Sent::Frame(s.owner, Body::PutBundle(vec![7; 300]))
        }),
        ("a bundle with a bent byte", Refused(Code::Invalid), |s| {
            let mut bundle = Account::new(60).bundle.as_bytes().to_vec();
            let last = bundle.len() - 1;
            bundle[last] ^= 1;
            Sent::Frame(s.owner, Body::PutBundle(bundle))
        }),
        ("a bundle cut short", Refused(Code::Invalid), |s| {
            let bundle = Account::new(60).bundle.as_bytes().to_vec();
            Sent::Frame(s.owner, Body::PutBundle(bundle[..bundle.len() / 2].to_vec()))
        }),
        ("a bundle of another node's account", Refused(Code::Forbidden), |s| {
            let account = Account::at(60, proto::NodeId([1; 32]));
            Sent::Frame(s.stranger, Body::PutBundle(account.bundle.as_bytes().to_vec()))
        }),
        ("an older bundle", Stale, |s| {
            let owner = s.owner;
            let old = s.account.bundle.as_bytes().to_vec();
            let record = draft(2, &[s.account.device.public()], NODE);
            s.account.bundle = s.account.authority.sign_record(record).unwrap();
            s.world.ask(&owner, Body::PutBundle(s.account.bundle.as_bytes().to_vec()));
            Sent::Frame(s.stranger, Body::PutBundle(old))
        }),
        ("an account that isn't here", Refused(Code::NotFound), |s| {
            Sent::Frame(s.stranger, Body::GetBundle(AccountId([1; 32])))
        }),
        ("packages by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::PutKeyPackages(packages(s.account.device.public(), 1)))
        }),
        ("packages of another's device", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.owner, Body::PutKeyPackages(packages(PublicKey([1; 32]), 1)))
        }),
        ("packages on a conversation", Refused(Code::Forbidden), |s| {
            let put = PutKeyPackages { handle: 2, ..packages(s.account.device.public(), 1) };
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("too many packages", Refused(Code::Quota), |s| {
            let owner = s.owner;
            let put = packages(s.account.device.public(), limits::KEY_PACKAGES_MAX);
            s.world.ask(&owner, Body::PutKeyPackages(put));
            Sent::Frame(owner, Body::PutKeyPackages(packages(s.account.device.public(), 1)))
        }),
        ("an empty package", Refused(Code::Malformed), |s| {
            let mut put = packages(s.account.device.public(), 1);
            put.one_time.push(Vec::new());
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("a package that is too large", Refused(Code::Malformed), |s| {
            let mut put = packages(s.account.device.public(), 1);
            put.last_resort = vec![1; limits::KEY_PACKAGE_BYTES_MAX + 1];
            Sent::Frame(s.owner, Body::PutKeyPackages(put))
        }),
        ("taking packages where there are none", Refused(Code::NotFound), |s| {
            Sent::Frame(s.guest, Body::TakeKeyPackages { handle: 1 })
        }),
        ("taking packages in a conversation", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.owner, Body::TakeKeyPackages { handle: 2 })
        }),
        ("an invite by a guest", Refused(Code::Forbidden), |s| {
            let key = PublicKey([1; 32]);
            Sent::Frame(s.guest, Body::PutInvite { handle: 1, key, expires_s: u64::MAX, uses: 1 })
        }),
        ("an invite of the past", Refused(Code::Invalid), |s| {
            let (key, expires_s) = (PublicKey([1; 32]), s.world.now.as_secs());
            Sent::Frame(s.owner, Body::PutInvite { handle: 1, key, expires_s, uses: 1 })
        }),
        ("too many invites", Refused(Code::Quota), |s| {
            let owner = s.owner;
            let put = |n: u32| {
                let mut key = PublicKey([1; 32]);
                key.0[..4].copy_from_slice(&n.to_be_bytes());
                Body::PutInvite { handle: 1, key, expires_s: u64::MAX, uses: 1 }
            };
            for n in 0..=limits::INVITES_MAX as u32 {
                s.world.ask(&owner, put(n));
            }
            Sent::Frame(owner, put(u32::MAX))
        }),
    ]
}

fn bytes() -> Vec<Case> {
    vec![
        ("a frame of the future", Undecodable(DecodeError::UnknownFrame(REQUEST)), |_| {
            // Field 500, which no version has yet.
            framed(&[0x08, REQUEST as u8, 0xA2, 0x1F, 0x00])
        }),
        ("a frame of nothing", Undecodable(DecodeError::UnknownFrame(0)), |_| framed(&[])),
        ("noise", Undecodable(DecodeError::Wire), |_| framed(&[0xFF; 30])),
        ("a length beyond the limit", Undecodable(DecodeError::TooLarge), |_| {
            Sent::Bytes(vec![0xFF, 0xFF, 0xFF, 0x7F])
        }),
        ("a frame cut short inside", Undecodable(DecodeError::Wire), |s| {
            let whole = wire_bytes(append(2, &s.talk.envelope(2, b"x")));
            framed(&whole[..whole.len() - 3])
        }),
        ("a short signature", Undecodable(DecodeError::Length), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.signature.pop();
            }
            framed(&wire.encode_to_vec())
        }),
        ("a short proof", Undecodable(DecodeError::Length), |s| {
            let open = open_frame(&s.owner, 3, s.talk.log, &s.talk.key, None, None);
            let mut wire = wire_frame(Body::Open(open));
            if let Some(wire::frame::Body::Open(open)) = &mut wire.body {
                open.proof.pop();
            }
            framed(&wire.encode_to_vec())
        }),
        ("a kind of the future", Undecodable(DecodeError::Kind), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.kind = 2;
            }
            framed(&wire.encode_to_vec())
        }),
        ("an expiry of the future", Undecodable(DecodeError::Kind), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.expiry = 4;
            }
            framed(&wire.encode_to_vec())
        }),
        ("an extension that is too large", Undecodable(DecodeError::TooLarge), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.extension = vec![0; limits::EXTENSION_MAX + 1];
            }
            framed(&wire.encode_to_vec())
        }),
        ("an announced key of 31 bytes", Undecodable(DecodeError::Length), |s| {
            let mut wire = wire_frame(append(2, &s.talk.envelope(2, b"x")));
            if let Some(wire::frame::Body::Append(append)) = &mut wire.body {
                append.extension = wire::Extension { next_key: vec![1; 31] }.encode_to_vec();
            }
            framed(&wire.encode_to_vec())
        }),
        ("more names than allowed", Undecodable(DecodeError::TooLarge), |s| {
            let references = vec![s.talk.envelope(1, b"x").id().reference(); limits::FETCH_MAX + 1];
            framed(&wire_bytes(Body::Fetch { handle: 2, references }))
        }),
        ("a bundle that is too large", Undecodable(DecodeError::TooLarge), |_| {
            framed(&wire_bytes(Body::PutBundle(vec![0; limits::BUNDLE_MAX + 1])))
        }),
        ("a nonce of 15 bytes", Undecodable(DecodeError::Length), |_| {
            let body = Body::Hello(Hello { versions: VERSIONS, nonce: [1; 16] });
            let mut wire = wire_frame(body);
            if let Some(wire::frame::Body::Hello(hello)) = &mut wire.body {
                hello.nonce.pop();
            }
            framed(&wire.encode_to_vec())
        }),
    ]
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
    let Body::Page { entries, .. } = world.ask(&a, Body::Fetch { handle: 2, references }) else {
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
            world.ask(&owner, Body::PutInvite { handle: 1, key, expires_s, uses: 1 });
        }
        world.pass(1);
        world.open(&guest, 1, account.inbox(), &used_up, None, None);
        let request = envelope(&used_up, account.inbox(), 1, b"used up");
        assert!(matches!(world.ask(&guest, append(1, &request)), Body::Accepted { .. }));
        world.open(&guest, 1, account.inbox(), &invite, None, None);
        Self { world, owner, account, talk, guest, invite, stranger, silent, used_up, over }
    }
}

fn packages(device: PublicKey, count: usize) -> PutKeyPackages {
    PutKeyPackages { handle: 1, device, one_time: vec![vec![1; 8]; count], last_resort: vec![] }
}

fn wire_frame(body: Body) -> wire::Frame {
    wire::Frame::from(&Frame { request: REQUEST, body })
}

fn wire_bytes(body: Body) -> Vec<u8> {
    wire_frame(body).encode_to_vec()
}

fn framed(bytes: &[u8]) -> Sent {
    let mut framed = Vec::new();
    prost::encode_length_delimiter(bytes.len(), &mut framed).unwrap();
    framed.extend(bytes);
    Sent::Bytes(framed)
}

#[test]
fn frames_are_cut_as_they_are_written() {
    let mut written = Vec::new();
    write_frame(&Frame { request: REQUEST, body: Body::Close { handle: 1 } }, &mut written);
    match framed(&wire_bytes(Body::Close { handle: 1 })) {
        Sent::Bytes(bytes) => assert_eq!(bytes, written),
        Sent::Frame(..) => panic!(),
    }
}
