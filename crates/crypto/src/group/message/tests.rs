//! Properties of ciphertexts, and their vectors.

use proptest::{collection::vec, prelude::*};
use proto::{Envelope, Expiry, Extension, Kind};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::{
    group::{epoch::CommitId, key_tree::KeyTree},
    vectors::{hex, read, unhex},
};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn epoch(seed: u8) -> Epoch {
    Epoch::from_root(CommitId([seed; 32]), [seed; 32], &[seed; 32])
}

fn device() -> SigningKey {
    SigningKey::from_seed([5; 32])
}

fn head() -> Head {
    Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 3,
        log: LogId([4; 32]),
        write_key: epoch(1).write_key().public(),
        extension: Extension::default(),
    }
}

fn device_of(leaf: u32) -> Option<PublicKey> {
    (leaf == 7).then(|| device().public())
}

fn seal_as(epoch: &Epoch, counter: u32, content: &[u8]) -> Option<Vec<u8>> {
    epoch.seal_message(&device(), 7, counter, &head(), content, &mut rng())
}

fn seal(content: &[u8]) -> Vec<u8> {
    seal_as(&epoch(1), 300, content).unwrap()
}

/// Seals bytes under the envelope key only, as a member that lies would.
fn seal_raw(inner: &[u8]) -> Vec<u8> {
    seal_envelope(&epoch(1), &head().encode(), &random_salt(&mut rng()), inner).unwrap()
}

fn inner_of(ciphertext: &[u8]) -> Vec<u8> {
    let (salt, sealed) = ciphertext.split_first_chunk::<16>().unwrap();
    XChaCha20Poly1305::new(epoch(1).envelope_key().into())
        .decrypt(&extended(salt).into(), Payload { msg: sealed, aad: &head().encode() })
        .unwrap()
}

#[test]
fn what_was_sealed_opens() {
    for content in [&b""[..], b"hello", &[0; 200], &[0x80; 3000]] {
        let opened = epoch(1).open(&head(), &seal(content), &device_of).unwrap();
        let Opened::Message { leaf, counter, device: author, content: found, signature } = opened
        else {
            panic!("a message was sealed")
        };
        assert_eq!((leaf, counter, author), (7, 300, device().public()));
        assert_eq!(*found, content);
        assert_ne!(signature, [0; 64]);
    }
}

#[test]
fn a_commit_opens_as_a_commit() {
    let sealed = epoch(1).seal_commit(&head(), b"mls", &mut rng()).unwrap();
    let opened = epoch(1).open(&head(), &sealed, &device_of);
    assert_eq!(opened, Ok(Opened::Commit { mls: b"mls".to_vec() }));
}

#[test]
fn any_changed_byte_is_noticed() {
    let sealed = seal(b"hello");
    for i in 0..sealed.len() {
        let mut broken = sealed.clone();
        broken[i] ^= 1;
        let opened = epoch(1).open(&head(), &broken, &device_of);
        assert_eq!(opened, Err(OpenError::Altered), "byte {i}");
    }
    assert_eq!(epoch(1).open(&head(), &sealed[..15], &device_of), Err(OpenError::Malformed));
    assert_eq!(epoch(2).open(&head(), &sealed, &device_of), Err(OpenError::Altered));
}

#[test]
fn any_byte_changed_by_a_member_is_noticed() {
    // A member has the envelope key and can reseal the contents.
    let inner = inner_of(&seal(b"hello"));
    for i in 0..inner.len() {
        let mut broken = inner.clone();
        broken[i] ^= 1;
        assert!(epoch(1).open(&head(), &seal_raw(&broken), &device_of).is_err(), "byte {i}");
    }
    assert!(epoch(1).open(&head(), &seal_raw(&inner), &device_of).is_ok());
    assert_eq!(epoch(1).open(&head(), &seal_raw(&[]), &device_of), Err(OpenError::Malformed));
    assert_eq!(epoch(1).open(&head(), &seal_raw(&[3]), &device_of), Err(OpenError::Unknown));
}

#[test]
fn a_message_can_not_be_put_under_another_head() {
    let sealed = seal(b"hello");
    let mut other = head();
    other.position = 4;
    assert_eq!(epoch(1).open(&other, &sealed, &device_of), Err(OpenError::Altered));

    // A member has the envelope key and can wrap the message under another head of the same log …
    let salt = sealed.first_chunk::<16>().unwrap();
    let wrapped = seal_envelope(&epoch(1), &other.encode(), salt, &inner_of(&sealed)).unwrap();
    assert_eq!(epoch(1).open(&other, &wrapped, &device_of), Err(OpenError::Signature));

    // … or of another one, for which it is another key's message.
    other.log = LogId([9; 32]);
    let wrapped = seal_envelope(&epoch(1), &other.encode(), salt, &inner_of(&sealed)).unwrap();
    assert_eq!(epoch(1).open(&other, &wrapped, &device_of), Err(OpenError::Commitment));
}

