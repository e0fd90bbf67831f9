//! Frames that the state of the connection forbids, and openings of logs.

use crypto::SigningKey;
use node::Dropped;
use proto::{AccountId, Body, Code, Cursor, Entry, Hello, LogGenesis, PublicKey, VERSIONS};

use super::{
    Case,
    Outcome::{self, Goodbye, Refused},
    Sent,
};
use crate::world::{Conversation, open_frame, refused};

/// Frames that no connection, or none in this state, may send.
pub(super) fn sessions() -> Vec<Case> {
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
            Sent::Frame(s.owner, Body::Deliver { channel: 2, entry })
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
            Sent::Frame(s.owner, Body::Close { channel: 99 })
        }),
        ("accepting what isn't followed", Outcome::Dropped(Dropped::NotFollowing), |s| {
            Sent::Frame(s.owner, Body::Accepted { channel: 1, sequence: 1 })
        }),
        ("accepting on a channel that isn't open", Outcome::Dropped(Dropped::NotFollowing), |s| {
            Sent::Frame(s.owner, Body::Accepted { channel: 99, sequence: 1 })
        }),
        ("accepting the future", Outcome::Dropped(Dropped::AcceptedAhead), |s| {
            Sent::Frame(s.owner, Body::Accepted { channel: 2, sequence: u64::MAX })
        }),
    ]
}

/// Openings that prove too little.
pub(super) fn proofs() -> Vec<Case> {
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
        ("a proof for another channel", Refused(Code::Forbidden), |s| {
            let mut open = open_frame(&s.stranger, 1, s.talk.log, &s.talk.key, None, None);
            open.channel = 2;
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
    ]
}

/// Openings of logs that are not here.
pub(super) fn geneses() -> Vec<Case> {
    vec![
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
        ("a conversation of no account", Refused(Code::Forbidden), |s| {
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
