//! What is signed or sealed. Bytes that don't verify end at the first check, so the first byte of
//! an input says how deep the rest goes in: as a stranger sends it, or signed and sealed by someone
//! who is entitled to and malicious.

use std::sync::LazyLock;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use crypto::{
    SigningKey, derive_key,
    group::{CommitId, Epoch, Opened},
    identity::{Authority, Bundle, Device, InboxKey, Phrase, UnsignedRecord, open_request},
};
use prost::Message;
use proto::{AccountId, Expiry, Extension, Head, Kind, LogId, NodeAddress, NodeId, wire};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A bundle: raw, or with a record or delegation that the right key signed.
pub fn bundle(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let person = &*ALICE;
    let mut forged = wire::Bundle::decode(person.bundle.as_bytes()).unwrap();
    let sign = |key: &SigningKey, context: &[u8]| {
        let signature = key.sign(context, bytes).to_vec();
        Some(wire::Signed { body: bytes.to_vec(), signature })
    };
    let bytes = match how % 3 {
        0 => bytes.to_vec(),
        1 => {
            let kept = person.authority.encode();
            let seed = kept.get(1..33).and_then(|seed| seed.try_into().ok()).unwrap();
            forged.record = sign(&SigningKey::from_seed(seed), b"siskin1 record\x01");
            forged.encode_to_vec()
        }
        _ => {
            forged.delegation = sign(&person.recovery, b"siskin1 delegation\x01");
            forged.encode_to_vec()
        }
    };
    if let Ok(bundle) = Bundle::verify(&bytes) {
        assert_eq!(bundle.as_bytes(), bytes);
        assert!(!bundle.devices().is_empty() && !bundle.homes().is_empty());
        let (ours, theirs) = (bundle.replaces(&person.bundle), person.bundle.replaces(&bundle));
        assert!(!(ours && theirs), "each takes the other's place");
    }
}

/// What is in an inbox: raw, sealed, or sealed and signed by a device.
pub fn inbox_item(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let (person, mut rng) = (&*ALICE, ChaCha20Rng::from_seed([1; 32]));
    let aad = head().encode();
    let item = || {
        let signature = BOB.device.sign(b"siskin1 request\x01", &[&aad, bytes].concat()).to_vec();
        let device = BOB.device.public().0.to_vec();
        wire::InboxItem { body: bytes.to_vec(), device, signature }.encode_to_vec()
    };
    let plaintext = match how % 3 {
        0 => None,
        1 => Some(bytes.to_vec()),
        _ => Some(item()),
    };
    let ciphertext = match plaintext {
        None => bytes.to_vec(),
        Some(plaintext) => person.bundle.seal_to_inbox(&aad, &plaintext, &mut rng).unwrap(),
    };
    if let Ok(opened) = open_request(&person.inbox, &aad, &ciphertext, &person.account()) {
        assert_eq!(opened.device, BOB.device.public());
        assert_eq!(opened.bundle.account(), BOB.account());
    }
}

/// The ciphertext of an envelope: raw, by a member who breaks the layout, or a signal; and a
/// content that a member seals as it should be.
pub fn message_open(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let epoch = Epoch::from_root(CommitId([1; 32]), [2; 32], &ROOT);
    let (head, device_of) = (head(), |leaf| (leaf < 3).then(|| BOB.device.public()));
    match how % 4 {
        0 => assert!(epoch.open(&head, bytes, &device_of).is_err(), "a forgery"),
        1 => {
            let (salt, mut nonce) = ([7; 16], [0; 24]);
            nonce[..16].copy_from_slice(&salt);
            let key = derive_key(&ROOT, "env", b"");
            let payload = Payload { msg: bytes, aad: &head.encode() };
            let sealed = XChaCha20Poly1305::new((&*key).into()).encrypt(&nonce.into(), payload);
            let ciphertext = [&salt[..], &sealed.unwrap()].concat();
            let opened = epoch.open(&head, &ciphertext, &device_of);
            assert!(!matches!(opened, Ok(Opened::Message { .. })), "an unsigned message");
        }
        2 => {
            let mut rng = ChaCha20Rng::from_seed([1; 32]);
            let sealed = epoch.seal_message(&BOB.device, 2, 5, &head, bytes, &mut rng);
            let Some(ciphertext) = sealed else { return };
            let opened = epoch.open(&head, &ciphertext, &device_of).unwrap();
            let Opened::Message { content, .. } = opened else { panic!("a message") };
            assert_eq!(content.as_slice(), bytes);
        }
        _ => assert!(epoch.open_signal(&head.log, bytes).is_err(), "a forgery"),
    }
}

/// What a device keeps of its secrets, or is granted by another member.
pub fn kept_secrets(bytes: &[u8]) {
    if let Ok(epoch) = Epoch::decode(bytes) {
        assert!(Epoch::decode(&epoch.encode()).is_ok_and(|again| again == epoch));
    }
    let epoch = Epoch::from_root(CommitId([1; 32]), [2; 32], &ROOT);
    if let Ok(mut granted) = epoch.with_grant(bytes) {
        assert!(Epoch::decode(&granted.encode()).is_ok_and(|again| again == granted));
        granted.take_key(3, 9);
        assert!(!granted.take_key(3, 9), "a key taken twice");
    }
    if let Ok(authority) = Authority::decode(bytes) {
        assert_eq!(Authority::decode(&authority.encode()).unwrap().account(), authority.account());
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(phrase) = Phrase::parse(text)
    {
        assert_eq!(Phrase::parse(&phrase.words()).unwrap().account(), phrase.account());
    }
}

/// Someone with one device.
pub(crate) struct Person {
    pub(crate) device: SigningKey,
    pub(crate) bundle: Bundle,
    pub(crate) authority: Authority,
    recovery: SigningKey,
    inbox: InboxKey,
}

impl Person {
    fn new(seed: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let phrase = Phrase::generate(&mut rng);
        let authority = Authority::create(&phrase, &mut rng);
        let device = SigningKey::from_seed([seed; 32]);
        let inbox = InboxKey::from_seed([seed; 32]);
        let addresses = vec!["127.0.0.1:4440".parse().unwrap()];
        let record = UnsignedRecord {
            version: 1,
            devices: vec![Device { key: device.public(), added_s: 1 }],
            homes: vec![NodeAddress { node: NODE, addresses }],
            copies: 2,
            inbox_key: inbox.public(),
        };
        let bundle = authority.sign_record(record).unwrap();
        Self { device, bundle, authority, recovery: phrase.recovery_key(), inbox }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.bundle.account()
    }
}

pub(crate) static ALICE: LazyLock<Person> = LazyLock::new(|| Person::new(1));
pub(crate) static BOB: LazyLock<Person> = LazyLock::new(|| Person::new(2));
/// Where both are at home.
pub(crate) const NODE: NodeId = NodeId([0xAA; 32]);

fn head() -> Head {
    Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 9,
        log: LogId([4; 32]),
        write_key: SigningKey::from_seed([5; 32]).public(),
        extension: Extension::default(),
    }
}

const ROOT: [u8; 32] = [3; 32];