#[test]
fn a_key_that_is_not_the_author_s_breaks_the_commitment() {
    // A lying grant gives the right envelope key and another tree.
    let other = KeyTree::new(Zeroizing::new([9; 32]));
    let lied_to = epoch(1).with_grant(&other.encode()).unwrap();
    let opened = lied_to.open(&head(), &seal(b"hello"), &device_of);
    assert_eq!(opened, Err(OpenError::Commitment));
}

#[test]
fn a_taken_key_neither_opens_nor_seals() {
    let mut epoch = epoch(1);
    assert!(epoch.take_key(7, 300));
    let opened = epoch.open(&head(), &seal(b"hello"), &device_of);
    assert_eq!(opened, Err(OpenError::KeyGone));
    assert_eq!(seal_as(&epoch, 300, b""), None);
    assert_eq!(seal_as(&epoch, 1 << 28, b""), None);
    assert!(seal_as(&epoch, 301, b"").is_some());
}

#[test]
fn only_the_device_at_the_leaf_is_the_author() {
    let sealed = seal(b"hello");
    let nobody = |_| None;
    assert_eq!(epoch(1).open(&head(), &sealed, &nobody), Err(OpenError::NotAMember));
    let other = |_| Some(SigningKey::from_seed([6; 32]).public());
    assert_eq!(epoch(1).open(&head(), &sealed, &other), Err(OpenError::Signature));
}

#[test]
fn a_message_has_one_encoding() {
    let inner = inner_of(&seal(b"hello"));
    // 300 is written 0xac 0x02; a longer form of the same number would be another envelope.
    assert_eq!(inner[2..4], [0xac, 0x02]);
    let longer = [&inner[..3], &[0x82, 0x00], &inner[4..]].concat();
    let opened = epoch(1).open(&head(), &seal_raw(&longer), &device_of);
    assert_eq!(opened, Err(OpenError::Malformed));

    let commit = [&[TYPE_COMMIT][..], b"mls", &[0x80], &[0; 124]].concat();
    let opened = epoch(1).open(&head(), &seal_raw(&commit), &device_of);
    assert_eq!(opened, Err(OpenError::Malformed), "padded to 128 where 64 do");
}

#[test]
fn sizes_tell_little() {
    let overhead = seal(b"").len() - 64;
    assert_eq!(overhead, 16 + 1 + 1 + 2 + 32 + 64 + 16 + 16);
    let steps = [(63, 64), (64, 128), (100, 128), (127, 128), (1023, 1024), (1024, 1280)];
    for (content, padded) in steps {
        assert_eq!(seal(&vec![1; content]).len(), overhead + padded, "content of {content}");
    }
}

#[test]
fn sizes_are_known_beforehand() {
    for size in [0, 1, 63, 64, 1000, 1024, 5000] {
        // The counter of `seal` takes a byte more than those of the first messages.
        assert_eq!(seal(&vec![7; size]).len(), sealed_len(size) + 1);
    }
}

#[test]
fn what_no_envelope_can_hold_is_not_sealed() {
    assert_eq!(seal_as(&epoch(1), 0, &[0; limits::ENVELOPE_MAX]), None);
    let sealed = epoch(1).seal_commit(&head(), &[0; limits::ENVELOPE_MAX], &mut rng());
    assert_eq!(sealed, None);
    let largest = seal(&[1; 64_000]);
    let envelope = Envelope { head: head(), ciphertext: largest, signature: [0; 64] };
    assert!(envelope.signed_bytes().len() <= limits::ENVELOPE_MAX);
}

#[test]
fn one_number_used_twice_still_has_two_keys() {
    let (epoch, mut rng) = (epoch(1), rng());
    let mut seal = || epoch.seal_message(&device(), 7, 0, &head(), b"one", &mut rng).unwrap();
    let (one, two) = (seal(), seal());
    let commitment = |sealed: &[u8]| inner_of(sealed)[3..35].to_vec();
    assert_ne!(commitment(&one), commitment(&two));
}

#[test]
fn signals_open_for_their_log_and_epoch() {
    let (log, other) = (LogId([4; 32]), LogId([5; 32]));
    let mut signal = epoch(1).seal_signal(&log, 7, b"typing", &mut rng()).unwrap();
    let opened = epoch(1).open_signal(&log, &signal);
    assert_eq!(opened, Ok((7, Zeroizing::new(b"typing".to_vec()))));
    assert_eq!(epoch(1).open_signal(&other, &signal), Err(OpenError::Altered));
    assert_eq!(epoch(2).open_signal(&log, &signal), Err(OpenError::Altered));
    assert_eq!(epoch(1).open_signal(&log, &signal[..9]), Err(OpenError::Malformed));
    signal[30] ^= 1;
    assert_eq!(epoch(1).open_signal(&log, &signal), Err(OpenError::Altered));
    let large = epoch(1).seal_signal(&log, 7, &[0; limits::SIGNAL_MAX], &mut rng());
    assert_eq!(large, None);
}

