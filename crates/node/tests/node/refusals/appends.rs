//! Appends that are forged or not allowed, and reads.

use crypto::{SigningKey, sign_envelope};
use proto::{Body, Code, Entry, Expiry, Head, Input, Kind, Read, limits};

use super::{
    Case,
    Outcome::{Again, Refused},
    Sent,
};
use crate::world::{Conversation, append, envelope, head, key_change};

/// Appends whose signature does not fit.
pub(super) fn forged() -> Vec<Case> {
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
            Sent::Frame(s.owner, Body::Append { channel: 2, entry, signature })
        }),
        ("a replayed append", Again, |s| {
            Sent::Frame(s.owner, append(2, &s.talk.envelope(1, b"first")))
        }),
    ]
}

/// Appends that are signed well and not allowed.
pub(super) fn unwanted() -> Vec<Case> {
    vec![
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
    ]
}

/// Appends by invites, and those beyond quotas.
pub(super) fn exhausted() -> Vec<Case> {
    vec![
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
            s.world.ask(&owner, Body::PutInvite { channel: 1, key, expires_s: 0, uses: 0 });
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

/// Reads and signals.
pub(super) fn reads() -> Vec<Case> {
    vec![
        ("a read of what isn't open", Refused(Code::Unexpected), |s| {
            let from = Default::default();
            Sent::Frame(s.owner, Body::Read(Read { channel: 9, from, backward: false, limit: 1 }))
        }),
        ("a read by a guest", Refused(Code::Forbidden), |s| {
            let from = Default::default();
            Sent::Frame(s.guest, Body::Read(Read { channel: 1, from, backward: false, limit: 1 }))
        }),
        ("a fetch by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::Fetch { channel: 1, references: vec![] })
        }),
        ("a signal by a guest", Refused(Code::Forbidden), |s| {
            Sent::Frame(s.guest, Body::Signal { channel: 1, ciphertext: vec![1] })
        }),
        ("a signal that is too large", Refused(Code::Malformed), |s| {
            let ciphertext = vec![1; limits::SIGNAL_MAX + 1];
            Sent::Frame(s.owner, Body::Signal { channel: 2, ciphertext })
        }),
        ("signals without end", Refused(Code::Busy), |s| {
            let owner = s.owner;
            for _ in 0..s.world.config.signals_per_s_max {
                s.world.tell(&owner, Body::Signal { channel: 2, ciphertext: vec![1] });
            }
            Sent::Frame(owner, Body::Signal { channel: 2, ciphertext: vec![1] })
        }),
    ]
}