#[test]
fn agrees_with_the_known_answers() {
    let vectors = read(include_str!("../../../../../spec/vectors/message.txt"));
    let bytes = |name| <[u8; 32]>::try_from(unhex(vectors[name])).unwrap();
    let commit = CommitId::of(&unhex(vectors["mls"]));
    assert_eq!(hex(commit.0), vectors["commit_id"]);
    assert_eq!(hex(CommitId::of_epoch(&bytes("epoch_tag")).0), vectors["first_commit_id"]);
    let epoch = Epoch::from_root(commit, bytes("epoch_tag"), &bytes("root"));
    assert_eq!(hex(epoch.envelope_key()), vectors["envelope_key"]);
    assert_eq!(hex(epoch.signal_key()), vectors["signal_key"]);
    assert_eq!(hex(*epoch.write_key().to_seed()), vectors["write_seed"]);
    assert_eq!(hex(epoch.write_key().public()), vectors["write_key"]);
    assert_eq!(hex(&epoch.key_tree().encode()[7..]), vectors["tree_root"]);

    let device = SigningKey::from_seed(bytes("device_seed"));
    let [leaf, counter] = ["leaf", "counter"].map(|name| vectors[name].parse().unwrap());
    let head = Head { log: LogId(bytes("log")), write_key: epoch.write_key().public(), ..head() };
    assert_eq!(hex(head.encode()), vectors["head"]);
    let ciphertext = unhex(vectors["ciphertext"]);
    let salt = *ciphertext.first_chunk::<16>().unwrap();
    assert_eq!(hex(salt), vectors["salt"]);
    let keys = MessageKeys::new(&epoch, &head.log, leaf, counter, &salt).unwrap();
    assert_eq!(hex(&keys.header), vectors["header"]);
    assert_eq!(hex(*keys.key), vectors["key"]);
    assert_eq!(hex(*keys.commitment), vectors["commitment"]);

    let device_of = |at| (at == leaf).then(|| device.public());
    let opened = epoch.open(&head, &ciphertext, &device_of).unwrap();
    let Opened::Message { content, signature, .. } = opened else { panic!("a message") };
    assert_eq!(hex(&*content), vectors["content"]);
    assert_eq!(hex(signature), vectors["signature"]);
    // Salts are drawn first and nothing else is.
    let mut rng = FixedSalt(salt);
    let sealed = epoch.seal_message(&device, leaf, counter, &head, &content, &mut rng).unwrap();
    assert_eq!(hex(sealed), vectors["ciphertext"]);
    let sealed = epoch.seal_commit(&head, &unhex(vectors["mls"]), &mut rng).unwrap();
    assert_eq!(hex(sealed), vectors["commit_ciphertext"]);
}

/// A generator that draws one salt, again and again.
struct FixedSalt([u8; 16]);

impl rand_core::TryRng for FixedSalt {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        panic!("not a salt")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        panic!("not a salt")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for FixedSalt {}

#[test]
fn debug_shows_no_secret() {
    let opened = epoch(1).open(&head(), &seal(b"hello"), &device_of).unwrap();
    let shown = format!("{opened:?}");
    assert!(shown.starts_with("Message { leaf: 7, counter: 300, device: PublicKey("), "{shown}");
    assert!(shown.ends_with("), .. }"), "{shown}");
}

proptest! {
    #[test]
    fn every_content_survives(content in vec(any::<u8>(), 0..2000)) {
        let opened = epoch(1).open(&head(), &seal(&content), &device_of);
        let Ok(Opened::Message { content: found, .. }) = opened else {
            return Err(TestCaseError::fail("a message was sealed"));
        };
        prop_assert_eq!(&*found, &content);
    }

    #[test]
    fn opening_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(epoch(1).open(&head(), &bytes, &device_of).is_err());
        prop_assert!(epoch(1).open_signal(&LogId([4; 32]), &bytes).is_err());
    }

    #[test]
    fn opening_what_a_member_made_up_never_panics(
        kind in 0..4_u8, bytes in vec(any::<u8>(), 0..300),
    ) {
        let inner = [&[kind][..], &bytes].concat();
        let opened = epoch(1).open(&head(), &seal_raw(&inner), &device_of);
        if let Ok(Opened::Commit { mls }) = opened {
            prop_assert_eq!(&*pad(&mls), &bytes);
        } else {
            prop_assert!(opened.is_err());
        }
    }

    #[test]
    fn numbers_have_one_encoding(number in 0..1_u32 << 28, bytes in vec(any::<u8>(), 0..6)) {
        let mut written = Vec::new();
        push_varint(&mut written, number);
        prop_assert_eq!(split_varint(&written), Some((number, &[][..])));
        if let Some((number, rest)) = split_varint(&bytes) {
            let mut written = Vec::new();
            push_varint(&mut written, number);
            written.extend(rest);
            prop_assert_eq!(written, bytes);
        }
    }
}
